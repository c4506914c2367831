//! Reading and compressing clusters on several threads, handed over in the disk's order.
//!
//! Batch `i` belongs to thread `i % threads`, and each thread has a short queue of its own: taking
//! from the queues in turn gives the order back, and full queues bound the memory.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use zstd::bulk::Compressor;

use super::{CLUSTER, Compression, Options};

/// Clusters in a batch: 1 MiB, which makes the cost of handing over vanish.
const BATCH: usize = 16;
/// Batches that wait in a thread's queue.
const QUEUE: usize = 2;
/// The largest use of memory by a thread: what it reads, and its batches on the way.
const _: () = assert!((QUEUE + 3) * BATCH * CLUSTER <= 5 << 20);

/// Consecutive clusters of a disk, as the image will hold them.
pub(super) struct Batch {
    /// The number of the first cluster.
    pub(super) first: u64,
    /// Each cluster in turn.
    pub(super) clusters: Vec<Packed>,
    /// The bytes of all clusters that are not zeros, one behind the other.
    pub(super) bytes: Vec<u8>,
}

/// How a cluster is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    /// Not at all, since it is all zeros.
    Zeros,
    /// As it is.
    Plain,
    /// Compressed into this many bytes, fewer than a cluster's.
    Compressed(usize),
}

impl Batch {
    /// How many bytes of the disk it covers.
    pub(super) fn length(&self) -> u64 {
        (self.clusters.len() * CLUSTER) as u64
    }
}

/// The clusters that hold the extents' data, in order, in runs of at most [`BATCH`].
pub(super) fn batches(extents: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        let clusters = extent.start / CLUSTER as u64..extent.end.div_ceil(CLUSTER as u64);
        match runs.last_mut() {
            Some(last) if clusters.start <= last.end => last.end = clusters.end,
            _ => runs.push(clusters),
        }
    }
    let cut = |run: Range<u64>| {
        let end = run.end;
        run.step_by(BATCH).map(move |first| first..end.min(first + BATCH as u64))
    };
    runs.into_iter().flat_map(cut).collect()
}

/// Reads and packs `batches` of `disk`, and gives each to `take` in order.
pub(super) fn in_order<E>(
    disk: &File,
    batches: &[Range<u64>],
    options: &Options,
    mut take: impl FnMut(io::Result<Batch>) -> Result<(), E>,
) -> Result<(), E> {
    let threads = options.threads.get().min(batches.len());
    thread::scope(|scope| {
        let mut queues: Vec<Receiver<io::Result<Batch>>> = Vec::with_capacity(threads);
        for thread in 0..threads {
            let (to, from) = sync_channel(QUEUE);
            let own = batches.iter().skip(thread).step_by(threads).cloned();
            scope.spawn(move || pack_all(disk, own, options.compression, &to));
            queues.push(from);
        }
        // A thread that panicked has closed its queue: the scope passes its panic on.
        (0..batches.len()).map_while(|i| queues[i % threads].recv().ok()).try_for_each(&mut take)
    })
}

/// Packs batches until they end, reading fails, or nobody listens any more.
fn pack_all(
    disk: &File,
    batches: impl Iterator<Item = Range<u64>>,
    compression: Compression,
    to: &SyncSender<io::Result<Batch>>,
) {
    let mut packer = Packer::new(disk, compression);
    for clusters in batches {
        let batch =
            packer.as_mut().map_or_else(|e| Err(io::Error::from(e.kind())), |p| p.pack(clusters));
        let failed = batch.is_err();
        if to.send(batch).is_err() || failed {
            return;
        }
    }
}

/// What a thread uses again for each batch.
struct Packer<'a> {
    disk: &'a File,
    compressor: Option<Compressor<'static>>,
    read: Vec<u8>,
    cluster: Vec<u8>,
}

impl<'a> Packer<'a> {
    fn new(disk: &'a File, compression: Compression) -> io::Result<Self> {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd { level } => Some(Compressor::new(level)?),
        };
        Ok(Self { disk, compressor, read: Vec::new(), cluster: vec![0; CLUSTER] })
    }

    fn pack(&mut self, clusters: Range<u64>) -> io::Result<Batch> {
        let first = clusters.start;
        let count = usize::try_from(clusters.end - first).map_err(io::Error::other)?;
        let read = self.read(first, count)?;
        let mut batch = Batch {
            first,
            clusters: Vec::with_capacity(count),
            bytes: Vec::with_capacity(read.len()),
        };
        for cluster in read.chunks_exact(CLUSTER) {
            let packed = self.pack_cluster(cluster);
            match packed {
                Packed::Zeros => {}
                Packed::Plain => batch.bytes.extend_from_slice(cluster),
                Packed::Compressed(length) => {
                    batch.bytes.extend_from_slice(&self.cluster[..length]);
                }
            }
            batch.clusters.push(packed);
        }
        self.read = read;
        Ok(batch)
    }

    /// The bytes of whole clusters; zeros beyond the disk's end.
    fn read(&mut self, first: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.read);
        bytes.clear();
        bytes.resize(count * CLUSTER, 0);
        let mut filled = 0;
        while filled < bytes.len() {
            match self.disk.read_at(&mut bytes[filled..], first * CLUSTER as u64 + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        Ok(bytes)
    }

    /// Tells how a cluster is stored, and leaves its compressed form in `self.cluster`.
    fn pack_cluster(&mut self, cluster: &[u8]) -> Packed {
        if is_zeros(cluster) {
            return Packed::Zeros;
        }
        // The only failure is a result that does not fit, of a cluster that is better left plain.
        let room = &mut self.cluster[..CLUSTER - 1];
        let compressed =
            self.compressor.as_mut().and_then(|c| c.compress_to_buffer(cluster, room).ok());
        compressed.map_or(Packed::Plain, Packed::Compressed)
    }
}

fn is_zeros(cluster: &[u8]) -> bool {
    static ZEROS: [u8; CLUSTER] = [0; CLUSTER];
    cluster == &ZEROS[..cluster.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn batches_cover_the_data() {
        const C: u64 = CLUSTER as u64;
        for (extents, expected) in [
            (&[][..], &[][..]),
            (&[(0, 1)], &[(0, 1)]),
            (&[(C - 1, C + 1)], &[(0, 2)]),
            (&[(0, 1), (2, 3), (C, C + 1)], &[(0, 2)]),
            (&[(0, 1), (5 * C, 6 * C)], &[(0, 1), (5, 6)]),
            (&[(0, 17 * C)], &[(0, 16), (16, 17)]),
        ] {
            let extents: Vec<Range<u64>> = extents.iter().map(|&(from, to)| from..to).collect();
            let found: Vec<(u64, u64)> =
                batches(&extents).iter().map(|b| (b.start, b.end)).collect();
            assert_eq!(found, expected, "{extents:?}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_of_data_is_in_one_batch(gaps in prop::collection::vec((0..1_u64 << 22, 1..1_u64 << 22), 0..20)) {
            let mut end = 0;
            let extents: Vec<Range<u64>> = gaps.iter().map(|(gap, length)| {
                let start = end + gap;
                end = start + length;
                start..end
            }).collect();
            let batches = batches(&extents);
            prop_assert!(batches.is_sorted_by(|a, b| a.end <= b.start));
            prop_assert!(batches.iter().all(|b| b.start < b.end && b.end - b.start <= BATCH as u64));
            for extent in extents {
                for byte in [extent.start, extent.end - 1] {
                    let cluster = byte / CLUSTER as u64;
                    prop_assert_eq!(batches.iter().filter(|b| b.contains(&cluster)).count(), 1);
                }
            }
        }
    }
}
