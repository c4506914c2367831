//! Files that one program at a time holds: for as long as it has them open.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::durable::folders;

/// Root's alone: whoever can open the file can lock it, and so hold up who needs it.
const MODE: u32 = 0o600;

/// The file, held; nothing where somebody else holds it.
pub(crate) fn now(path: &Path) -> io::Result<Option<File>> {
    let file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The same, as soon as nobody else holds it.
pub(crate) fn wait(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn open(path: &Path) -> io::Result<File> {
    folders(path.parent().unwrap_or(path), 0o755)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?; // one that was there before
    Ok(file)
}
