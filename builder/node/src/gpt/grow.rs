//! Giving the last partition the rest of a disk that is larger than its table says, as it is when an
//! image was written to it.
//!
//! The backup is written first, at the disk's new end, and the primary then: at any moment one of the
//! two holds, and a later boot finishes what a power cut left.

use super::{
    Table,
    bytes::{at, put},
    header::PRIMARY_ENTRIES,
};

/// Partitions end at multiples of this, as those the builder makes; set by what flash and RAID like.
const ALIGNMENT: u64 = 1 << 20;
/// Where the protective MBR has the type and the length of its one partition.
const MBR_TYPE: usize = 450;
const MBR_LENGTH: usize = 458;
const PROTECTIVE: u8 = 0xee;

/// Bytes to be written to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Where, in bytes.
    pub(crate) offset: u64,
    /// What.
    pub(crate) bytes: Vec<u8>,
}

impl Table {
    /// The table for a disk that now has `size` bytes, its last partition grown to the end; nothing
    /// where that is not the one named `name`, or there is nothing to gain.
    pub(crate) fn grown(&self, size: u64, name: &str) -> Option<Self> {
        let last = (size / self.sector).checked_sub(1).filter(|&last| last > self.end())?;
        let partition = self.partitions.last().filter(|partition| partition.name == name)?;
        let last_usable = last.checked_sub(self.entries_sectors() + 1)?;
        let end = (last_usable + 1) * self.sector / ALIGNMENT * ALIGNMENT;
        let length = end.checked_sub(partition.start).filter(|&new| new > partition.length)?;
        let mut table = self.clone();
        let header = &mut table.header;
        let own_is_backup = header.place > header.other;
        *(if own_is_backup { &mut header.place } else { &mut header.other }) = last;
        header.last_usable = last_usable;
        let index = usize::try_from(partition.number).ok()?.checked_sub(1)?;
        let entry = table.entries.chunks_exact_mut(header.entry_length).nth(index)?;
        put(entry, 40, &(end / self.sector - 1).to_le_bytes());
        table.partitions.last_mut()?.length = length;
        Some(table)
    }

    /// All writes that put this table on its disk, in an order that can be cut anywhere.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let sector = usize::try_from(self.sector).unwrap_or(512);
        let end = self.end();
        let backup_entries = end - self.entries_sectors();
        let [primary, backup] = self.header.copies(backup_entries);
        let write = |place: u64, bytes: Vec<u8>| Write { offset: place * self.sector, bytes };
        vec![
            write(backup_entries, self.entries.clone()),
            write(end, backup.render(&self.entries, sector)),
            write(PRIMARY_ENTRIES, self.entries.clone()),
            write(1, primary.render(&self.entries, sector)),
        ]
    }

    /// The protective MBR for a disk of `size` bytes, where it has one that says otherwise.
    pub(crate) fn protective(&self, mbr: &[u8], size: u64) -> Option<Write> {
        let sectors = u32::try_from((size / self.sector).saturating_sub(1)).unwrap_or(u32::MAX);
        let old = u32::from_le_bytes(at(mbr, MBR_LENGTH)?);
        if mbr.get(MBR_TYPE) != Some(&PROTECTIVE) || old == sectors {
            return None;
        }
        let mut bytes = mbr.to_vec();
        put(&mut bytes, MBR_LENGTH, &sectors.to_le_bytes());
        Some(Write { offset: 0, bytes })
    }

    /// The sector of the backup header, which is the disk's last as this table knows it.
    fn end(&self) -> u64 {
        self.header.place.max(self.header.other)
    }

    fn entries_sectors(&self) -> u64 {
        (self.entries.len() as u64).div_ceil(self.sector)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{apply, disk, read};

    const MIB: u64 = 1 << 20;

    fn image() -> Vec<u8> {
        disk(8192, &[(64, 127, 1, "root-a"), (2048, 4095, 2, "data")])
    }

    #[test]
    fn the_last_partition_takes_the_rest() {
        let table = read(&image()).unwrap();
        for (size, expected) in [
            (4 * MIB, None),
            (4 * MIB - 512, None),
            (8 * MIB, Some(6 * MIB)),
            (8 * MIB + 33 * 512, Some(7 * MIB)),
            (1 << 40, Some((1 << 40) - 2 * MIB)),
        ] {
            let grown = table.grown(size, "data");
            assert_eq!(grown.map(|table| table.partitions()[1].length), expected, "{size}");
        }
        assert!(table.grown(8 * MIB, "root-a").is_none());
        let no_data = read(&disk(8192, &[])).unwrap();
        assert!(no_data.grown(8 * MIB, "data").is_none());
    }

    #[test]
    fn a_grown_table_reads_back_from_both_copies() {
        let mut disk = image();
        let grown = read(&disk).unwrap().grown(8 * MIB, "data").unwrap();
        disk.resize(8 << 20, 0);
        let mbr = grown.protective(&disk[..512], 8 * MIB).unwrap();
        apply(&mut disk, &grown.writes());
        apply(&mut disk, &[mbr]);
        assert_eq!(read(&disk).unwrap().partitions(), grown.partitions());
        assert!(grown.protective(&disk[..512], 8 * MIB).is_none());
        disk[512] = 0;
        let backup = read(&disk).unwrap();
        assert!(backup.is_from_backup() && backup.partitions() == grown.partitions());
        apply(&mut disk, &backup.writes());
        assert_eq!(read(&disk).unwrap(), read(&{ disk.clone() }).unwrap());
        assert!(!read(&disk).unwrap().is_from_backup());
    }

    proptest! {
        /// Whatever part of the writes reached the disk, sector by sector, a table is there, the old
        /// or the new.
        #[test]
        fn a_power_cut_leaves_a_table(sectors in 0_usize..67) {
            let mut disk = image();
            let old = read(&disk).unwrap();
            let grown = old.grown(8 * MIB, "data").unwrap();
            disk.resize(8 << 20, 0);
            let pieces = grown.writes().into_iter().flat_map(|write| {
                let chunks: Vec<_> = write.bytes.chunks(512).map(<[u8]>::to_vec).collect();
                (0_u64..).zip(chunks).map(move |(n, bytes)| super::Write { offset: write.offset + n * 512, bytes })
            });
            apply(&mut disk, &pieces.take(sectors).collect::<Vec<_>>());
            let found = read(&disk).unwrap();
            prop_assert!([old.partitions(), grown.partitions()].contains(&found.partitions()));
            let again = found.grown(8 * MIB, "data");
            prop_assert!(again.is_some() || found.partitions() == grown.partitions());
        }
    }
}
