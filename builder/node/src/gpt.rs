//! A disk's GUID partition table, read strictly.
//!
//! Sector 1 holds the primary header, the last sector the backup; each says where its copy of the
//! entries is. A header: `EFI PART`, revision, length (12), CRC32 of itself (16), own sector (24), the
//! other header's (32), first and last usable sector (40, 48), disk GUID (56), entries' sector (72),
//! their number (80) and length (84), their CRC32 (88). An entry: type (0), own GUID (16), first and
//! last sector (32, 40), attributes (48), 36 UTF-16 units of name (56). UEFI 2.10, chapter 5:
//! <https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html>.

mod bytes;
pub(crate) mod device;
mod grow;
mod header;
mod ids;

use std::io;

use self::header::Header;

pub(crate) use self::{bytes::at, grow::Write};
pub(crate) use coremax_node_api::guid::Guid;

/// A table that holds, whichever of its two copies that is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    header: Header,
    /// All entries as they stand on the disk.
    entries: Vec<u8>,
    partitions: Vec<Partition>,
    /// Bytes in a sector.
    sector: u64,
    /// Whether the primary copy was no good.
    from_backup: bool,
}

/// A partition that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// From 1, as the kernel numbers them.
    pub(crate) number: u32,
    /// Its type.
    pub(crate) kind: Guid,
    /// Its own GUID: the PARTUUID.
    pub(crate) id: Guid,
    /// Its first byte on the disk.
    pub(crate) start: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// Its label.
    pub(crate) name: String,
}

