//! Placing clusters and tables in a qcow2 file.
//!
//! The file: header, refcount table, L1 table, then data with each L2 table behind the data it
//! points to, and the refcount blocks last. One L2 table is held at a time.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{
    CLUSTER, Compression,
    header::Tables,
    pack::{Batch, Packed},
};
use crate::{Bytes, Sectors};

const UNIT: u64 = CLUSTER as u64;
/// Entries in an L2 table, and of a cluster of L1 or refcount table.
const ENTRIES: u64 = UNIT / 8;
/// Clusters counted by one refcount block.
const COUNTED: usize = CLUSTER / 2;
/// One cluster of refcount table reaches 16 TiB of file.
const REFCOUNT_TABLE_CLUSTERS: u32 = 1;
/// Our own bound: however badly it packs, a disk of this size stays within that reach.
const LARGEST_DISK: Bytes = Bytes::gib(8 << 10);
/// L1 and L2 entries: the cluster's refcount is exactly one.
const COPIED: u64 = 1 << 63;
/// L2 entries: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// In a compressed L2 entry the sector count stands above the offset's 54 bits, for 64 KiB clusters.
const SECTORS_SHIFT: u32 = 54;

/// An image in the making. Clusters are added in ascending order.
pub(super) struct Writer<'a> {
    file: &'a File,
    compression: Compression,
    tables: Tables,
    /// The next unused cluster of the file, in bytes.
    end: u64,
    /// Where the next compressed cluster may begin, within or at the end of the last used cluster.
    tail: u64,
    l1: Vec<u64>,
    l2: Vec<u64>,
    /// Which L1 entry `l2` will be for.
    current: usize,
    /// How often each cluster of the file is used.
    refcounts: Vec<u16>,
}

impl<'a> Writer<'a> {
    /// Begins an image of a disk of `size`; `None` where that is too large.
    pub(super) fn new(file: &'a File, size: Bytes, compression: Compression) -> Option<Self> {
        let size = size.sectors().bytes();
        let l1_entries = size.0.div_ceil(UNIT * ENTRIES);
        let tables = Tables {
            size,
            l1_entries: u32::try_from(l1_entries).ok().filter(|_| size <= LARGEST_DISK)?,
            l1_offset: UNIT * (1 + u64::from(REFCOUNT_TABLE_CLUSTERS)),
            refcount_offset: UNIT,
            refcount_clusters: REFCOUNT_TABLE_CLUSTERS,
        };
        let end = tables.l1_offset + l1_entries.div_ceil(ENTRIES) * UNIT;
        Some(Self {
            file,
            compression,
            end,
            tail: end,
            l1: vec![0; usize::try_from(l1_entries).ok()?],
            l2: vec![0; CLUSTER / 8],
            current: 0,
            refcounts: vec![1; usize::try_from(end / UNIT).ok()?],
            tables,
        })
    }

    /// Adds the clusters of a batch, which lie behind all that were added before.
    pub(super) fn add(&mut self, batch: &Batch) -> io::Result<()> {
        let mut bytes = &batch.bytes[..];
        for (cluster, packed) in (batch.first..).zip(&batch.clusters) {
            let length = match packed {
                Packed::Zeros => continue,
                Packed::Plain => CLUSTER,
                Packed::Compressed(length) => *length,
            };
            let (own, rest) = bytes.split_at(length);
            bytes = rest;
            let entry =
                if length < CLUSTER { self.add_compressed(own)? } else { self.add_plain(own)? };
            self.point(cluster, entry)?;
        }
        Ok(())
    }

    /// Writes what is left of the tables, and the header; returns the file's length.
    pub(super) fn finish(mut self) -> io::Result<Bytes> {
        self.finish_l2()?;
        self.write_refcounts()?;
        self.write_entries(self.tables.l1_offset, &self.l1)?;
        self.file.set_len(self.end)?;
        self.file.write_all_at(&self.tables.header(self.compression), 0)?;
        Ok(Bytes(self.end))
    }

    /// Stores a compressed cluster right behind the last one, and returns its L2 entry.
    fn add_compressed(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let length = bytes.len() as u64;
        let room = self.tail.next_multiple_of(UNIT) - self.tail;
        if length > room {
            // It may run on into the next cluster, but only where that one follows in the file.
            if self.tail + room != self.end {
                self.tail = self.end;
            }
            self.allocate();
        }
        let start = self.tail;
        self.tail += length;
        self.file.write_all_at(bytes, start)?;
        for cluster in start / UNIT..=(self.tail - 1) / UNIT {
            self.count(cluster);
        }
        let more_sectors = (self.tail - 1) / Sectors::SIZE - start / Sectors::SIZE;
        Ok(COMPRESSED | more_sectors << SECTORS_SHIFT | start)
    }

    /// Stores a cluster as it is, and returns its L2 entry.
    fn add_plain(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let start = self.allocate();
        self.count(start / UNIT);
        self.file.write_all_at(bytes, start)?;
        Ok(COPIED | start)
    }

    /// Takes the next cluster of the file, not yet counted.
    fn allocate(&mut self) -> u64 {
        let start = self.end;
        self.end += UNIT;
        self.refcounts.push(0);
        start
    }

    fn count(&mut self, cluster: u64) {
        // No zstd frame is below 8 bytes: at most 8193 compressed clusters share one, and 16 bits do.
        if let Some(count) = usize::try_from(cluster).ok().and_then(|i| self.refcounts.get_mut(i)) {
            *count += 1;
        }
    }

    /// Sets the L2 entry of a cluster of the guest.
    fn point(&mut self, cluster: u64, entry: u64) -> io::Result<()> {
        let table = usize::try_from(cluster / ENTRIES).map_err(io::Error::other)?;
        if table != self.current {
            self.finish_l2()?;
            self.current = table;
        }
        let index = usize::try_from(cluster % ENTRIES).map_err(io::Error::other)?;
        self.l2[index] = entry;
        Ok(())
    }

    /// Writes the L2 table in hand, unless nothing is in it, and begins an empty one.
    fn finish_l2(&mut self) -> io::Result<()> {
        if self.l2.iter().all(|&entry| entry == 0) {
            return Ok(());
        }
        let start = self.allocate();
        self.count(start / UNIT);
        self.write_entries(start, &self.l2)?;
        self.l1[self.current] = COPIED | start;
        self.l2.fill(0);
        Ok(())
    }

    /// Writes the refcount blocks, which count themselves too, and the table that points to them.
    fn write_refcounts(&mut self) -> io::Result<()> {
        let first = self.end;
        let mut blocks = 0;
        while blocks * COUNTED < self.refcounts.len() {
            let start = self.allocate();
            self.count(start / UNIT);
            blocks += 1;
        }
        let starts: Vec<u64> = (0..blocks as u64).map(|block| first + block * UNIT).collect();
        for (counts, &start) in self.refcounts.chunks(COUNTED).zip(&starts) {
            let bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            self.file.write_all_at(&bytes, start)?;
        }
        self.write_entries(self.tables.refcount_offset, &starts)
    }

    fn write_entries(&self, at: u64, entries: &[u64]) -> io::Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        self.file.write_all_at(&bytes, at)
    }
}
