//! What can go wrong in making a disk.

use std::{
    io,
    path::{Path, PathBuf},
};

use coremax_node_api::squashfs::NotASuperblock as NotASquashfs;

use crate::{Bytes, Guid};

/// An operation of this crate that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{action} {path}")]
    Io {
        /// What was being done, such as "writing".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program that makes a part of the disk did not run or failed.
    #[error("making {what}")]
    Program {
        /// What it was to make.
        what: String,
        /// Why.
        source: coremax_sandbox::Error,
    },
    /// No temporary file could be used.
    #[error("making {what}: using a temporary file")]
    Scratch {
        /// What was to be made.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A partition cannot be as the layout says.
    #[error("partition {name:?}: {why}")]
    Partition {
        /// The partition's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Two partitions, or a partition and the disk, bear the same GUID.
    #[error("the GUID {guid} is given twice, the second time to partition {name:?}")]
    GuidTwice {
        /// The GUID.
        guid: Guid,
        /// The partition that has it the second time.
        name: String,
    },
    /// The layout does not fit a GPT of 128 entries and 64-bit sectors.
    #[error("{partitions} partitions of {size} together do not fit a partition table")]
    Layout {
        /// How many partitions.
        partitions: usize,
        /// Their sizes added up, as far as that can be written down.
        size: Bytes,
    },
    /// A partition's content is longer than the partition.
    #[error("{content} ({length}) does not fit partition {name:?} ({size})")]
    Content {
        /// The content.
        content: PathBuf,
        /// Its length.
        length: Bytes,
        /// The partition.
        name: String,
        /// Its size.
        size: Bytes,
    },
    /// A partition table could not be written.
    #[error("writing the partition table of {disk}")]
    Table {
        /// The disk.
        disk: PathBuf,
        /// Why.
        source: gptman::Error,
    },
    /// A FAT volume cannot be made with this label or of this size.
    #[error("FAT volume {label:?} of {size}: {why}")]
    FatVolume {
        /// Its label.
        label: String,
        /// Its size.
        size: Bytes,
        /// What is wrong.
        why: &'static str,
    },
    /// A file cannot be in a FAT volume under this path.
    #[error("{path:?} cannot be a path in a FAT volume: {why}")]
    FatPath {
        /// The path in the volume.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A file could not be written into a FAT volume.
    #[error("writing {path:?} into the FAT volume {volume}")]
    FatFile {
        /// The path in the volume.
        path: String,
        /// The volume's image.
        volume: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are more than a FAT volume can hold.
    #[error("the files need {needed} and the FAT volume {label:?} has {size}")]
    FatFull {
        /// The volume's label.
        label: String,
        /// What the files and folders need.
        needed: Bytes,
        /// What the volume offers for them.
        size: Bytes,
    },
    /// A tree does not fit an ext4 volume.
    #[error("the ext4 volume {label:?} of {size} is too small for its content")]
    Ext4Full {
        /// The volume's label.
        label: String,
        /// Its size.
        size: Bytes,
        /// A size that is enough.
        minimum: Bytes,
        /// What mke2fs said.
        source: coremax_sandbox::Error,
    },
    /// A label does not fit an ext4 superblock.
    #[error("{label:?} cannot be the label of an ext4 volume: 16 bytes fit, none of them NUL")]
    Ext4Label {
        /// The label.
        label: String,
    },
    /// A hash tree is only made over whole blocks.
    #[error("hashing {path}: {length} are not one or more blocks of 4096 bytes")]
    VerityData {
        /// The data.
        path: PathBuf,
        /// Its length.
        length: Bytes,
    },
    /// A file does not hold the hashes of a layer's blocks, or others than are asked for.
    #[error("{path} cannot be used as the leaves of a hash tree: {why}")]
    VerityLeaves {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A hash tree was asked for over nothing.
    #[error("a hash tree over no layer")]
    VerityNothing,
    /// mksquashfs wrote something else than a squashfs.
    #[error("reading the superblock of {path}")]
    Squashfs {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        source: NotASquashfs,
    },
    /// A folder cannot be named like this within a tree.
    #[error("{path:?} does not name a folder within the tree that is to be sealed")]
    SquashfsFolder {
        /// The path.
        path: PathBuf,
    },
    /// A folder of a layer hides what the layers below have there, which a sealed layer cannot say.
    #[error("{path} replaces the folder {hidden} instead of changing it")]
    LayerOpaque {
        /// The folder in the layer.
        path: PathBuf,
        /// The folder that it hides.
        hidden: PathBuf,
    },
    /// An attribute that a sealed layer cannot have.
    #[error("{path} has the attribute {attribute}, which cannot be sealed")]
    LayerMark {
        /// The file or folder.
        path: PathBuf,
        /// The attribute's name.
        attribute: String,
    },
    /// An entry cannot be in an initrd.
    #[error("{path:?} cannot be in an initrd: {why}")]
    CpioEntry {
        /// Its path.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A time does not fit an initrd.
    #[error("{epoch} cannot be the time of an initrd's files: 32 bits are for it")]
    CpioEpoch {
        /// The time, in seconds since 1970.
        epoch: u64,
    },
    /// An initrd could not be written to where it goes.
    #[error("writing an initrd")]
    CpioWrite {
        /// Why.
        source: io::Error,
    },
    /// A text cannot be put into GRUB's configuration.
    #[error("{text:?} cannot stand in GRUB's configuration: it holds {character:?}")]
    GrubText {
        /// The text.
        text: String,
        /// The first character that cannot be written.
        character: char,
    },
    /// An image of GRUB's is not of the form that can be installed.
    #[error("GRUB's {image} cannot be installed: {why}")]
    GrubImage {
        /// Which image, such as `core.img`.
        image: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A file is not a qcow2 image that this crate reads.
    #[error("{path} is not a usable qcow2 image: {why}")]
    Qcow2 {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, path, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(format!(
                    "free space on the file system that holds {}; a build goes on where it stopped",
                    path.display()
                ))
            }
            Self::Program { source, .. } => source.hint(),
            Self::Content { name, length, .. } => {
                Some(format!("make partition {name:?} at least {length} large"))
            }
            Self::Ext4Full { label, minimum, .. } => {
                Some(format!("make the volume {label:?} at least {minimum} large"))
            }
            Self::FatFull { label, needed, .. } => {
                Some(format!("make the volume {label:?} larger than {needed}"))
            }
            Self::LayerOpaque { hidden, .. } => Some(format!(
                "remove what is in {} rather than the folder itself",
                hidden.display()
            )),
            Self::GrubText { .. } => Some(
                "GRUB cannot hand quotes, backslashes or control characters to a kernel".into(),
            ),
            _ => None,
        }
    }
}

/// Says what an I/O error happened to.
pub(crate) trait During<T> {
    fn during(self, action: &'static str, path: &Path) -> crate::Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> crate::Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}
