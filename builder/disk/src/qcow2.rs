//! qcow2 images, written from a raw sparse disk.
//!
//! A version 3 image is cut into clusters (64 KiB here). A header points to the L1 table, its
//! entries to L2 tables of one cluster, theirs to the guest's clusters: plain ones on a cluster's
//! boundary, or compressed ones at any byte with the number of 512-byte sectors they touch. The
//! refcount table points to refcount blocks, with 16 bits for each cluster of the file. All is
//! big-endian; an entry of zero reads as zeros. Feature bit 3 with compression type 1 is zstd.
//! <https://www.qemu.org/docs/master/interop/qcow2.html>.

mod header;
mod pack;
mod writer;

use std::{fs::File, num::NonZeroUsize, path::Path, thread::available_parallelism};

use crate::{Bytes, Error, Progress, Result, error::During, sparse};

pub use header::Header;

/// The size of a cluster: 2^16 bytes, the default of all tools.
pub(crate) const CLUSTER: usize = 1 << CLUSTER_BITS;
pub(crate) const CLUSTER_BITS: u32 = 16;

/// How an image is packed. The bytes depend on `compression` alone, whatever the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How clusters are stored.
    pub compression: Compression,
    /// How many threads compress; each holds about 5 MiB.
    pub threads: NonZeroUsize,
}

/// How clusters are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are; any version of QEMU from 1.1 on reads it.
    None,
    /// Each as a zstd frame of this level; read from QEMU 5.1 on.
    Zstd {
        /// From 1 (fast) to 19 (small).
        level: i32,
    },
}

impl Default for Options {
    /// zstd of level 3, on all processors.
    fn default() -> Self {
        let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { compression: Compression::Zstd { level: 3 }, threads }
    }
}

/// Packs the raw disk `raw` into `image`, replacing any file there, and returns the image's length.
///
/// The guest sees a disk as long as `raw`, rounded up to 512 bytes. Holes and clusters of zeros
/// are not stored. `progress` counts the bytes of `raw` that were data. The header comes last, so
/// that a file that was not finished is no image.
///
/// # Errors
/// Failing I/O, or a disk of more than 8 TiB.
pub fn write(raw: &Path, image: &Path, options: &Options, progress: Progress<'_>) -> Result<Bytes> {
    let disk = File::open(raw).during("opening", raw)?;
    let size = disk.metadata().during("reading", raw)?.len();
    let extents = sparse::extents(&disk).during("finding the data of", raw)?;
    let file = File::create(image).during("creating", image)?;
    let mut writer = writer::Writer::new(&file, Bytes(size), options.compression)
        .ok_or_else(|| Error::Qcow2 { path: image.to_owned(), why: "the disk is above 8 TiB" })?;
    pack::in_order(&disk, &pack::batches(&extents), options, |batch| {
        let batch = batch.during("reading", raw)?;
        writer.add(&batch).during("writing", image)?;
        progress(batch.length());
        Ok(())
    })?;
    writer.finish().during("writing", image)
}

/// The size of the disk that a guest sees in `image`.
///
/// # Errors
/// Failing I/O, or a file that is no qcow2 image of version 2 or 3.
pub fn virtual_size(image: &Path) -> Result<Bytes> {
    Header::load(image).map(|header| header.size)
}
