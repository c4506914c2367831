//! A GUID partition table over a raw, sparse disk.
//!
//! A GPT disk begins with a protective MBR (sector 0), the primary header (1) and 128 entries of
//! 128 bytes (2 to 33), and ends with a copy of the entries and the backup header. An entry holds
//! type and own GUID, first and last sector, 64 attribute bits, and a name of 36 UTF-16 units.
//! UEFI 2.10, chapter 5: <https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html>.
//! Types and attributes: the Discoverable Partitions Specification,
//! <https://uapi-group.org/specifications/specs/discoverable_partitions_specification/>.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    ops::BitOr,
    path::{Path, PathBuf},
};

use gptman::{GPT, GPTPartitionEntry};
use serde::{Deserialize, Serialize};

use crate::{Bytes, Error, Guid, Progress, Result, Sectors, error::During, sparse};

/// Partitions begin and end at multiples of this, which suits flash, RAID and 4 KiB sectors.
pub const ALIGNMENT: Bytes = Bytes::mib(1);
/// Entries in the table; the specification's minimum and every tool's default.
const ENTRIES: usize = 128;
/// UTF-16 units that fit an entry's name.
const NAME_UNITS: usize = 36;

/// A disk to be: its partitions in their order on it, numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The disk's own GUID.
    pub disk_guid: Guid,
    /// The partitions.
    pub partitions: Vec<Partition>,
}

/// A partition to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its label, at most 36 UTF-16 units.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// Its own GUID (PARTUUID).
    pub guid: Guid,
    /// Its attribute bits.
    #[serde(default)]
    pub attributes: Attributes,
    /// Its size, which is rounded up to a whole [`ALIGNMENT`].
    pub size: Bytes,
    /// The file whose data it starts with; the rest reads as zeros.
    pub content: Option<PathBuf>,
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// Where GRUB keeps its core image on a disk that boots by BIOS.
    BiosBoot,
    /// EFI system partition.
    Esp,
    /// A root file system for x86-64.
    RootX86_64,
    /// The dm-verity hash tree of such a root.
    RootVerityX86_64,
    /// The PKCS#7 signature of that tree's root hash.
    RootVeritySignatureX86_64,
    /// A /var that belongs to one machine-id.
    Var,
    /// Any other Linux data, such as a payload or data partition.
    LinuxGeneric,
}

/// The attribute bits of a partition; combined with `|`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(pub u64);

/// Where the partitions of a layout lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The length of the whole disk.
    pub disk: Sectors,
    /// One span a partition, in the layout's order.
    pub partitions: Vec<Span>,
}

/// A run of sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first sector.
    pub start: Sectors,
    /// How many.
    pub length: Sectors,
}

impl Layout {
    /// Where each partition lies: in order, aligned, one right behind the other.
    ///
    /// # Errors
    /// Names that are too long, GUIDs given twice, empty partitions, more than a table holds.
    pub fn place(&self) -> Result<Placement> {
        self.check()?;
        let too_large = || Error::Layout {
            partitions: self.partitions.len(),
            size: Bytes(self.partitions.iter().fold(0, |sum, p| p.size.0.saturating_add(sum))),
        };
        let mut end = ALIGNMENT; // sectors 0 to 33 hold MBR and table
        let mut partitions = Vec::with_capacity(self.partitions.len());
        for partition in &self.partitions {
            let size = partition.size.round_up(ALIGNMENT).ok_or_else(too_large)?;
            partitions.push(Span { start: end.sectors(), length: size.sectors() });
            end = end.0.checked_add(size.0).map(Bytes).ok_or_else(too_large)?;
        }
        let disk = end.0.checked_add(ALIGNMENT.0).filter(|&end| i64::try_from(end).is_ok());
        Ok(Placement { disk: Bytes(disk.ok_or_else(too_large)?).sectors(), partitions })
    }