/// Why a disk has no table that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the disk cannot be read")]
    Read(#[source] io::Error),
    #[error("no GPT: {0}")]
    Invalid(&'static str),
}

type Result<T, E = Error> = std::result::Result<T, E>;

impl Table {
    /// Reads the table of a disk of `size` bytes with sectors of `sector` bytes, by a function that
    /// returns so many bytes from an offset: the primary copy, or the backup where that is no good.
    /// Never panics.
    pub(crate) fn read(
        size: u64,
        sector: u64,
        mut read: impl FnMut(u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<Self> {
        let last =
            (size / sector.max(1)).checked_sub(1).ok_or(Error::Invalid("the disk is empty"))?;
        let mut copy = |place| Self::copy(place, last, sector, &mut read);
        match copy(1) {
            Ok(table) => Ok(table),
            Err(first) => match copy(last) {
                Ok(table) => Ok(Self { from_backup: true, ..table }),
                Err(_) => Err(first),
            },
        }
    }

    fn copy(
        place: u64,
        last: u64,
        sector: u64,
        read: &mut impl FnMut(u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<Self> {
        let length = usize::try_from(sector).map_err(|_| Error::Invalid("sectors too long"))?;
        let offset = place.checked_mul(sector).ok_or(Error::Invalid("too large"))?;
        let header = Header::parse(&read(offset, length).map_err(Error::Read)?, place, last)?;
        let from = header.entries_at.checked_mul(sector).ok_or(Error::Invalid("too large"))?;
        let entries = read(from, header.entries_length()).map_err(Error::Read)?;
        header.check_entries(&entries)?;
        let partitions = partitions(&header, &entries, sector)?;
        Ok(Self { header, entries, partitions, sector, from_backup: false })
    }

    /// The partitions by their place on the disk.
    pub(crate) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Whether the primary copy was no good.
    pub(crate) fn is_from_backup(&self) -> bool {
        self.from_backup
    }
}

fn partitions(header: &Header, entries: &[u8], sector: u64) -> Result<Vec<Partition>> {
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(header.entry_length)) {
        if entry[..16] != [0; 16] {
            found.push(partition(number, entry, header, sector)?);
        }
    }
    found.sort_by_key(|partition| partition.start);
    let overlap = found.windows(2).any(|pair| pair[0].start + pair[0].length > pair[1].start);
    if overlap { Err(Error::Invalid("two partitions overlap")) } else { Ok(found) }
}

fn partition(number: u32, entry: &[u8], header: &Header, sector: u64) -> Result<Partition> {
    let outside = || Error::Invalid("a partition lies outside of what can be used");
    let field = |place| at(entry, place).ok_or_else(outside);
    let (first, last) = (u64::from_le_bytes(field(32)?), u64::from_le_bytes(field(40)?));
    if first < header.first_usable || last > header.last_usable || last < first {
        return Err(outside());
    }
    let guid = |place| at(entry, place).map(Guid::from_gpt).ok_or_else(outside);
    let bytes = |sectors: u64| sectors.checked_mul(sector).ok_or_else(outside);
    Ok(Partition {
        number,
        kind: guid(0)?,
        id: guid(16)?,
        start: bytes(first)?,
        length: bytes(last - first + 1)?,
        name: name(&entry[56..128]),
    })
}

/// UTF-16 up to the first NUL; what is no text becomes U+FFFD.
fn name(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units.take_while(|&unit| unit != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const SECTOR: u64 = 512;

    /// A disk of so many sectors with partitions of (first, last, first byte of its GUID, name).
    pub(crate) fn disk(sectors: u64, partitions: &[(u64, u64, u8, &str)]) -> Vec<u8> {
        let mut entries = vec![0; 128 * 128];
        for (entry, (first, last, id, name)) in entries.chunks_exact_mut(128).zip(partitions) {
            entry[..16].copy_from_slice(&[7; 16]);
            entry[16] = *id;
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            for (unit, to) in name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
                to.copy_from_slice(&unit.to_le_bytes());
            }
        }
        let header = Header::new(sectors, [9; 16]);
        let table =
            Table { header, entries, partitions: Vec::new(), sector: SECTOR, from_backup: false };
        let mut disk = vec![0; usize::try_from(sectors * SECTOR).unwrap()];
        disk[450] = 0xee; // a protective MBR
        apply(&mut disk, &table.writes());
        disk
    }

    pub(crate) fn apply(disk: &mut [u8], writes: &[Write]) {
        for write in writes {
            let at = usize::try_from(write.offset).unwrap();
            disk[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
        }
    }

    pub(crate) fn read(disk: &[u8]) -> Result<Table> {
        Table::read(disk.len() as u64, SECTOR, |offset, length| {
            let at = usize::try_from(offset).map_err(io::Error::other)?;
            let end = at.checked_add(length).ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok(disk.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
        })
    }

    #[test]
    fn partitions_stand_in_their_order() {
        let table = read(&disk(4096, &[(2048, 2055, 1, "data"), (64, 127, 2, "root-a")])).unwrap();
        let found: Vec<_> =
            table.partitions().iter().map(|p| (p.number, p.start, p.length, &*p.name)).collect();
        assert_eq!(found, [(2, 64 * 512, 64 * 512, "root-a"), (1, 2048 * 512, 8 * 512, "data")]);
        assert!(!table.is_from_backup());
    }

    #[test]
    fn a_torn_primary_leaves_the_backup() {
        let whole = disk(4096, &[(64, 127, 2, "root-a")]);
        for broken in [512 + 40, 2 * 512 + 33] {
            let mut disk = whole.clone();
            disk[broken] ^= 1;
            let table = read(&disk).unwrap();
            assert!(table.is_from_backup());
            assert_eq!(table.partitions(), read(&whole).unwrap().partitions());
        }
    }

    #[test]
    fn bad_tables_are_refused() {
        for (partitions, why) in [
            (&[(64, 127, 1, "a"), (127, 130, 2, "b")][..], "overlap"),
            (&[(1, 40, 1, "a")][..], "outside"),
            (&[(64, 4095, 1, "a")][..], "outside"),
            (&[(64, 63, 1, "a")][..], "outside"),
        ] {
            let error = read(&disk(4096, partitions)).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(read(&[]).is_err() && read(&[0; 5120]).is_err());
    }

    proptest! {
        #[test]
        fn damage_is_seen_or_harmless(at in 512_usize..34 * 512, bit in 0_u8..8) {
            let whole = disk(4096, &[(64, 127, 2, "root-a"), (128, 4000, 3, "data")]);
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let table = read(&damaged).unwrap();
            let whole = read(&whole).unwrap();
            prop_assert_eq!(table.partitions(), whole.partitions());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), at in 0_usize..100) {
            let mut disk = disk(128, &[]);
            let at = 512 + at;
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
            let crc = header::tests::sealed(&mut disk[512..1024]);
            prop_assert!(crc);
            let _ = read(&disk);
        }
    }
}
