//! Sealed layers: a squashfs from a tree, by mksquashfs.
//!
//! A squashfs is read-only: the superblock, the files' blocks compressed one by one, short ends
//! packed together, then tables of inodes, folders, owners and extended attributes. Its superblock
//! says where it ends, and it is filled up to 4096 bytes, so that layers can follow each other.
//! Owners, modes, hard links, holes, device nodes and the attributes `user.` and `security.` are
//! kept; access control lists have no place in it and are left out.
//! <https://docs.kernel.org/filesystems/squashfs.html>

mod leave_out;
mod single;

use std::{
    fs::File,
    num::NonZeroUsize,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use coremax_node_api::squashfs::Superblock;
use coremax_sandbox::{Cmd, Sandbox};

use crate::{Bytes, Error, Result, error::During, layer};

/// What mksquashfs holds in memory: it would take a quarter of the machine's, and gains nothing.
const MEMORY: &str = "256M";

/// A squashfs to be. The bytes depend on the tree and on all of this but `threads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squashfs {
    /// The time, in seconds since 1970 and below 2^32, at which it was made; what the tree has
    /// from later is dated back to it.
    pub epoch: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// What is compressed at once: a power of two from 4 KiB to 1 MiB.
    pub block: Bytes,
    /// Folders, relative to the tree, that are kept without what is in them.
    pub emptied: Vec<PathBuf>,
    /// Files, relative to the tree, that are compressed each by itself, however short: reading one that is packed
    /// together with others unpacks them all, and Linux keeps but the last few such blocks.
    pub single: Vec<PathBuf>,
    /// How many threads compress.
    pub threads: NonZeroUsize,
}

/// How a squashfs is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// With zstd; read from Linux 4.14 on.
    Zstd {
        /// From 1 (fast) to 22 (small).
        level: i32,
    },
}

impl Squashfs {
    /// zstd of level 3 in blocks of 128 KiB, on all processors, of the whole tree.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            compression: Compression::Zstd { level: 3 },
            block: Bytes(128 << 10),
            emptied: Vec::new(),
            single: Vec::new(),
            threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }

    fn command(&self, sandbox: &Sandbox, source: &Path, image: &Path) -> Result<Cmd> {
        let Compression::Zstd { level } = self.compression;
        let command = Cmd::new("mksquashfs", sandbox)
            // The time of making, and the latest there is: options have no word for the second.
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .arg(source)
            .arg(image)
            .args(["-noappend", "-no-progress", "-quiet"])
            // A file that cannot be read would otherwise be stored as an empty one.
            .arg("-exit-on-error")
            // For NFS. Overlayfs would note handles of inodes, which the next version numbers anew.
            .arg("-no-exports")
            .args(["-comp", "zstd", "-Xcompression-level", &level.to_string()])
            .args(["-b", &self.block.0.to_string()])
            .args(["-processors", &self.threads.to_string()])
            .args(["-mem", MEMORY])
            .args(single::action(&self.single));
        let patterns = leave_out::patterns(&self.emptied)?;
        Ok(match patterns.is_empty() {
            true => command,
            false => command.args(["-wildcards", "-e"]).args(patterns), // comes last
        })
    }
}

/// Writes the squashfs as a new file, replacing any at `image`, with what is in `source`; returns
/// its length, a multiple of 4096. The same tree gives the same bytes, and so does a copy of it.
///
/// `tools` needs squashfs-tools, and must show `source`, an absolute path, to its programs. The
/// image is added here.
///
/// # Errors
/// A failing mksquashfs; a path in `emptied` that is not relative, or leads upwards; overlayfs'
/// marks in the tree, which [`layer::settle`] takes away; failing I/O.
pub fn make(tools: &Sandbox, volume: &Squashfs, source: &Path, image: &Path) -> Result<Bytes> {
    layer::refuse_marks(source, &volume.emptied)?;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(image);
    let file = file.during("creating", image)?;
    let image = image.canonicalize().during("finding", image)?;
    volume.command(&tools.clone().bind(&image), source, &image)?.run().map_err(|source| {
        Error::Program { what: format!("the squashfs {}", image.display()), source }
    })?;
    let mut head = [0; Superblock::LENGTH];
    file.read_exact_at(&mut head, 0).during("reading", &image)?;
    let superblock = Superblock::parse(&head)
        .map_err(|source| Error::Squashfs { path: image.clone(), source })?;
    let length = superblock.layer_length();
    file.set_len(length).during("filling up", &image)?;
    Ok(Bytes(length))
}
