//! Growing the data partition on the disk: what [`crate::gpt`] decided, written.

use std::{fs::OpenOptions, path::Path};

use anyhow::{Context, Result};
use coremax_sandbox::block::{self, Extent};

use super::choose::Disk;
use crate::gpt::{Partition, Table, device};

/// Gives the partition the rest of its disk and mends a torn table; its new length where it grew.
pub(crate) fn partition(disk: &Disk, partition: &Partition) -> Result<Option<u64>> {
    let Ok(table) = &disk.table else { return Ok(None) };
    let grown = table.grown(disk.size, &partition.name);
    let Some(new) = grown.as_ref().or(table.is_from_backup().then_some(table)) else {
        return Ok(None);
    };
    let path = Path::new("/dev").join(&disk.name);
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    device::write(&file, new, disk.size)
        .with_context(|| format!("writing the table of {}", disk.name))?;
    let length = length(new, partition.number).filter(|&length| length != partition.length);
    if let Some(length) = length {
        let extent = Extent { number: partition.number, start: partition.start, length };
        block::resize_partition(&file, &disk.name, extent)?;
    }
    Ok(length)
}

fn length(table: &Table, number: u32) -> Option<u64> {
    let partition = table.partitions().iter().find(|partition| partition.number == number)?;
    Some(partition.length)
}
