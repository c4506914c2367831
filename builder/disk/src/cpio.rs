//! Initrds: a cpio archive, compressed with zstd or as it is. Several may stand one behind the other
//! in one file, each compressed in its own way; the kernel unpacks them in their order.
//!
//! For each file an archive has a header of 110 characters, the name with a NUL, and the content,
//! name and content filled up with zeros to 4 bytes. A header is `070701` and 13 numbers of 8
//! hexadecimal digits: inode, mode, uid, gid, links, time, length, device (major, minor), device of
//! a node (major, minor), length of the name with its NUL, and a sum that is 0. A file named
//! `TRAILER!!!` ends it. A folder comes before what is in it: the kernel makes none by itself.
//! <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>

mod header;
mod order;

use std::{
    borrow::Cow,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{Error, Result, error::During};
use header::Header;

/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";
/// The kernel skips longer names, and targets of links, without a word. Set by Linux (PATH_MAX).
const MAX_PATH: usize = 4096;
/// What an archive is filled up to: some loaders put one behind the other.
const UNIT: u64 = 512;

/// A file, folder, link or node to be in an initrd, owned by root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path from the top, with `/` between names and none before them: `dev/console`.
    pub path: String,
    /// Its permissions, at most 0o7777.
    pub mode: u32,
    /// What it is.
    pub content: Content,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A folder.
    Folder,
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A file with the bytes of a file of the host.
    Path(PathBuf),
    /// A symbolic link to this.
    Link(String),
    /// A character device.
    Character {
        /// Its driver's number.
        major: u32,
        /// Its own number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its driver's number.
        major: u32,
        /// Its own number.
        minor: u32,
    },
}

/// Writes the initrd with these entries and the folders above them, of mode 0o755, and returns what
/// it was written to. All bear the time `epoch`, in seconds since 1970 and below 2^32. `level` is
/// zstd's, from 1 (fast) to 19 (small); with none nothing is compressed.
///
/// The same entries in any order give the same bytes. What comes from the host is read one file at
/// a time.
///
/// # Errors
/// [`Error::CpioEntry`] for a path that is given twice, leads upwards, or cannot be unpacked;
/// [`Error::CpioEpoch`]; failing I/O.
pub fn write<W: Write>(entries: &[Entry], epoch: u64, level: Option<i32>, out: W) -> Result<W> {
    let failed = |source| Error::CpioWrite { source };
    let Some(level) = level else { return write_plain(entries, epoch, out) };
    let encoder = zstd::Encoder::new(out, level).map_err(failed)?;
    write_plain(entries, epoch, encoder)?.finish().map_err(failed)
}

fn write_plain<W: Write>(entries: &[Entry], epoch: u64, out: W) -> Result<W> {
    let time = u32::try_from(epoch).map_err(|_| Error::CpioEpoch { epoch })?;
    let failed = |source| Error::CpioWrite { source };
    let mut archive = Archive { out, length: 0, time, inode: 0 };
    for (path, entry) in order::by_path(entries)? {
        match entry {
            Some(entry) => archive.add(entry)?,
            None => archive.put(path, 0o755, &Content::Folder, &[]).map_err(failed)?,
        }
    }
    archive.finish().map_err(failed)
}

impl Entry {
    /// A folder.
    pub fn folder(path: impl Into<String>, mode: u32) -> Self {
        Self { path: path.into(), mode, content: Content::Folder }
    }

    /// A file with these bytes.
    pub fn bytes(path: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, content: Content::Bytes(bytes.into()) }
    }

    /// A copy of a file of the host, with the permissions given here.
    pub fn copy(path: impl Into<String>, mode: u32, from: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode, content: Content::Path(from.into()) }
    }

    /// A symbolic link.
    pub fn link(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o777, content: Content::Link(target.into()) }
    }
}

/// An archive in the making.
struct Archive<W> {
    out: W,
    /// Bytes so far, before compression.
    length: u64,
    time: u32,
    /// The number of the last entry.
    inode: u32,
}

impl<W: Write> Archive<W> {
    fn finish(mut self) -> io::Result<W> {
        self.put_header(TRAILER, &Header { links: 1, ..Header::default() })?;
        self.fill_up(UNIT)?;
        Ok(self.out)
    }

    fn add(&mut self, entry: &Entry) -> Result<()> {
        let bytes = match &entry.content {
            Content::Bytes(bytes) => Cow::Borrowed(&bytes[..]),
            Content::Link(target) => Cow::Borrowed(target.as_bytes()),
            Content::Path(from) => Cow::Owned(read(from)?),
            Content::Folder | Content::Character { .. } | Content::Block { .. } => Cow::default(),
        };
        if u32::try_from(bytes.len()).is_err() {
            return Err(entry.refuse("it has 4 GiB or more"));
        }
        self.put(&entry.path, entry.mode, &entry.content, &bytes)
            .map_err(|source| Error::CpioWrite { source })
    }

    fn put(&mut self, path: &str, mode: u32, content: &Content, bytes: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let device = match content {
            Content::Character { major, minor } | Content::Block { major, minor } => {
                [*major, *minor]
            }
            _ => [0, 0],
        };
        let header = Header {
            inode: self.inode,
            mode: content.kind() | mode,
            links: if *content == Content::Folder { 2 } else { 1 },
            time: self.time,
            length: u32::try_from(bytes.len()).map_err(io::Error::other)?,
            device,
        };
        self.put_header(path, &header)?;
        self.put_bytes(bytes)?;
        self.fill_up(4)
    }

    fn put_header(&mut self, path: &str, header: &Header) -> io::Result<()> {
        self.put_bytes(header.text(path.len() + 1).as_bytes())?;
        self.put_bytes(path.as_bytes())?;
        self.put_bytes(&[0])?;
        self.fill_up(4)
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn fill_up(&mut self, unit: u64) -> io::Result<()> {
        let missing = self.length.next_multiple_of(unit) - self.length;
        self.length += missing;
        io::copy(&mut io::Read::take(io::repeat(0), missing), &mut self.out).map(drop)
    }
}

impl Entry {
    fn refuse(&self, why: &'static str) -> Error {
        Error::CpioEntry { path: self.path.clone(), why }
    }
}

impl Content {
    /// The bits of a mode that say what it is. See inode(7).
    fn kind(&self) -> u32 {
        match self {
            Self::Folder => 0o040_000,
            Self::Bytes(_) | Self::Path(_) => 0o100_000,
            Self::Link(_) => 0o120_000,
            Self::Character { .. } => 0o020_000,
            Self::Block { .. } => 0o060_000,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).during("reading", path)
}
