//! A disk in memory that remembers what was done to it, and what a cut of power would leave.

use std::{collections::BTreeMap, io};

use coremax_node_api::slot::{FOLDER, Slot, entries::ENTRIES};

use super::{Medium, PartitionIds, Place};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Disk {
    pub(super) places: BTreeMap<Place, Vec<u8>>,
    pub(super) ids: BTreeMap<Slot, [u8; 32]>,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Write(Place, u64, Vec<u8>),
    Sync(Place),
    Create(String),
    Rename(String, String),
    Remove(String),
    SyncFolder(String),
    Ids(Slot, [u8; 32]),
}

/// A disk, and all that was done to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    pub(super) before: Disk,
    pub(super) now: Disk,
    pub(super) ops: Vec<Op>,
}

impl Recorder {
    pub(super) fn new(disk: Disk) -> Self {
        Self { before: disk.clone(), now: disk, ops: Vec::new() }
    }

    /// The disk after a cut of power behind the first `done` operations. `chance` says of each
    /// thing that was not synced, and of each sector of it, whether it is there.
    pub(super) fn cut(&self, done: usize, mut chance: impl FnMut() -> bool) -> Disk {
        let mut disk = self.before.clone();
        let mut pending: Vec<Op> = Vec::new();
        for op in &self.ops[..done] {
            match op {
                Op::Sync(place) => flush(&mut disk, &mut pending, |op| op.is_of(place)),
                Op::SyncFolder(folder) => flush(&mut disk, &mut pending, |op| op.is_in(folder)),
                Op::Ids(..) => disk.apply(op),
                other => pending.push(other.clone()),
            }
        }
        for op in pending {
            match op {
                Op::Write(place, at, bytes) => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if chance() {
                            let at = at + (number * SECTOR) as u64;
                            disk.apply(&Op::Write(place.clone(), at, sector.to_vec()));
                        }
                    }
                }
                name if chance() => disk.apply(&name),
                _ => {}
            }
        }
        disk
    }

    fn act(&mut self, op: Op) -> io::Result<()> {
        self.now.apply(&op);
        self.ops.push(op);
        Ok(())
    }
}

/// Moves what `is_meant` from memory to the disk, in order.
fn flush(disk: &mut Disk, pending: &mut Vec<Op>, is_meant: impl Fn(&Op) -> bool) {
    pending.retain(|op| {
        let meant = is_meant(op);
        if meant {
            disk.apply(op);
        }
        !meant
    });
}

impl Op {
    /// Whether syncing `place` brings this to the disk: content, and that there is such a file.
    fn is_of(&self, place: &Place) -> bool {
        match self {
            Self::Write(of, ..) => of == place,
            Self::Create(file) => Place::File(file.clone()) == *place,
            _ => false,
        }
    }

    /// Whether syncing `folder` brings this to the disk: names.
    fn is_in(&self, folder: &str) -> bool {
        let (Self::Create(file) | Self::Rename(file, _) | Self::Remove(file)) = self else {
            return false;
        };
        file.rsplit_once('/').is_some_and(|(above, _)| above == folder)
    }
}

impl Disk {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(place, at, bytes) => self.write(place, usize::try_from(*at).unwrap(), bytes),
            Op::Create(file) => drop(self.places.insert(Place::File(file.clone()), Vec::new())),
            Op::Rename(from, to) => {
                if let Some(content) = self.places.remove(&Place::File(from.clone())) {
                    self.places.insert(Place::File(to.clone()), content);
                }
            }
            Op::Remove(file) => drop(self.places.remove(&Place::File(file.clone()))),
            Op::Ids(slot, ids) => drop(self.ids.insert(*slot, *ids)),
            Op::Sync(_) | Op::SyncFolder(_) => {}
        }
    }

    /// A file that has not come to the disk takes no content; a partition does not grow.
    fn write(&mut self, place: &Place, at: usize, bytes: &[u8]) {
        let Some(content) = self.places.get_mut(place) else { return };
        if matches!(place, Place::File(_)) && content.len() < at + bytes.len() {
            content.resize(at + bytes.len(), 0);
        }
        content[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Medium for Recorder {
    fn length(&self, place: &Place) -> io::Result<Option<u64>> {
        Ok(self.now.places.get(place).map(|content| content.len() as u64))
    }

    fn list(&self, folder: &str) -> io::Result<Option<Vec<String>>> {
        let names = self.now.places.keys().filter_map(|place| match place {
            Place::File(path) => path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned),
            _ => None,
        });
        Ok(Some(names.collect::<Vec<_>>()).filter(|names| !names.is_empty()))
    }

    fn read_at(&self, place: &Place, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        let content = self.now.places.get(place).ok_or(io::ErrorKind::NotFound)?;
        let found = content.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&mut self, place: &Place, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.act(Op::Write(place.clone(), at, bytes.to_vec()))
    }

    fn sync(&mut self, place: &Place) -> io::Result<()> {
        self.act(Op::Sync(place.clone()))
    }

    fn create(&mut self, file: &str) -> io::Result<()> {
        assert!(file.starts_with(FOLDER) || file.starts_with(ENTRIES));
        self.act(Op::Create(file.to_owned()))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.act(Op::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.act(Op::Remove(file.to_owned()))
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        self.act(Op::SyncFolder(folder.to_owned()))
    }

    fn set_ids(&mut self, slot: Slot, ids: PartitionIds) -> io::Result<()> {
        let mut both = [0; 32];
        both[..16].copy_from_slice(ids.root.as_bytes());
        both[16..].copy_from_slice(ids.verity.as_bytes());
        self.act(Op::Ids(slot, both))
    }

    fn free(&self) -> io::Result<u64> {
        Ok(1 << 20)
    }
}
