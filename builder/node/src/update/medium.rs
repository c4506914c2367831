//! What an update reads and writes, apart from how.

use std::io::{self, Read, Write};

use coremax_node_api::{guid::Guid, slot::Slot, update::Digest, verity::RootHash};

/// Where something lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A slot's root partition.
    Root(Slot),
    /// A slot's verity partition.
    Verity(Slot),
    /// A file on the ESP, by its path there.
    File(String),
}

/// The ids of a slot's partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionIds {
    pub(crate) root: Guid,
    pub(crate) verity: Guid,
}

/// The disk as an update sees it. What was written is certain to be there after a `sync`.
pub(crate) trait Medium {
    /// In bytes; none for a file that is not there.
    fn length(&self, place: &Place) -> io::Result<Option<u64>>;

    /// The names of the files in a folder of the ESP; none where there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Option<Vec<String>>>;
    /// Fills `buffer`.
    fn read_at(&self, place: &Place, at: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes over what is there, or behind it.
    fn write_at(&mut self, place: &Place, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when content and length of a place are on the disk.
    fn sync(&mut self, place: &Place) -> io::Result<()>;

    /// Makes a file of no length on the ESP, in place of any other.
    fn create(&mut self, file: &str) -> io::Result<()>;

    /// Gives a file on the ESP another name, in the same folder.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file on the ESP; one that is not there is no error.
    fn remove(&mut self, file: &str) -> io::Result<()>;

    /// Returns when the names in a folder of the ESP are on the disk.
    fn sync_folder(&mut self, folder: &str) -> io::Result<()>;

    /// Gives the partitions of `slot` their ids, both or none, on the disk when it returns.
    fn set_ids(&mut self, slot: Slot, ids: PartitionIds) -> io::Result<()>;

    /// The room on the ESP for new files, in bytes.
    fn free(&self) -> io::Result<u64>;
}

impl PartitionIds {
    /// The two halves of the root hash, as the Discoverable Partitions Specification has it.
    pub(crate) fn of(root_hash: &Digest) -> Self {
        let [root, verity] = RootHash::from_bytes(*root_hash.as_bytes()).partition_guids();
        Self { root, verity }
    }
}

/// Reads a place from `at` on.
pub(super) struct Source<'a> {
    pub(super) medium: &'a dyn Medium,
    pub(super) place: Place,
    pub(super) at: u64,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.medium.length(&self.place)?.unwrap_or(0);
        let left = length.saturating_sub(self.at);
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.medium.read_at(&self.place, self.at, &mut buffer[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Writes a place from `at` on.
pub(super) struct Sink<'a> {
    pub(super) medium: &'a mut dyn Medium,
    pub(super) place: Place,
    pub(super) at: u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.medium.write_at(&self.place, self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
