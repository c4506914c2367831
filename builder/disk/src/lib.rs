//! File systems, hash trees, initrds, GRUB, GPT and qcow2: a bootable disk without loop devices or
//! mounts.
//!
//! A disk is made from the inside out: [`ext4::make`], [`squashfs::make`] and [`fat::make`] write
//! file-system images, [`verity::format()`] the hashes that protect one, and [`cpio::write`] an
//! initrd. [`grub`] gives the ESP its loader and its configuration, [`gpt::Layout::write`] lays the
//! images into partitions of a raw disk, [`grub::bios`] makes that disk boot by BIOS, and
//! [`qcow2::write`] packs it. Every function writes the same bytes for the same input: GUIDs,
//! labels and times are given, the clock and the host's randomness are never asked.

pub mod cpio;
mod error;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod grub;
pub mod layer;
pub mod qcow2;
mod sparse;
pub mod squashfs;
mod units;
pub mod verity;

pub use coremax_node_api::guid::{Guid, NotAGuid};
pub use error::Error;
pub use sparse::{copy_file, data};
pub use units::{Bytes, Sectors};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// Called with the number of bytes done since the last call.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);
