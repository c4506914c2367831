//! Removing what a store has too much of: what was not used for longest, and nothing that somebody uses.

use std::{
    fs::{self, File},
    io,
};

use anyhow::{Context as _, Result};
use coremax_fetch::Digest;
use rustix::fs::{FlockOperation, flock};

use super::{Entry, Kept, RECORD, Store, names_in, stamp};
use crate::{
    lock::{self, Lock},
    space::Removed,
};

/// What came of collecting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// What went.
    pub removed: Removed,
    /// What is left: entries, and the bytes that they took when they were made.
    pub left: Removed,
    /// How many of those would have gone, were they not in use.
    pub in_use: usize,
}

/// An entry that may go.
struct Candidate {
    fingerprint: Digest,
    used: stamp::Stamp,
    bytes: u64,
    /// It has no record that can be read, and serves nobody.
    broken: bool,
}

impl Store {
    /// Removes entries until those that are left take `limit` bytes or less, the ones not used for longest first, and
    /// those without a record in any case. What a build uses stays, of this process and of others.
    ///
    /// # Errors
    /// The first thing that cannot be removed; whatever else can has gone then.
    pub fn collect(&self, limit: u64) -> Result<Collected> {
        let mut candidates: Vec<_> = self.candidates();
        // Those of one time are an entry and its aliases: these go first.
        candidates.sort_by_key(|it| (it.used, it.bytes != 0, it.fingerprint));
        let bytes = candidates.iter().map(|candidate| candidate.bytes).sum();
        let left = Removed { entries: candidates.len(), bytes };
        let mut collected = Collected { left, ..Collected::default() };
        let mut failure = None;
        for candidate in candidates {
            if collected.left.bytes <= limit && !candidate.broken {
                continue;
            }
            match self.take_away(&candidate.fingerprint) {
                // One that is another user's, say, must not keep the others.
                Err(error) => failure = failure.or(Some(error)),
                Ok(None) => collected.in_use += 1,
                Ok(Some(removed)) => {
                    collected.removed =
                        collected.removed.and(Removed { entries: 1, bytes: removed });
                    collected.left.entries -= 1;
                    collected.left.bytes -= candidate.bytes;
                }
            }
        }
        failure.map_or(Ok(collected), Err)
    }