    /// Writes the disk as a new sparse file, replacing any at `disk`: both tables, the protective
    /// MBR, and the partitions' contents, whose holes stay holes. `progress` counts content copied.
    ///
    /// # Errors
    /// Those of [`Self::place`], a content longer than its partition, and failing I/O.
    pub fn write(&self, disk: &Path, progress: Progress<'_>) -> Result<Placement> {
        let placement = self.place()?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(disk)
            .during("creating the disk", disk)?;
        file.set_len(placement.disk.bytes().0).during("sizing the disk", disk)?;
        self.write_table(&placement, &mut file)
            .map_err(|source| Error::Table { disk: disk.to_owned(), source })?;
        for (partition, span) in self.partitions.iter().zip(&placement.partitions) {
            partition.fill(*span, &file, disk, progress)?;
        }
        Ok(placement)
    }

    fn check(&self) -> Result<()> {
        if self.partitions.len() > ENTRIES {
            let size = Bytes(self.partitions.iter().fold(0, |sum, p| p.size.0.saturating_add(sum)));
            return Err(Error::Layout { partitions: self.partitions.len(), size });
        }
        let mut guids = HashSet::from([self.disk_guid]);
        for partition in &self.partitions {
            partition.check()?;
            if !guids.insert(partition.guid) {
                let (guid, name) = (partition.guid, partition.name.clone());
                return Err(Error::GuidTwice { guid, name });
            }
        }
        Ok(())
    }

    fn write_table(&self, placement: &Placement, disk: &mut File) -> gptman::Result<()> {
        let mut table = GPT::new_from(disk, Sectors::SIZE, self.disk_guid.to_gpt())?;
        for (number, (partition, span)) in
            (1..).zip(self.partitions.iter().zip(&placement.partitions))
        {
            table[number] = partition.entry(*span);
        }
        GPT::write_protective_mbr_into(disk, Sectors::SIZE)?;
        table.write_into(disk).map(drop)
    }
}

impl Partition {
    fn check(&self) -> Result<()> {
        let refuse = |why| Err(Error::Partition { name: self.name.clone(), why });
        match self.name.encode_utf16().count() {
            units if units > NAME_UNITS => {
                refuse(format!("its name has {units} UTF-16 units, and {NAME_UNITS} fit"))
            }
            _ if self.name.contains('\0') => refuse("its name holds a NUL".into()),
            _ if self.size == Bytes(0) => refuse("it has no size".into()),
            _ => Ok(()),
        }
    }

    fn entry(&self, span: Span) -> GPTPartitionEntry {
        GPTPartitionEntry {
            partition_type_guid: self.kind.guid().to_gpt(),
            unique_partition_guid: self.guid.to_gpt(),
            starting_lba: span.start.0,
            ending_lba: span.start.0 + span.length.0 - 1,
            attribute_bits: self.attributes.0,
            partition_name: self.name.as_str().into(),
        }
    }

    fn fill(&self, span: Span, disk: &File, path: &Path, progress: Progress<'_>) -> Result<()> {
        let Some(content) = &self.content else { return Ok(()) };
        let file = File::open(content).during("opening", content)?;
        let length = Bytes(file.metadata().during("reading", content)?.len());
        let size = span.length.bytes();
        if length > size {
            let (content, name) = (content.clone(), self.name.clone());
            return Err(Error::Content { content, length, name, size });
        }
        sparse::copy(&file, length.0, disk, span.start.bytes().0, progress).during("filling", path)
    }
}

impl Type {
    /// The GUID that stands for this type in a table.
    pub const fn guid(self) -> Guid {
        Guid::literal(match self {
            Self::BiosBoot => 0x21686148_6449_6e6f_744e_656564454649,
            Self::Esp => 0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b,
            Self::RootX86_64 => 0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
            Self::RootVerityX86_64 => 0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5,
            Self::RootVeritySignatureX86_64 => 0x41092b05_9fc8_4523_994f_2def0408b176,
            Self::Var => 0x4d21b016_b534_45c2_a9fb_5c16e091fd2d,
            Self::LinuxGeneric => 0x0fc63daf_8483_4772_8e79_3d69d8477de4,
        })
    }
}

impl Attributes {
    /// The platform needs this partition.
    pub const REQUIRED: Self = Self(1);
    /// A BIOS may boot from this partition.
    pub const LEGACY_BOOT: Self = Self(1 << 2);
    /// The file system is to be grown to the partition when it is mounted.
    pub const GROW_FILE_SYSTEM: Self = Self(1 << 59);
    /// Mounted read-only.
    pub const READ_ONLY: Self = Self(1 << 60);
    /// Never found and mounted by itself.
    pub const NO_AUTO: Self = Self(1 << 63);
}

