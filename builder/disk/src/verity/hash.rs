//! Hashing blocks on all processors.

use std::{
    fs::File,
    io,
    num::NonZeroUsize,
    os::unix::fs::FileExt,
    panic::resume_unwind,
    sync::atomic::{AtomicU64, Ordering},
    thread::{self, ScopedJoinHandle},
};

use coremax_node_api::verity::{BLOCK, Salt};
use sha2::{Digest as _, Sha256};

use super::DIGEST;
use crate::Progress;

/// [`BLOCK`], for what is in memory.
pub(super) const BLOCK_LENGTH: usize = 4096;
/// Blocks that a thread takes at once: 1 MiB, which is all it holds.
const BATCH: u64 = 256;

/// SHA-256 with the salt already in.
pub(super) struct Hasher {
    salted: Sha256,
    /// What most of a device that is not full has.
    of_zeros: [u8; DIGEST],
}

impl Hasher {
    pub(super) fn new(salt: &Salt) -> Self {
        let salted = Sha256::new_with_prefix(salt.as_bytes());
        let of_zeros = salted.clone().chain_update([0; BLOCK_LENGTH]).finalize().into();
        Self { salted, of_zeros }
    }

    /// The hash of salt and block.
    pub(super) fn hash(&self, block: &[u8]) -> [u8; DIGEST] {
        static ZEROS: [u8; BLOCK_LENGTH] = [0; BLOCK_LENGTH];
        if block == ZEROS {
            return self.of_zeros;
        }
        self.salted.clone().chain_update(block).finalize().into()
    }
}

/// Blocks of a file, and where their hashes go, one behind the other: positions are in bytes.
pub(super) struct Work<'a> {
    pub(super) from: &'a File,
    pub(super) start: u64,
    pub(super) blocks: u64,
    pub(super) to: &'a File,
    pub(super) target: u64,
}

impl Work<'_> {
    /// Does it, and reports the bytes that were hashed. Both files may be one.
    pub(super) fn run(&self, hasher: &Hasher, progress: Progress<'_>) -> io::Result<()> {
        let next = AtomicU64::new(0);
        let batches = usize::try_from(self.blocks.div_ceil(BATCH)).unwrap_or(usize::MAX);
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        thread::scope(|scope| {
            let work = || self.take_batches(&next, hasher, progress);
            let threads: Vec<_> = (0..processors.min(batches)).map(|_| scope.spawn(work)).collect();
            let result = |thread: ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            threads.into_iter().try_for_each(result)
        })
    }

    fn take_batches(
        &self,
        next: &AtomicU64,
        hasher: &Hasher,
        progress: Progress<'_>,
    ) -> io::Result<()> {
        let mut data = Vec::new();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= self.blocks {
                return Ok(());
            }
            let length = BATCH.min(self.blocks - first) * BLOCK;
            data.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            self.from.read_exact_at(&mut data, self.start + first * BLOCK)?;
            let hashes: Vec<u8> =
                data.chunks(BLOCK_LENGTH).flat_map(|block| hasher.hash(block)).collect();
            self.to.write_all_at(&hashes, self.target + first * DIGEST as u64)?;
            progress(length);
        }
    }
}
