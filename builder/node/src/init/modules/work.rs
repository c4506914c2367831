//! What the loading threads share: which modules wait, by urgency, and which are being loaded, so that
//! none is read and checked twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use coremax_kmod::Name;

/// How soon a module is loaded; within a rank by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Drives a disk that is there at once, as a virtual one or NVMe.
    First,
    /// What any root stands on.
    Root,
    /// Everything else; left to the root's own udev when its disk was found without.
    Rest,
}

#[derive(Debug, Default)]
pub(crate) struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<(Rank, Name)>,
    /// Modules that someone loads (false) or that are loaded (true).
    loaded: BTreeMap<Name, bool>,
    closed: bool,
}

impl Work {
    pub(crate) fn add(&self, rank: Rank, name: Name) {
        self.state().waiting.insert((rank, name));
        self.changed.notify_all();
    }

    /// The most urgent module, waited for; nothing when no more is to be done.
    pub(crate) fn next(&self) -> Option<Name> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some((_, name)) = state.waiting.pop_first() {
                return Some(name);
            }
            state = self.wait(state);
        }
    }

    /// Ends all work that was not begun.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Loads a module by `load`, unless it is loaded; where another thread is at it, waits for that.
    /// One that failed may be tried again.
    pub(crate) fn once<E>(
        &self,
        name: &Name,
        load: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.state();
        loop {
            match state.loaded.get(name) {
                Some(true) => return Ok(()),
                Some(false) => state = self.wait(state),
                None => break,
            }
        }
        state.loaded.insert(name.clone(), false);
        drop(state);
        let result = load();
        let mut state = self.state();
        state.loaded.remove(name);
        if result.is_ok() {
            state.loaded.insert(name.clone(), true);
        }
        self.changed.notify_all();
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn the_urgent_come_first_and_the_rest_may_be_dropped() {
        let work = Work::default();
        for (rank, name) in
            [(Rank::Rest, "ahci"), (Rank::Root, "ext4"), (Rank::First, "virtio_pci")]
        {
            work.add(rank, Name::new(name));
        }
        assert_eq!(work.next(), Some(Name::new("virtio_pci")));
        assert_eq!(work.next(), Some(Name::new("ext4")));
        work.close();
        assert_eq!(work.next(), None);
    }

    #[test]
    fn nothing_is_loaded_twice_and_a_failure_is_tried_again() {
        let (work, count, name) = (Work::default(), AtomicU32::new(0), Name::new("a"));
        assert_eq!(work.once(&name, || Err("no")), Err("no"));
        let load = || {
            count.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            Ok::<(), ()>(())
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| work.once(&name, load).unwrap());
            }
        });
        assert_eq!(count.into_inner(), 1);
    }
}
