//! Level 0 of a layer in a file of its own.
//!
//! It begins with the superblock of a tree over the layer alone, with no UUID, so that nobody
//! mistakes the leaves of another salt for these; the hashes follow.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use coremax_node_api::verity::{BLOCK, RootHash, Salt, Superblock};

use super::{
    DIGEST,
    hash::{Hasher, Work},
};
use crate::{Bytes, Error, Progress, Result, error::During};

/// Where the hashes begin.
const START: u64 = Superblock::LENGTH as u64;

/// The leaves of one layer.
pub(super) struct Leaves<'a> {
    path: &'a Path,
    file: File,
    superblock: Superblock,
}

impl<'a> Leaves<'a> {
    /// Hashes `data` to `path`. The superblock comes last, so that a file that was not finished is
    /// refused.
    pub(super) fn write(
        salt: &Salt,
        data: &Path,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<()> {
        let from = File::open(data).during("opening", data)?;
        let length = from.metadata().during("reading", data)?.len();
        if length == 0 || length % BLOCK != 0 {
            return Err(Error::VerityData { path: data.to_owned(), length: Bytes(length) });
        }
        let blocks = length / BLOCK;
        let file = File::create(path).during("creating", path)?;
        let work = Work { from: &from, start: 0, blocks, to: &file, target: START };
        work.run(&Hasher::new(salt), progress).during("hashing", data)?;
        let superblock = Superblock { uuid: [0; 16], data_blocks: blocks, salt: salt.clone() };
        file.write_all_at(&superblock.encode(), 0).during("writing", path)
    }

    /// Opens what [`Self::write`] wrote, with this salt.
    pub(super) fn open(path: &'a Path, salt: &Salt) -> Result<Self> {
        let file = File::open(path).during("opening", path)?;
        let length = file.metadata().during("reading", path)?.len();
        let mut head = [0; Superblock::LENGTH];
        file.read_exact_at(&mut head, 0).during("reading", path)?;
        let refuse = |why| Error::VerityLeaves { path: path.to_owned(), why };
        let superblock = Superblock::parse(&head).map_err(|error| refuse(error.to_string()))?;
        if superblock.salt != *salt {
            return Err(refuse(format!("their salt is {}, not {salt}", superblock.salt)));
        }
        let leaves = Self { path, file, superblock };
        if length != START + leaves.length() {
            return Err(refuse(format!(
                "{length} bytes are not those of {} blocks",
                leaves.blocks()
            )));
        }
        Ok(leaves)
    }

    /// How many blocks of data they are of.
    pub(super) fn blocks(&self) -> u64 {
        self.superblock.data_blocks
    }

    /// The first leaf, which over a single block is the root.
    pub(super) fn first(&self) -> Result<RootHash> {
        let mut hash = [0; DIGEST];
        self.file.read_exact_at(&mut hash, START).during("reading", self.path)?;
        Ok(RootHash::from_bytes(hash))
    }

    /// Writes the hashes to where `tree` has its cursor.
    pub(super) fn copy(&self, mut tree: &File) -> io::Result<()> {
        let mut from = &self.file;
        from.seek(SeekFrom::Start(START))?;
        io::copy(&mut from.take(self.length()), &mut tree).map(drop)
    }

    /// Bytes of hashes.
    fn length(&self) -> u64 {
        self.blocks() * DIGEST as u64
    }
}
