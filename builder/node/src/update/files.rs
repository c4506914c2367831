//! The disk as files: partitions by their device nodes, the ESP by the folder it is mounted on.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
};

use coremax_node_api::slot::Slot;
use rustix::fs::{Advice, OFlags};

use super::{Medium, PartitionIds, Place};

/// Writes a disk's partition table.
///
/// Who implements this promises that after a cut of power either both ids are the old ones or both
/// are the new ones, in whichever copy of the table early boot then believes.
pub(crate) trait SetPartitionIds {
    /// Gives the partitions of `slot` their ids; they are on the disk when this returns.
    fn set_ids(&mut self, slot: Slot, ids: PartitionIds) -> io::Result<()>;
}

/// A node's disk.
pub(crate) struct Files<I> {
    /// A folder with `root-a`, `verity-a`, `root-b` and `verity-b`: partitions, or links to them.
    pub(crate) partitions: PathBuf,
    /// Where the ESP is mounted.
    pub(crate) esp: PathBuf,
    /// The partition table.
    pub(crate) table: I,
    /// What is being written, kept open from one write to the next.
    pub(crate) open: Option<(Place, File)>,
}

impl<I> Files<I> {
    pub(crate) fn new(partitions: PathBuf, esp: PathBuf, table: I) -> Self {
        Self { partitions, esp, table, open: None }
    }

    fn path(&self, place: &Place) -> PathBuf {
        match place {
            Place::Root(slot) => self.partitions.join(format!("root-{slot}")),
            Place::Verity(slot) => self.partitions.join(format!("verity-{slot}")),
            Place::File(path) => self.esp.join(path),
        }
    }

    /// A partition is opened for itself alone: what is mounted, or under dm-verity, is refused.
    fn writable(&mut self, place: &Place) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != place) {
            let flags = match place {
                Place::File(_) => OFlags::empty(),
                _ => OFlags::EXCL,
            };
            let path = self.path(place);
            let file = OpenOptions::new()
                .write(true)
                .custom_flags(flags.bits().cast_signed())
                .open(path)?;
            self.open = Some((place.clone(), file));
        }
        let open = self.open.as_ref().map(|(_, file)| file);
        open.ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl<I: SetPartitionIds> Medium for Files<I> {
    fn length(&self, place: &Place) -> io::Result<Option<u64>> {
        match File::open(self.path(place)) {
            // A block device has no length but where it ends.
            Ok(mut file) => file.seek(SeekFrom::End(0)).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &str) -> io::Result<Option<Vec<String>>> {
        let entries = match fs::read_dir(self.esp.join(folder)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        entries.map(name).collect::<io::Result<_>>().map(Some)
    }

    fn read_at(&self, place: &Place, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        File::open(self.path(place))?.read_exact_at(buffer, at)
    }

    fn write_at(&mut self, place: &Place, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.writable(place)?.write_all_at(bytes, at)
    }

    fn sync(&mut self, place: &Place) -> io::Result<()> {
        let file = self.writable(place)?;
        file.sync_all()?;
        // What is read back is to come from the disk and not from memory.
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?;
        Ok(())
    }

    fn create(&mut self, file: &str) -> io::Result<()> {
        self.open = None;
        let path = self.esp.join(file);
        fs::create_dir_all(path.parent().unwrap_or(&self.esp))?;
        File::create(path).map(drop)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.open = None;
        fs::rename(self.esp.join(from), self.esp.join(to))
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.open = None;
        match fs::remove_file(self.esp.join(file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        match File::open(self.esp.join(folder)) {
            Ok(file) => file.sync_all(),
            // Nothing was ever in it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn set_ids(&mut self, slot: Slot, ids: PartitionIds) -> io::Result<()> {
        self.open = None;
        self.table.set_ids(slot, ids)
    }

    fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.esp)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}
