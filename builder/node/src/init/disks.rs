//! The machine's disks: looked at as they appear, and their partitions' device nodes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use coremax_sandbox::block::{self, Extent};

use super::choose::Disk;
use crate::gpt::{Partition, device};

/// Block devices that are no disk a root could be on; reading a floppy takes a minute.
const NO_DISKS: [&str; 7] = ["loop", "ram", "zram", "dm-", "fd", "md", "nbd"];
/// The unit in which /sys says sizes, whatever the disk's own sectors.
const UNIT: u64 = 512;

/// All disks by name.
#[derive(Debug, Default)]
pub(crate) struct Disks(BTreeMap<String, Disk>);

impl Disks {
    /// Looks at every disk that is there.
    pub(crate) fn scan(&mut self) {
        self.0.clear();
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            self.look(&entry.file_name().to_string_lossy());
        }
    }

    /// Looks at the disks that could not be read, or were not there, and leaves the others in peace.
    pub(crate) fn look_again(&mut self) {
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.is_unread(&name) {
                self.look(&name);
            }
        }
    }

    fn is_unread(&self, name: &str) -> bool {
        self.0.get(name).is_none_or(|disk| disk.table.is_err())
    }

    /// Looks at one disk, which may have come, changed or gone.
    pub(crate) fn look(&mut self, name: &str) {
        self.0.remove(name);
        if NO_DISKS.iter().any(|prefix| name.starts_with(prefix)) {
            return;
        }
        let size = number(&sys(name), "size").unwrap_or(0).saturating_mul(UNIT);
        if size > 0 {
            let removable = number(&sys(name), "removable") == Some(1);
            let table =
                device::read(name).map(|(table, _)| table).map_err(|error| format!("{error:#}"));
            self.0.insert(name.to_owned(), Disk { name: name.to_owned(), size, removable, table });
        }
    }

    /// All disks, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Disk> + Clone {
        self.0.values()
    }
}

/// The device of a partition; where the kernel did not find it, because the primary table is torn,
/// it is told.
pub(crate) fn node(disk: &str, partition: &Partition) -> Result<PathBuf> {
    if let Some(node) = existing(disk, partition)? {
        return Ok(node);
    }
    let whole = Path::new("/dev").join(disk);
    let file = File::open(&whole).with_context(|| format!("opening {}", whole.display()))?;
    let Partition { number, start, length, .. } = *partition;
    let told = block::add_partition(&file, disk, Extent { number, start, length });
    match existing(disk, partition)? {
        Some(node) => Ok(node),
        None => told
            .map_err(anyhow::Error::from)
            .and_then(|()| bail!("partition {number} of {disk} has no device")),
    }
}

fn existing(disk: &str, partition: &Partition) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(sys(disk)).with_context(|| format!("listing partitions of {disk}"))? {
        let entry = entry.context("listing partitions")?;
        if number(&entry.path(), "partition") != Some(u64::from(partition.number)) {
            continue;
        }
        if number(&entry.path(), "start") != Some(partition.start / UNIT) {
            bail!("the kernel sees partition {} of {disk} elsewhere", partition.number);
        }
        return Ok(Some(Path::new("/dev").join(entry.file_name())));
    }
    Ok(None)
}

fn sys(disk: &str) -> PathBuf {
    Path::new("/sys/block").join(disk)
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::tests::{disk as table, read as read_table};

    #[test]
    fn only_what_could_not_be_read_is_looked_at_again() {
        let unread = Err("no GPT: I/O error".to_owned());
        let read = read_table(&table(4096, &[])).map_err(|error| error.to_string());
        let disks = [("sda", read), ("sdb", unread)].map(|(name, table)| {
            let name = name.to_owned();
            (name.clone(), Disk { name, size: 1, removable: false, table })
        });
        let disks = Disks(disks.into());
        assert_eq!(["sda", "sdb", "sdc"].map(|name| disks.is_unread(name)), [false, true, true]);
    }
}
