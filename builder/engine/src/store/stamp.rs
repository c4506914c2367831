//! When an entry was used last, in an order that a wrong clock does not change.
//!
//! A stamp is the time of the use or, where the store has a later one already, one that is later still: after a clock
//! that ran ahead, or one that begins in 1970, what is used last is stamped last all the same.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use rustix::fs::{Timespec, Timestamps, futimens};

use super::{RECORD, names_in};

/// Seconds and nanoseconds since 1970.
pub(super) type Stamp = (i64, i64);

/// Gives stamps for one store.
#[derive(Debug)]
pub(super) struct Clock {
    store: PathBuf,
    latest: Mutex<Option<Stamp>>,
}

impl Clock {
    /// The one of the store in this folder.
    pub(super) fn of(store: &Path) -> Self {
        Self { store: store.to_owned(), latest: Mutex::new(None) }
    }

    /// Stamps a record as used now. One that cannot be written is served without.
    pub(super) fn stamp(&self, record: &File) {
        let (tv_sec, tv_nsec) = self.next(now());
        let time = Timespec { tv_sec, tv_nsec };
        let _ = futimens(record, &Timestamps { last_access: time, last_modification: time });
    }

    fn next(&self, now: Stamp) -> Stamp {
        let mut latest = self.latest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = latest.unwrap_or_else(|| {
            let records =
                names_in(&self.store).into_iter().map(|name| self.store.join(name).join(RECORD));
            records.filter_map(|record| of(&record)).max().unwrap_or_default()
        });
        *latest.insert(now.max(after(before)))
    }
}

/// The stamp of a record; none if it is not there.
pub(super) fn of(record: &Path) -> Option<Stamp> {
    let found = fs::metadata(record).ok()?;
    Some((found.mtime(), found.mtime_nsec()))
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()))
}

/// A microsecond later: what file systems tell apart.
fn after((seconds, nanos): Stamp) -> Stamp {
    let nanos = nanos + 1000;
    (seconds.saturating_add(nanos / 1_000_000_000), nanos % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_later_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::of(folder.path());
        let year = 365 * 86400;
        let said = [50 * year, 130 * year, 0, 50 * year, 50 * year + 1]
            .map(|seconds| (seconds, 999_999_500));
        let given = said.map(|now| clock.next(now));
        assert!(given.is_sorted_by(|one, other| one < other), "{given:?}");
        assert_eq!(given[..2], said[..2], "a clock that is right is not followed");
    }

    #[test]
    fn a_new_process_goes_on_after_the_latest() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("entry")).unwrap();
        let record = File::create(folder.path().join("entry").join(RECORD)).unwrap();
        let first = Clock::of(folder.path());
        first.next((4_000_000_000, 0));
        first.stamp(&record);
        let ahead = of(&folder.path().join("entry").join(RECORD)).unwrap();
        assert!(ahead >= (4_000_000_000, 0));
        assert!(Clock::of(folder.path()).next((5, 0)) > ahead);
    }
}
