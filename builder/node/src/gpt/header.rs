//! The header of one copy of the table.

use crc::{CRC_32_ISO_HDLC, Crc};

use super::{
    Error, Result,
    bytes::{at, put},
};

const MAGIC: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
/// The shortest header; set by the specification.
const HEADER: usize = 92;
/// Where the primary entries stand: behind MBR and header, as every tool has them.
pub(super) const PRIMARY_ENTRIES: u64 = 2;
/// Entries, and the bytes of one, that are accepted; set here: every tool writes 128 of 128 bytes, and
/// the table of a foreign disk must not fill the memory.
const ENTRIES_MAX: u32 = 1024;
const ENTRY_LENGTHS: [u32; 3] = [128, 256, 512];

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What a header says; sectors count from the disk's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) place: u64,
    pub(super) other: u64,
    pub(super) first_usable: u64,
    pub(super) last_usable: u64,
    disk: [u8; 16],
    pub(super) entries_at: u64,
    count: u32,
    pub(super) entry_length: usize,
    entries_crc: u32,
}

impl Header {
    /// Reads the header that stands at sector `place` of a disk whose last sector is `last`.
    pub(super) fn parse(sector: &[u8], place: u64, last: u64) -> Result<Self> {
        let invalid = |why| Err(Error::Invalid(why));
        let long = |at_byte| at(sector, at_byte).map(u64::from_le_bytes).ok_or(SHORT);
        let word = |at_byte| at(sector, at_byte).map(u32::from_le_bytes).ok_or(SHORT);
        if !sector.starts_with(MAGIC) || word(8)? != REVISION {
            return invalid("no header of a table");
        }
        let length = usize::try_from(word(12)?).map_err(|_| SHORT)?;
        let mut own = sector.get(..length).filter(|own| own.len() >= HEADER).ok_or(SHORT)?.to_vec();
        put(&mut own, 16, &[0; 4]);
        if CRC32.checksum(&own) != word(16)? {
            return invalid("the header's checksum does not hold");
        }
        let header = Self {
            place: long(24)?,
            other: long(32)?,
            first_usable: long(40)?,
            last_usable: long(48)?,
            disk: at(sector, 56).ok_or(SHORT)?,
            entries_at: long(72)?,
            count: word(80)?,
            entry_length: usize::try_from(word(84)?).map_err(|_| SHORT)?,
            entries_crc: word(88)?,
        };
        if !(1..=ENTRIES_MAX).contains(&header.count) || !ENTRY_LENGTHS.contains(&word(84)?) {
            return invalid("a table of unusual size");
        }
        let usable = header.first_usable <= header.last_usable && header.last_usable <= last;
        if header.place != place || !usable || header.entries_at > last {
            return invalid("the header is of another place or disk");
        }
        Ok(header)
    }

    pub(super) fn entries_length(&self) -> usize {
        self.count as usize * self.entry_length
    }

    pub(super) fn check_entries(&self, entries: &[u8]) -> Result<()> {
        let holds = CRC32.checksum(entries) == self.entries_crc;
        if holds { Ok(()) } else { Err(Error::Invalid("the entries' checksum does not hold")) }
    }

    /// The sector with this header, for these entries.
    pub(super) fn render(&self, entries: &[u8], sector: usize) -> Vec<u8> {
        let mut bytes = vec![0; sector];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &REVISION.to_le_bytes());
        put(&mut bytes, 12, &92_u32.to_le_bytes());
        for (place, value) in [
            (24, self.place),
            (32, self.other),
            (40, self.first_usable),
            (48, self.last_usable),
            (72, self.entries_at),
        ] {
            put(&mut bytes, place, &value.to_le_bytes());
        }
        put(&mut bytes, 56, &self.disk);
        put(&mut bytes, 80, &self.count.to_le_bytes());
        put(&mut bytes, 84, &u32::try_from(self.entry_length).unwrap_or(0).to_le_bytes());
        put(&mut bytes, 88, &CRC32.checksum(entries).to_le_bytes());
        let own = CRC32.checksum(&bytes[..HEADER]);
        put(&mut bytes, 16, &own.to_le_bytes());
        bytes
    }

    /// The headers of both copies, the primary first, where the backup's entries stand there.
    pub(super) fn copies(&self, backup_entries: u64) -> [Self; 2] {
        let (place, other) = (self.place.min(self.other), self.place.max(self.other));
        let primary = Self { place, other, entries_at: PRIMARY_ENTRIES, ..self.clone() };
        let turned =
            Self { place: other, other: place, entries_at: backup_entries, ..self.clone() };
        [primary, turned]
    }
}

const SHORT: Error = Error::Invalid("a header that is too short");

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    impl Header {
        /// Of a disk of so many sectors of 512 bytes.
        pub(crate) fn new(sectors: u64, disk: [u8; 16]) -> Self {
            Self {
                place: 1,
                other: sectors - 1,
                first_usable: 34,
                last_usable: sectors - 34,
                disk,
                entries_at: 2,
                count: 128,
                entry_length: 128,
                entries_crc: 0,
            }
        }
    }

    /// Gives a sector the checksum that makes it a header.
    pub(crate) fn sealed(sector: &mut [u8]) -> bool {
        put(sector, 0, MAGIC);
        put(sector, 8, &REVISION.to_le_bytes());
        put(sector, 12, &92_u32.to_le_bytes());
        put(sector, 16, &[0; 4]);
        let crc = CRC32.checksum(&sector[..HEADER]);
        put(sector, 16, &crc.to_le_bytes());
        true
    }
}
