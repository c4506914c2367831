//! The store: what steps made, by fingerprint.
//!
//! ```text
//! store/<fingerprint>/out/        what the step made: files and trees
//! store/<fingerprint>/step.json   which step, when, how long
//! store/<fingerprint>.lock        held by whoever makes the entry
//! store/making/<fingerprint>/     an entry in the making, renamed when it is whole
//! store/in-use.lock               held, shared, by every process that has the store open
//! ```
//!
//! An entry appears at once and whole, or not at all. Of two builds that want the same entry one
//! makes it and the other waits. What a killed build left in `making` is thrown away by the next
//! one that needs that entry, or by [`Store::sweep`].

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use coremax_fetch::Digest;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Held by those who use the store, against its being cleared.
const IN_USE: &str = "in-use.lock";

/// The folder of entries.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    /// None where the store is read-only, and cannot be cleared either.
    in_use: Arc<Option<File>>,
}

/// One whole entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where the step's output lies.
    pub out: PathBuf,
    /// How it came about.
    pub record: Record,
}

/// How an entry came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The step's name.
    pub step: String,
    /// What came of it, in a few words.
    pub summary: String,
    /// Wall-clock seconds it took.
    pub seconds: f64,
    /// CPU seconds of its programs and threads, as far as they can be told apart.
    pub cpu_seconds: f64,
}

/// The right to make one entry, and the folder to make it in. Dropped unfinished, the folder stays
/// for the next maker to throw away.
pub struct Making {
    store: Store,
    fingerprint: Digest,
    _lock: File,
}

/// What [`Store::begin`] found.
pub enum Begun {
    /// Somebody made it meanwhile.
    Stored(Entry),
    /// It is ours to make.
    Ours(Making),
}

impl Store {
    /// The store in `folder`, which is made if it is missing. Waits for whoever is clearing it.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        let making = folder.join("making");
        fs::create_dir_all(&making)
            .with_context(|| format!("making the step store {}", folder.display()))?;
        let in_use = File::create(folder.join(IN_USE)).ok();
        if let Some(lock) = &in_use {
            flock(lock, FlockOperation::LockShared).context("locking the step store")?;
        }
        Ok(Self { folder: folder.to_owned(), in_use: Arc::new(in_use) })
    }

    /// The entry, if it is there and whole.
    pub fn get(&self, fingerprint: &Digest) -> Option<Entry> {
        let folder = self.folder.join(fingerprint.to_string());
        let record = fs::read(folder.join("step.json")).ok()?;
        Some(Entry { out: folder.join("out"), record: serde_json::from_slice(&record).ok()? })
    }

    /// Waits for whoever is making the entry, then returns it or the right to make it.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn begin(&self, fingerprint: &Digest) -> Result<Begun> {
        let lock = self.lock(fingerprint)?;
        if let Some(entry) = self.get(fingerprint) {
            return Ok(Begun::Stored(entry));
        }
        let making = Making { store: self.clone(), fingerprint: *fingerprint, _lock: lock };
        remove(&making.folder())?;
        remove(&self.folder.join(fingerprint.to_string()))?;
        fs::create_dir_all(making.out())
            .with_context(|| format!("making {}", making.out().display()))?;
        Ok(Begun::Ours(making))
    }

    /// Throws away what killed builds left half made. What cannot be removed stays: a read-only store
    /// serves what it has.
    pub fn sweep(&self) {
        let making = self.folder.join("making");
        for entry in fs::read_dir(&making).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(fingerprint) = name.parse() else { continue };
            let Ok(lock) = self.lock_file(&fingerprint) else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = remove(&entry.path());
            }
        }
    }

    /// Removes all entries, unless another process uses the store: then it is false, and all stay, since
    /// a running build reads finished entries too.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub fn clear(&self) -> Result<bool> {
        if let Some(lock) = &*self.in_use
            && flock(lock, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            return Ok(false);
        }
        for entry in fs::read_dir(&self.folder).context("reading the step store")?.flatten() {
            if entry.file_name() != IN_USE {
                remove(&entry.path())?;
            }
        }
        Ok(true)
    }

    fn lock(&self, fingerprint: &Digest) -> Result<File> {
        let lock = self.lock_file(fingerprint)?;
        flock(&lock, FlockOperation::LockExclusive)
            .context("locking an entry of the step store")?;
        Ok(lock)
    }

    fn lock_file(&self, fingerprint: &Digest) -> Result<File> {
        let path = self.folder.join(format!("{fingerprint}.lock"));
        File::create(&path).with_context(|| format!("making {}", path.display()))
    }
}