    /// Removes an entry that is damaged, whoever uses it; not one that somebody has made in its place meanwhile.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn discard(&self, damaged: &Entry) -> Result<()> {
        let made = &damaged.fingerprint;
        let _lock = Lock::wait(&self.lock(made))?;
        match lock::is_at(&damaged.used, &self.entry(made).join(RECORD))? {
            true => self.remove_entry(made).map(drop),
            false => Ok(()),
        }
    }

    /// Whether no other process has the store open. From then on others wait until this one ends.
    pub fn is_alone(&self) -> bool {
        let Some(lock) = &*self.in_use else { return false };
        flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    fn candidates(&self) -> Vec<Candidate> {
        let fingerprints = names_in(&self.folder).into_iter().filter_map(|name| name.parse().ok());
        fingerprints.map(|fingerprint| self.candidate(fingerprint)).collect()
    }

    fn candidate(&self, fingerprint: Digest) -> Candidate {
        let record = self.entry(&fingerprint).join(RECORD);
        let kept =
            fs::read(&record).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        match (kept, stamp::of(&record)) {
            (Some(kept), Some(used)) => {
                Candidate { fingerprint, used, bytes: kept.contents.bytes, broken: false }
            }
            (None, Some(_)) if let Some(entry) = self.leads_to(&fingerprint) => {
                let used = stamp::of(&self.entry(&entry).join(RECORD)).unwrap_or_default();
                Candidate { fingerprint, used, bytes: 0, broken: false }
            }
            _ => Candidate { fingerprint, used: stamp::Stamp::default(), bytes: 0, broken: true },
        }
    }

    /// Removes an entry that nobody uses, and says how many bytes that gave back.
    fn take_away(&self, fingerprint: &Digest) -> Result<Option<u64>> {
        let record = self.entry(fingerprint).join(RECORD);
        let held = match File::open(&record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.take_away_unrecorded(fingerprint);
            }
            opened => opened.with_context(|| format!("opening {}", record.display()))?,
        };
        let is_ours = flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
            && lock::is_at(&held, &record)?;
        is_ours.then(|| self.remove_entry(fingerprint)).transpose()
    }

    /// The same without a record to hold: whoever makes that entry anew holds the maker's lock.
    fn take_away_unrecorded(&self, fingerprint: &Digest) -> Result<Option<u64>> {
        let Some(_lock) = Lock::attempt(&self.lock(fingerprint))? else { return Ok(None) };
        match self.entry(fingerprint).join(RECORD).exists() {
            true => Ok(None),
            false => self.remove_entry(fingerprint).map(Some),
        }
    }

    /// It disappears at once, and its bytes then.
    pub(super) fn remove_entry(&self, fingerprint: &Digest) -> Result<u64> {
        let entry = self.entry(fingerprint);
        let going = |number| self.folder.join("going").join(format!("{fingerprint}-{number}"));
        let free = (0_u32..).map(going).find(|place| !place.exists()).context("a name")?;
        match fs::rename(&entry, &free) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            moved => {
                moved.with_context(|| format!("removing {}", entry.display()))?;
                Ok(Removed::all_of(&free)?.bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Begun, Entry, Making, Record};

    fn make(store: &Store, name: &str, bytes: usize) -> Entry {
        let Begun::Ours(making) = store.begin(&Digest::of(name)).unwrap() else {
            panic!("{name} is stored already")
        };
        finish(making, name, bytes)
    }

    fn finish(making: Making, name: &str, bytes: usize) -> Entry {
        fs::write(making.out().join("file"), vec![1; bytes]).unwrap();
        let (step, summary) = (name.to_owned(), String::new());
        making.finish(Record { step, summary, seconds: 0.0, cpu_seconds: 0.0 }).unwrap()
    }

    fn left(store: &Store) -> Vec<&'static str> {
        let is_there = |name: &&str| store.entry(&Digest::of(*name)).exists();
        ["a", "b", "c", "d"].into_iter().filter(is_there).collect()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for name in ["a", "b", "c", "d"] {
            drop(make(&store, name, 100_000));
        }
        drop(store.get(&Digest::of("a")));
        // A clock that begins in 1970 gives stamps like these, and a new process goes on from them.
        let store = Store::open(folder.path()).unwrap();
        drop(store.get(&Digest::of("b")));
        let all = store.collect(u64::MAX).unwrap();
        assert_eq!((all.removed.entries, all.left.entries), (0, 4));
        let each = all.left.bytes / 4;
        assert!((100_000..200_000).contains(&each), "{all:?}");
        for (limit, want) in [
            (4 * each, &["a", "b", "c", "d"][..]),
            (3 * each, &["a", "b", "d"]),
            (each, &["b"]),
            (0, &[]),
        ] {
            let collected = store.collect(limit).unwrap();
            assert_eq!(left(&store), want);
            assert_eq!(collected.left.entries, want.len());
            assert!(collected.left.bytes <= limit && collected.in_use == 0, "{collected:?}");
        }
        assert!(names_in(&folder.path().join("going")).is_empty());
    }

    #[test]
    fn what_somebody_uses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) =
            (Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap());
        let (made, found) = (make(&store, "a", 1), make(&store, "b", 1));
        let read = other.get(&Digest::of("b"));
        drop((found, make(&store, "c", 1)));
        let collected = store.collect(0).unwrap();
        assert_eq!((collected.in_use, left(&store)), (2, vec!["a", "b"]));
        drop(made);
        assert_eq!(other.collect(0).unwrap().removed.entries, 1);
        drop(read);
        assert_eq!((store.collect(0).unwrap().removed.entries, left(&store)), (1, vec![]));
    }

    #[test]
    fn what_is_broken_goes_in_any_case() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for (name, record) in [("a", None), ("b", Some("{")), ("c", Some("{}"))] {
            drop(make(&store, name, 1));
            let path = store.entry(&Digest::of(name)).join(RECORD);
            match record {
                None => fs::remove_file(path).unwrap(),
                Some(text) => fs::write(path, text).unwrap(),
            }
        }
        drop(make(&store, "d", 1));
        store.collect(u64::MAX).unwrap();
        assert_eq!(left(&store), ["d"]);
    }

    /// A builder and a collector at once: nobody finds half an entry, and an entry that is held is there.
    #[test]
    fn an_entry_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) =
            (Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap());
        let enough = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(std::sync::atomic::Ordering::Relaxed) {
                    let entry = match store.begin(&Digest::of("a")).unwrap() {
                        Begun::Stored(entry) => entry,
                        Begun::Ours(making) => finish(making, "a", 5),
                    };
                    for _ in 0..3 {
                        assert_eq!(fs::read(entry.out.join("file")).unwrap(), [1; 5]);
                    }
                }
            });
            let mut removed = 0;
            while removed < 20 {
                removed += other.collect(0).unwrap().removed.entries;
                other.sweep();
            }
            enough.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn who_is_alone_knows_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) =
            (Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap());
        assert!(!store.is_alone());
        drop(other);
        assert!(store.is_alone());
    }
}
