//! Locks that are files, held by flock(2) and gone with their holder.
//!
//! Who gets a lock holds the file that has its name: one who waited on a file that was removed meanwhile
//! begins anew. A killed holder leaves the file, which is nobody's then.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

/// A lock that is held. Its file is removed first and unlocked then.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for the lock of this name.
    pub(crate) fn wait(path: &Path) -> Result<Self> {
        let lock = Self::take(path, FlockOperation::LockExclusive)?;
        lock.with_context(|| format!("{} stays locked", path.display()))
    }

    /// The lock of this name; none if somebody else has it.
    pub(crate) fn attempt(path: &Path) -> Result<Option<Self>> {
        Self::take(path, FlockOperation::NonBlockingLockExclusive)
    }

    fn take(path: &Path, how: FlockOperation) -> Result<Option<Self>> {
        loop {
            let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
            match rustix::io::retry_on_intr(|| flock(&file, how)) {
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                result => result.with_context(|| format!("locking {}", path.display()))?,
            }
            if is_at(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Holds a file that is there together with others who do, until it is dropped. None where there is none, or none can be
/// held. Who means to remove it must hold it alone, and lets go only when it has lost its name.
pub(crate) fn share(path: &Path) -> Option<File> {
    loop {
        let file = File::open(path).ok()?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared)).ok()?;
        if is_at(&file, path).ok()? {
            return Some(file);
        }
    }
}

/// Whether the name is still this file's.
pub(crate) fn is_at(file: &File, path: &Path) -> Result<bool> {
    let ours = file.metadata().with_context(|| format!("reading {}", path.display()))?;
    let there = fs::metadata(path).ok();
    Ok(there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_a_lock_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let held = Lock::attempt(&path).unwrap().unwrap();
        assert!(Lock::attempt(&path).unwrap().is_none());
        drop(held);
        assert!(!path.exists());
        drop(Lock::wait(&path).unwrap());
    }
}
