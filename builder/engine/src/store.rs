//! The store: what steps made, by fingerprint.
//!
//! ```text
//! store/<fingerprint>/out/        what the step made: files and trees
//! store/<fingerprint>/step.json   which step, how long, how much; its time says when the entry was used last,
//!                                 and it is locked, shared, by whoever uses the entry; see `alias` for another kind
//! store/<fingerprint>.lock        held by whoever makes the entry, and removed by its holder
//! store/making/<fingerprint>/     an entry in the making, renamed when it is whole
//! store/going/<fingerprint>-N/    an entry that is being removed
//! store/in-use.lock               held, shared, by every process that has the store open
//! ```
//!
//! An entry appears at once and whole, or not at all, and goes so. Of two builds that want the same entry one
//! makes it and the other waits. What a killed build left in `making`, and its locks, are thrown away by the
//! next one that needs that entry, or by [`Store::sweep`].

mod alias;
mod collect;
mod contents;
mod stamp;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use coremax_fetch::Digest;
use rustix::fs::{FlockOperation, flock, syncfs};
use serde::{Deserialize, Serialize};

use crate::lock::{self, Lock};

pub use collect::Collected;
use contents::Contents;
use stamp::Clock;

/// Held by those who use the store, against downloads and indexes being cleared.
const IN_USE: &str = "in-use.lock";
/// What the name of an entry's lock ends in.
const LOCK: &str = ".lock";
/// An entry's record.
const RECORD: &str = "step.json";

/// The folder of entries.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    /// None where the store is read-only, and cannot be cleared either.
    in_use: Arc<Option<File>>,
    clock: Arc<Clock>,
}

/// One whole entry. Nobody removes it while this, or a clone, is there.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where the step's output lies.
    pub out: PathBuf,
    /// How it came about.
    pub record: Record,
    /// Whether it was there before this build.
    pub stored: bool,
    /// The one that it was made under.
    fingerprint: Digest,
    contents: Contents,
    used: Arc<File>,
    /// The alias by which it was found, held like itself.
    _alias: Option<Arc<File>>,
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
    /// CPU seconds of its programs and threads; what ran beside it has an even share in them.
    pub cpu_seconds: f64,
}

/// What stands in an entry's `step.json`.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    record: Record,
    contents: Contents,
}

/// The right to make one entry, and the folder to make it in. Dropped unfinished, the folder stays
/// for the next maker to throw away.
pub struct Making {
    store: Store,
    fingerprint: Digest,
    _lock: Lock,
}

/// What [`Store::begin`] found.
pub enum Begun {
    /// Somebody made it meanwhile.
    Stored(Entry),
    /// It is ours to make.
    Ours(Making),
}

impl Store {
    /// The store in `folder`, which is made if it is missing. Waits for whoever is clearing the cache.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        for made in ["making", "going"] {
            fs::create_dir_all(folder.join(made))
                .with_context(|| format!("making the step store {}", folder.display()))?;
        }
        let in_use = File::create(folder.join(IN_USE)).ok();
        if let Some(lock) = &in_use {
            flock(lock, FlockOperation::LockShared).context("locking the step store")?;
        }
        let clock = Arc::new(Clock::of(folder));
        Ok(Self { folder: folder.to_owned(), in_use: Arc::new(in_use), clock })
    }

    /// The entry, if it is there with its record. This counts as a use of it.
    pub fn get(&self, fingerprint: &Digest) -> Option<Entry> {
        self.entry_of(fingerprint).or_else(|| self.follow(fingerprint))
    }

    /// The entry that was made under this fingerprint.
    fn entry_of(&self, fingerprint: &Digest) -> Option<Entry> {
        let folder = self.entry(fingerprint);
        let used = lock::share(&folder.join(RECORD))?;
        let Kept { record, contents } = serde_json::from_reader(io::BufReader::new(&used)).ok()?;
        self.clock.stamp(&used);
        let (out, fingerprint, used) = (folder.join("out"), *fingerprint, Arc::new(used));
        Some(Entry { out, record, stored: true, fingerprint, contents, used, _alias: None })
    }

    /// Waits for whoever is making the entry, then returns it or the right to make it.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn begin(&self, fingerprint: &Digest) -> Result<Begun> {
        let lock = Lock::wait(&self.lock(fingerprint))?;
        if let Some(entry) = self.get(fingerprint) {
            return Ok(Begun::Stored(entry));
        }
        let making = Making { store: self.clone(), fingerprint: *fingerprint, _lock: lock };
        remove(&making.folder())?;
        self.remove_entry(fingerprint)?;
        fs::create_dir_all(making.out())
            .with_context(|| format!("making {}", making.out().display()))?;
        Ok(Begun::Ours(making))
    }

    /// Throws away what killed builds left half made or half removed. What cannot be removed stays: a
    /// read-only store serves what it has.
    pub fn sweep(&self) {
        let making = self.folder.join("making");
        let names = [&self.folder, &making].into_iter().flat_map(|folder| names_in(folder));
        let left = names.filter(|name| name.ends_with(LOCK) || making.join(name).exists());
        for fingerprint in left.filter_map(|name| name.trim_end_matches(LOCK).parse().ok()) {
            if let Ok(Some(_lock)) = Lock::attempt(&self.lock(&fingerprint)) {
                let _ = remove(&making.join(fingerprint.to_string()));
            }
        }
        let going = self.folder.join("going");
        for name in names_in(&going) {
            let _ = remove(&going.join(name));
        }
    }

    /// An entry's folder.
    fn entry(&self, fingerprint: &Digest) -> PathBuf {
        self.folder.join(fingerprint.to_string())
    }

    /// The path of an entry's lock.
    fn lock(&self, fingerprint: &Digest) -> PathBuf {
        self.folder.join(format!("{fingerprint}{LOCK}"))
    }
}