impl Making {
    /// Where the step puts its output.
    pub fn out(&self) -> PathBuf {
        self.folder().join("out")
    }

    fn folder(&self) -> PathBuf {
        self.store.folder.join("making").join(self.fingerprint.to_string())
    }

    /// Makes the entry appear.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(self, record: Record) -> Result<Entry> {
        let folder = self.folder();
        let json = serde_json::to_vec_pretty(&record)?;
        fs::write(folder.join("step.json"), json).context("writing a step's record")?;
        let whole = self.store.folder.join(self.fingerprint.to_string());
        fs::rename(&folder, &whole)
            .with_context(|| format!("moving a finished step to {}", whole.display()))?;
        Ok(Entry { out: whole.join("out"), record })
    }
}

/// Removes a file or folder; one that is not there is fine.
///
/// # Errors
/// Where it is there and stays.
pub fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("removing {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record { step: "s".into(), summary: "done".into(), seconds: 1.0, cpu_seconds: 1.5 }
    }

    fn ours(store: &Store, fingerprint: &Digest) -> Making {
        match store.begin(fingerprint).unwrap() {
            Begun::Ours(making) => making,
            Begun::Stored(_) => panic!("it is stored already"),
        }
    }

    #[test]
    fn an_entry_is_whole_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let fingerprint = Digest::of("x");
        let making = ours(&store, &fingerprint);
        fs::write(making.out().join("half"), "").unwrap();
        assert!(store.get(&fingerprint).is_none());
        drop(making);

        let making = ours(&store, &fingerprint);
        assert!(!making.out().join("half").exists(), "a killed step's output was kept");
        fs::write(making.out().join("whole"), "").unwrap();
        making.finish(record()).unwrap();
        let entry = store.get(&fingerprint).unwrap();
        assert!(entry.out.join("whole").exists());
        assert_eq!(entry.record, record());
        assert!(matches!(store.begin(&fingerprint).unwrap(), Begun::Stored(_)));
    }

    #[test]
    fn a_truncated_record_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let fingerprint = Digest::of("x");
        ours(&store, &fingerprint).finish(record()).unwrap();
        fs::write(folder.path().join(fingerprint.to_string()).join("step.json"), "{").unwrap();
        assert!(store.get(&fingerprint).is_none());
        ours(&store, &fingerprint).finish(record()).unwrap();
        assert!(store.get(&fingerprint).is_some());
    }

    #[test]
    fn sweeping_spares_what_is_being_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        drop(ours(&store, &Digest::of("left")));
        let making = ours(&store, &Digest::of("busy"));
        store.sweep();
        assert!(making.out().exists());
        assert_eq!(fs::read_dir(folder.path().join("making")).unwrap().count(), 1);
    }

    #[test]
    fn a_store_in_use_is_not_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (Store::open(folder.path()), Store::open(folder.path()));
        let (store, other) = (store.unwrap(), other.unwrap());
        let fingerprint = Digest::of("x");
        ours(&store, &fingerprint).finish(record()).unwrap();
        assert!(!store.clear().unwrap());
        assert!(store.get(&fingerprint).is_some());
        drop(other);
        assert!(store.clear().unwrap());
        assert!(store.get(&fingerprint).is_none());
    }
}
