//! One verb at a time changes the slots.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};

use crate::lock;

/// Gone with the boot, and with the program that holds it.
const LOCK: &str = "/run/coremax/slots.lock";

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
        let file = lock::wait(Path::new(LOCK)).with_context(|| format!("locking {LOCK}"))?;
        Ok(Self { _file: file })
    }

    fn at(path: &Path, what: &str) -> Result<Self> {
        let held = lock::now(path).with_context(|| format!("locking {}", path.display()))?;
        let others = || format!("{what} has to wait: another update or rollback is at work");
        Ok(Self { _file: held.with_context(others)? })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

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
