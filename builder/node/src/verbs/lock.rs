//! One verb at a time changes the slots.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Gone with the boot, and with the program that holds it.
const LOCK: &str = "/run/coremax/slots.lock";
/// Root's alone: whoever can open the file can lock it, and so hold up every update.
const MODE: u32 = 0o600;

/// Held by the verb that changes the slots.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// For `what`, now or not at all.
    ///
    /// # Errors
    /// Another holds it.
    pub(super) fn take(what: &str) -> Result<Self> {
        Self::at(Path::new(LOCK), what)
    }

    /// As soon as nobody else holds it.
    pub(super) fn wait() -> Result<Self> {
        let file = open(Path::new(LOCK))?;
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("locking {LOCK}"))?;
        Ok(Self { _file: file })
    }

    fn at(path: &Path, what: &str) -> Result<Self> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => {
                bail!("{what} has to wait: another update or rollback is at work")
            }
            Err(error) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let folder = path.parent().unwrap_or(path);
    let open = || {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(MODE).open(path)?;
        file.set_permissions(Permissions::from_mode(MODE))?; // one that was there before
        Ok::<_, std::io::Error>(file)
    };
    open().with_context(|| format!("opening {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/lock");
        let first = Lock::at(&path, "an update").unwrap();
        let error = Lock::at(&path, "a rollback").unwrap_err();
        assert!(error.to_string().starts_with("a rollback has to wait: another"), "{error}");
        drop(first);
        Lock::at(&path, "an update").unwrap();
    }

    #[test]
    fn only_its_owner_can_lock_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        for before in [None, Some(0o644)] {
            if let Some(mode) = before {
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
            drop(Lock::at(&path, "an update").unwrap());
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "before it was {before:?}");
        }
    }
}
