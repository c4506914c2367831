//! dm-verity hash trees over sealed layers.
//!
//! Level 0 holds the SHA-256 of salt and data block for each block of 4096 bytes, 128 of them to a
//! block of hashes, the last filled up with zeros. Each further level hashes the blocks of the one
//! below, until a level is one block: its hash is the root hash. The tree's file begins with a block
//! for the superblock ([`coremax_node_api::verity`]); then come the levels, the topmost first.
//! <https://docs.kernel.org/admin-guide/device-mapper/verity.html>
//!
//! Level 0 takes nearly all the work and depends on data and salt alone. [`leaves`] keeps it in a
//! file beside a layer; [`build`] makes one tree over several layers from theirs.

mod hash;
mod leaves;
mod levels;

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use coremax_node_api::verity::{BLOCK, Superblock};
pub use coremax_node_api::verity::{RootHash, SALT_MAX, Salt, SaltTooLong};

use self::{
    hash::{BLOCK_LENGTH, Hasher, Work},
    leaves::Leaves,
    levels::Levels,
};
use crate::{Bytes, Error, Guid, Progress, Result, error::During};

/// Bytes in a SHA-256.
const DIGEST: usize = 32;

/// What a tree has of its own. The same on the same data gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verity {
    /// Its UUID.
    pub uuid: Guid,
    /// What is hashed before each block.
    pub salt: Salt,
}

/// A tree that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// What the kernel must be told to trust the data.
    pub hash: RootHash,
    /// How many blocks of 4096 bytes are hashed.
    pub data_blocks: u64,
    /// The length of the tree's file.
    pub length: Bytes,
}

/// The length of the tree over `data`, of which a part of a block counts whole.
pub fn length(data: Bytes) -> Bytes {
    Levels::over(data.0.div_ceil(BLOCK)).length()
}

/// Writes the tree over all of `data` to `tree`, replacing any file there, on all processors and
/// with little memory. `progress` counts the bytes of data.
///
/// # Errors
/// Data that is not of whole blocks, at least one; failing I/O.
pub fn format(verity: &Verity, data: &Path, tree: &Path, progress: Progress<'_>) -> Result<Root> {
    let scratch = tempfile::NamedTempFile::new().map_err(|source| Error::Scratch {
        what: format!("the hash tree {}", tree.display()),
        source,
    })?;
    leaves(&verity.salt, data, scratch.path(), progress)?;
    build(verity, &[scratch.path()], tree)
}

/// Writes what level 0 says of all of `data` to `leaves`, for [`build`], replacing any file there:
/// 32 bytes for each block, and 512 at the start. Otherwise as [`format()`].
///
/// # Errors
/// As [`format()`].
pub fn leaves(salt: &Salt, data: &Path, leaves: &Path, progress: Progress<'_>) -> Result<()> {
    Leaves::write(salt, data, leaves, progress)
}

/// Writes the tree over layers that follow each other to `tree`, replacing any file there, from
/// the [`leaves`] of each. The result is that of [`format()`] on the layers in one file.
///
/// # Errors
/// No layer; leaves of another salt, or cut short; failing I/O.
pub fn build(verity: &Verity, leaves: &[&Path], tree: &Path) -> Result<Root> {
    let leaves: Vec<Leaves<'_>> =
        leaves.iter().map(|path| Leaves::open(path, &verity.salt)).collect::<Result<_>>()?;
    let only = leaves.first().ok_or(Error::VerityNothing)?;
    let data_blocks = leaves.iter().map(Leaves::blocks).sum();
    let levels = Levels::over(data_blocks);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(tree);
    let file = file.during("creating", tree)?;
    file.set_len(levels.length().0).during("sizing", tree)?;
    let hash = match levels.upwards() {
        [] => only.first()?,
        upwards => {
            plant(&leaves, &file, upwards[0].start).during("writing", tree)?;
            grow(&Hasher::new(&verity.salt), upwards, &file).during("hashing", tree)?
        }
    };
    let (uuid, salt) = (*verity.uuid.as_bytes(), verity.salt.clone());
    let superblock = Superblock { uuid, data_blocks, salt };
    file.write_all_at(&superblock.encode(), 0).during("writing", tree)?;
    Ok(Root { hash, data_blocks, length: levels.length() })
}

/// Writes level 0 from the block `start` of the tree's file.
fn plant(leaves: &[Leaves<'_>], mut file: &File, start: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(start * BLOCK))?;
    leaves.iter().try_for_each(|own| own.copy(file))
}

/// Writes each further level from the one below, and returns the hash of the topmost's block.
fn grow(hasher: &Hasher, upwards: &[Range<u64>], file: &File) -> io::Result<RootHash> {
    for pair in upwards.windows(2) {
        let [start, target] = [0, 1].map(|i| pair[i].start * BLOCK);
        let blocks = pair[0].end - pair[0].start;
        Work { from: file, start, blocks, to: file, target }.run(hasher, &|_| ())?;
    }
    let mut top = vec![0; BLOCK_LENGTH];
    file.read_exact_at(&mut top, BLOCK)?;
    Ok(RootHash::from_bytes(hasher.hash(&top)))
}