impl BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Span {
    /// The first sector behind it.
    pub const fn end(self) -> Sectors {
        Sectors(self.start.0 + self.length.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(number: u128, size: Bytes) -> Partition {
        Partition {
            name: format!("part-{number}"),
            kind: Type::LinuxGeneric,
            guid: Guid::literal(number),
            attributes: Attributes::default(),
            size,
            content: None,
        }
    }

    fn layout(sizes: &[u64]) -> Layout {
        let partitions =
            (1..).zip(sizes).map(|(number, &size)| partition(number, Bytes(size))).collect();
        Layout { disk_guid: Guid::literal(1000), partitions }
    }

    #[test]
    fn placed_one_behind_the_other() {
        let placement = layout(&[1 << 20, 1, 3 << 20]).place().unwrap();
        let spans: Vec<_> = placement.partitions.iter().map(|s| (s.start.0, s.length.0)).collect();
        assert_eq!(spans, [(2048, 2048), (4096, 2048), (6144, 6144)]);
        assert_eq!(placement.disk.bytes(), Bytes::mib(7));
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let long = Partition { name: "x".repeat(37), ..partition(1, Bytes(1)) };
        let twice = vec![partition(7, Bytes(1)), partition(7, Bytes(1))];
        let many = (1..=129).map(|n| partition(n, Bytes(1))).collect();
        for (partitions, expected) in [
            (vec![long], "37 UTF-16 units"),
            (vec![Partition { name: "a\0b".into(), ..partition(1, Bytes(1)) }], "NUL"),
            (vec![partition(1, Bytes(0))], "no size"),
            (twice, "given twice"),
            (vec![partition(1000, Bytes(1))], "given twice"),
            (many, "129 partitions"),
            (vec![partition(1, Bytes(u64::MAX))], "do not fit"),
            (vec![partition(1, Bytes(i64::MAX as u64))], "do not fit"),
        ] {
            let error = Layout { disk_guid: Guid::literal(1000), partitions }.place().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn types_are_those_of_the_specification() {
        for (kind, text) in [
            (Type::BiosBoot, "21686148-6449-6e6f-744e-656564454649"),
            (Type::Esp, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            (Type::RootX86_64, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            (Type::RootVerityX86_64, "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
            (Type::RootVeritySignatureX86_64, "41092b05-9fc8-4523-994f-2def0408b176"),
            (Type::Var, "4d21b016-b534-45c2-a9fb-5c16e091fd2d"),
            (Type::LinuxGeneric, "0fc63daf-8483-4772-8e79-3d69d8477de4"),
        ] {
            assert_eq!(kind.guid().to_string(), text);
        }
    }

    #[test]
    fn a_content_that_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let content = folder.path().join("root.img");
        File::create(&content).unwrap().set_len(Bytes::mib(2).0).unwrap();
        let partition = Partition { content: Some(content), ..partition(1, Bytes::mib(1)) };
        let layout = Layout { disk_guid: Guid::literal(1000), partitions: vec![partition] };
        let error = layout.write(&folder.path().join("disk"), &|_| ()).unwrap_err();
        assert!(error.to_string().contains("root.img (2 MiB) does not fit"), "{error}");
        assert!(error.hint().is_some());
    }

    proptest! {
        #[test]
        fn partitions_never_overlap(sizes in prop::collection::vec(1..=1_u64 << 44, 0..=128)) {
            let layout = layout(&sizes);
            let placement = layout.place().unwrap();
            let mut end = Sectors(34);
            for (span, size) in placement.partitions.iter().zip(&sizes) {
                prop_assert!(span.start >= end);
                prop_assert_eq!(span.start.0 % ALIGNMENT.sectors().0, 0);
                prop_assert!(span.length.bytes().0 >= *size);
                prop_assert!(span.length.bytes().0 - size < ALIGNMENT.0);
                end = span.end();
            }
            prop_assert!(placement.disk.0 - end.0 >= 33);
        }
    }
}