impl Entry {
    /// Whether all is there that the step made: every name, kind, mode, size and time, for little more than a look at
    /// each. Bytes are not read.
    pub fn is_whole(&self) -> bool {
        match Contents::of(&self.out) {
            Ok(found) => found.is_like(&self.contents),
            // What cannot be looked at is not known to be damaged: whoever reads it will hear why.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// The names in a folder; none if it cannot be read.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
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
        let contents = Contents::of(&self.out()).context("measuring what a step made")?;
        let kept = Kept { record, contents };
        let (out, fingerprint) =
            (self.store.entry(&self.fingerprint).join("out"), self.fingerprint);
        let (used, Kept { record, contents }) = (Arc::new(self.appear(&kept)?), kept);
        Ok(Entry { out, record, stored: false, fingerprint, contents, used, _alias: None })
    }

    /// Makes it appear with this for a record, which is returned, held.
    fn appear(self, record: &impl Serialize) -> Result<File> {
        let folder = self.folder();
        fs::write(folder.join(RECORD), serde_json::to_vec_pretty(record)?)
            .context("writing a step's record")?;
        // What is there counts as whole for ever, and so it must be, after a power cut too.
        let synced = File::open(&folder).and_then(|at| Ok(syncfs(at)?));
        synced.context("bringing a finished step to the disk")?;
        // In use from the moment that it can be seen.
        let used = lock::share(&folder.join(RECORD)).context("locking a step's record")?;
        self.store.clock.stamp(&used);
        let whole = self.store.entry(&self.fingerprint);
        fs::rename(&folder, &whole)
            .with_context(|| format!("moving a finished step to {}", whole.display()))?;
        Ok(used)
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
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    /// The locks of entries.
    fn locks(store: &Store) -> Vec<String> {
        names_in(&store.folder)
            .into_iter()
            .filter(|name| name.ends_with(LOCK) && name != IN_USE)
            .collect()
    }

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
        // As a killed build leaves them: an entry in the making, a lock that nobody holds.
        let left = Digest::of("left").to_string();
        fs::create_dir_all(folder.path().join("making").join(&left)).unwrap();
        fs::write(folder.path().join(left + LOCK), "").unwrap();
        store.sweep();
        assert!(making.out().exists());
        assert_eq!(names_in(&folder.path().join("making")), [Digest::of("busy").to_string()]);
        assert_eq!(locks(&store), [Digest::of("busy").to_string() + LOCK]);
        making.finish(record()).unwrap();
        assert!(locks(&store).is_empty());
    }

    /// Many want one entry, which each of them throws away again: never do two have it, and no lock stays.
    #[test]
    fn a_lock_that_goes_with_its_holder_is_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (fingerprint, holders) = (Digest::of("x"), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let making = ours(&store, &fingerprint);
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        fs::write(making.out().join("file"), "").unwrap();
                        assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                    }
                });
            }
        });
        assert!(locks(&store).is_empty());
    }

    #[test]
    fn what_was_made_and_changed_since_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let fingerprint = Digest::of("x");
        let making = ours(&store, &fingerprint);
        fs::create_dir(making.out().join("tree")).unwrap();
        fs::write(making.out().join("tree/file"), "whole").unwrap();
        assert!(making.finish(record()).unwrap().is_whole());
        let entry = store.get(&fingerprint).unwrap();
        assert!(entry.is_whole());
        fs::File::options()
            .write(true)
            .open(entry.out.join("tree/file"))
            .unwrap()
            .set_len(3)
            .unwrap();
        assert!(!entry.is_whole());
        let late = entry.clone();
        store.discard(&entry).unwrap();
        assert!(store.get(&fingerprint).is_none());
        // Another build saw the same, and comes when it has been made anew.
        let again = ours(&store, &fingerprint).finish(record()).unwrap();
        store.discard(&late).unwrap();
        assert!(store.get(&fingerprint).is_some() && again.is_whole());
        store.discard(&again).unwrap();
        assert!(store.get(&fingerprint).is_none());
        assert!(names_in(&folder.path().join("going")).is_empty());
    }
}
