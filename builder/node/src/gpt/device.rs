//! The table of a real disk: read by the kernel's name of it, written in an order that can be cut.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result};

use super::{Table, Write};

/// The unit in which /sys says sizes, whatever the disk's own sectors.
const UNIT: u64 = 512;

/// The table of the disk with this name in /dev, and the disk's size in bytes.
pub(crate) fn read(name: &str) -> Result<(Table, u64)> {
    let size = number(name, "size").unwrap_or(0).saturating_mul(UNIT);
    let file = File::open(Path::new("/dev").join(name)).context("the disk cannot be opened")?;
    let sector = number(name, "queue/logical_block_size").unwrap_or(UNIT);
    let read = |offset, length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).map(|()| bytes)
    };
    Ok((Table::read(size, sector, read)?, size))
}

/// Writes both copies of a table to its disk of `size` bytes. Each part is on the disk before the
/// next is written: the copy that a reader believes is always a whole one.
pub(crate) fn write(file: &File, table: &Table, size: u64) -> io::Result<()> {
    let mut mbr = vec![0; 512];
    file.read_exact_at(&mut mbr, 0)?;
    for Write { offset, bytes } in table.writes().into_iter().chain(table.protective(&mbr, size)) {
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
    }
    Ok(())
}

fn number(disk: &str, file: &str) -> Option<u64> {
    let path = Path::new("/sys/block").join(disk).join(file);
    fs::read_to_string(path).ok()?.trim_end().parse().ok()
}
