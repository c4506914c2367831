//! A folder in the making, hidden beside the versions it will stand among, so that it can be renamed into place.
//!
//! A draft is locked (flock(2) on the folder) as long as its builder lives. What a builder that was killed left
//! behind has no lock any more, and the next draft removes it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::Error;

/// How the names of drafts, and of results put aside, begin.
const PREFIX: &str = ".draft-";

/// A result folder that nobody sees yet. Dropping it removes it with all it holds.
#[derive(Debug)]
pub struct Draft {
    folder: TempDir,
    _lock: File,
}

impl Draft {
    /// An empty draft of a result of `recipe`, in `images/RECIPE/`, which is made if need be.
    ///
    /// # Errors
    /// A name that cannot name a folder, or a folder that cannot be made.
    pub fn begin(images: &Path, recipe: &str) -> Result<Self, Error> {
        plain("recipe", recipe)?;
        let shelf = images.join(recipe);
        let failed = |source| Error::Write { path: shelf.clone(), source };
        fs::create_dir_all(&shelf).map_err(failed)?;
        sweep(&shelf);
        locked(&shelf).map_err(failed)
    }

    /// Where the build lays its artefacts and reports. Plain files and folders only.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the recipe's results.
    pub(crate) fn shelf(&self) -> &Path {
        self.path().parent().unwrap_or(Path::new("."))
    }
}

/// Checks that `name` is one visible component of a path.
pub(crate) fn plain(kind: &'static str, name: &str) -> Result<(), Error> {
    let odd = name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']);
    if odd { Err(Error::Name { kind, name: name.to_owned() }) } else { Ok(()) }
}

fn locked(shelf: &Path) -> io::Result<Draft> {
    loop {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(shelf)?;
        let lock = File::open(folder.path())?;
        // Where a file system has no locks, nothing is swept either.
        let _ = flock(&lock, FlockOperation::LockExclusive);
        // Between making and locking it, another builder's sweep may have taken it for a leftover.
        if folder.path().exists() {
            return Ok(Draft { folder, _lock: lock });
        }
    }
}

/// Removes drafts that no builder holds. What cannot be removed stays: it is in nobody's way.
fn sweep(shelf: &Path) {
    for path in drafts(shelf) {
        let Ok(lock) = File::open(&path) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn drafts(shelf: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(shelf).into_iter().flatten().flatten();
    let hidden = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    hidden.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_hidden_and_goes_when_dropped() {
        let images = tempfile::tempdir().unwrap();
        let draft = Draft::begin(images.path(), "node").unwrap();
        fs::write(draft.path().join("node.qcow2"), "").unwrap();
        assert_eq!(drafts(&images.path().join("node")), [draft.path()]);
        drop(draft);
        assert!(drafts(&images.path().join("node")).is_empty());
    }

    #[test]
    fn leftovers_go_and_drafts_in_use_stay() {
        let images = tempfile::tempdir().unwrap();
        let left = images.path().join("node/.draft-left");
        fs::create_dir_all(left.join("deep")).unwrap();
        let one = Draft::begin(images.path(), "node").unwrap();
        assert!(!left.exists());
        let two = Draft::begin(images.path(), "node").unwrap();
        assert!(one.path().exists() && two.path().exists());
    }

    #[test]
    fn only_plain_names_name_folders() {
        for bad in ["", ".", "..", ".hidden", "a/b", "/a", "a\0"] {
            let error = Draft::begin(Path::new("/nonexistent"), bad).unwrap_err();
            assert!(matches!(error, Error::Name { kind: "recipe", .. }), "{bad:?}");
        }
    }
}
