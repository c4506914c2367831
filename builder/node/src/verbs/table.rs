//! The partition table of the disk that was booted from.

use std::{fs::OpenOptions, io, path::Path};

use anyhow::Result;
use coremax_node_api::slot::Slot;

use crate::{
    gpt::device,
    update::{PartitionIds, SetPartitionIds},
};

/// That disk; none where early boot has not said which it is.
pub(super) struct Table(pub(super) Option<String>);

impl Table {
    /// The disk that early boot found the root on.
    pub(super) fn of_this_disk() -> Result<Self> {
        Ok(Self(Some(super::state()?.disk)))
    }
}

impl SetPartitionIds for Table {
    /// The kernel keeps no ids, and udev reads the table again when it is closed: the links in
    /// /dev/disk/by-partuuid follow by themselves.
    fn set_ids(&mut self, slot: Slot, ids: PartitionIds) -> io::Result<()> {
        let disk = self.0.as_deref().ok_or(io::ErrorKind::Unsupported)?;
        let (table, size) = device::read(disk).map_err(io::Error::other)?;
        let (root, verity) = (format!("root-{slot}"), format!("root-{slot}-verity"));
        let ids = [(&*root, ids.root), (&*verity, ids.verity)];
        let missing = || io::Error::other(format!("{disk} has no partitions {root} and {verity}"));
        let table = table.with_ids(&ids).ok_or_else(missing)?;
        let path = Path::new("/dev").join(disk);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        device::write(&file, &table, size)
    }
}
