//! Giving partitions other GUIDs, by which early boot finds the root that was written to them.

use super::{Guid, Table, bytes::put};

/// The attribute by which nothing takes an empty slot for a root: bit 63, in an entry's byte 55.
/// <https://uapi-group.org/specifications/specs/discoverable_partitions_specification/>
const NO_AUTO: u8 = 0x80;
const ATTRIBUTES_END: usize = 55;

impl Table {
    /// The table with other ids for the partitions of these names, which are roots from then on;
    /// nothing where one of them is missing.
    pub(crate) fn with_ids(&self, ids: &[(&str, Guid)]) -> Option<Self> {
        let mut table = self.clone();
        for (name, id) in ids {
            let partition =
                table.partitions.iter_mut().find(|partition| partition.name == *name)?;
            partition.id = *id;
            let index = usize::try_from(partition.number).ok()?.checked_sub(1)?;
            let entry = table.entries.chunks_exact_mut(table.header.entry_length).nth(index)?;
            put(entry, 16, &id.to_gpt());
            entry[ATTRIBUTES_END] &= !NO_AUTO;
        }
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{apply, disk, read},
        *,
    };

    #[test]
    fn other_ids_and_nothing_else() {
        let mut disk = disk(4096, &[(64, 127, 1, "root-a"), (128, 255, 2, "root-b")]);
        let attributes = 2 * 512 + 128 + ATTRIBUTES_END;
        let old = read(&disk).unwrap();
        let id: Guid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let new = old.with_ids(&[("root-b", id)]).unwrap();
        disk[attributes] = NO_AUTO; // what the builder gives an empty slot
        apply(&mut disk, &new.writes());
        let found = read(&disk).unwrap();
        assert_eq!(found.partitions()[1].id, id);
        assert_eq!(found.partitions()[0], old.partitions()[0]);
        assert_eq!(disk[attributes], 0);
        assert!(old.with_ids(&[("root-c", id)]).is_none());
    }

    #[test]
    fn a_cut_at_any_sector_leaves_the_old_ids_or_the_new() {
        let whole = disk(4096, &[(64, 127, 1, "root-b"), (128, 255, 2, "root-b-verity")]);
        let old = read(&whole).unwrap();
        let ids =
            [("root-b", Guid::from_bytes([5; 16])), ("root-b-verity", Guid::from_bytes([6; 16]))];
        let new = old.with_ids(&ids).unwrap();
        let pieces: Vec<_> = new.writes().iter().flat_map(sectors).collect();
        for done in 0..=pieces.len() {
            let mut disk = whole.clone();
            apply(&mut disk, &pieces[..done]);
            let found = read(&disk).unwrap();
            assert!([old.partitions(), new.partitions()].contains(&found.partitions()), "{done}");
        }
    }

    fn sectors(write: &super::super::Write) -> Vec<super::super::Write> {
        let piece = |(n, bytes): (u64, &[u8])| super::super::Write {
            offset: write.offset + n * 512,
            bytes: bytes.to_vec(),
        };
        (0..).zip(write.bytes.chunks(512)).map(piece).collect()
    }
}
