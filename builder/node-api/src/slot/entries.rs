//! The state of the slots as systemd-boot keeps it: the names of its entries.
//!
//! ```text
//! /loader/entries/coremax-<generation>-<slot>[+<left>[-<done>]].conf
//! coremax-7-b+2-1.conf     slot b, on trial, two boots left, one done
//! coremax-6-a.conf         slot a, blessed
//! ```
//!
//! systemd-boot takes the first entry in descending order of names, those with no boot left at the
//! end, and renames one with a count before it boots it: `+3-0` to `+2-1`. A name without a count
//! is good for ever. So a trial is a new entry of a higher generation, blessing it is one rename,
//! and of two good ones the younger wins.
//! <https://uapi-group.org/specifications/specs/boot_loader_specification/#boot-counting>,
//! <https://systemd.io/AUTOMATIC_BOOT_ASSESSMENT/>. The entries have no sort-key, which would come
//! before the name.

use std::{cmp::Reverse, fmt, str::FromStr};

use super::{Slot, State, TRIES, Trial};

/// The name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which comes first: the higher the earlier.
    pub generation: u32,
    /// The slot that it boots.
    pub slot: Slot,
    /// How often it may still boot and how often it did; none for a good one.
    pub count: Option<(u8, u8)>,
}

/// The name of an entry that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the name of an entry of ours (coremax-7-b+2-1.conf)")]
pub struct NotAnEntry;

/// The state that the names in `/loader/entries` tell; others than ours are passed over. None
/// where there is no entry of ours.
pub fn state<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<State> {
    let mut entries: Vec<Entry> = names.into_iter().filter_map(|name| name.parse().ok()).collect();
    entries.sort_by_key(Entry::place);
    let first = *entries.first()?;
    let good = entries.iter().find(|entry| entry.count.is_none());
    // Nothing good: what comes first when all counts are used up.
    let last_resort = entries.iter().max_by_key(|entry| entry.generation).unwrap_or(&first);
    let blessed = good.unwrap_or(last_resort);
    // A trial is younger than what is good; an older one is left over and will not be taken.
    let tried = entries.iter().filter(|entry| entry.generation > blessed.generation);
    let tried = tried.max_by_key(|entry| (entry.left() > 0, entry.generation));
    let tried = tried.or((first.left() > 0).then_some(&first));
    let trial = tried.map(|entry| Trial { slot: entry.slot, tries: entry.left() });
    Some(State { blessed: blessed.slot, trial })
}

/// What is to be done in `/loader/entries`, in this order, to begin a trial of `slot`: entries to
/// remove, then the one to write. The removals come before anything of the slot is changed.
pub fn begin_trial<'a>(
    names: impl IntoIterator<Item = &'a str>,
    slot: Slot,
) -> (Vec<Entry>, Entry) {
    let entries: Vec<Entry> = names.into_iter().filter_map(|name| name.parse().ok()).collect();
    let youngest = entries.iter().map(|entry| entry.generation).max().unwrap_or(0);
    let old = entries.into_iter().filter(|entry| entry.slot == slot).collect();
    let generation = youngest.saturating_add(1);
    (old, Entry { generation, slot, count: Some((TRIES, 0)) })
}

impl Entry {
    /// The entry after systemd-boot has counted a boot of it.
    #[must_use]
    pub fn counted(self) -> Self {
        let count = self.count.map(|(left, done)| (left.saturating_sub(1), done.saturating_add(1)));
        Self { count, ..self }
    }

    /// The entry once its slot is blessed.
    #[must_use]
    pub fn good(self) -> Self {
        Self { count: None, ..self }
    }

    /// The entry once its slot is given up.
    #[must_use]
    pub fn bad(self) -> Self {
        Self { count: Some((0, self.count.map_or(0, |(_, done)| done))), ..self }
    }

    /// Where systemd-boot sorts it: those with no boot left come last.
    pub fn place(&self) -> impl Ord + use<> {
        (matches!(self.count, Some((0, _))), Reverse(self.generation))
    }

    fn left(&self) -> u8 {
        self.count.map_or(0, |(left, _)| left)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coremax-{}-{}", self.generation, self.slot)?;
        if let Some((left, done)) = self.count {
            write!(f, "+{left}-{done}")?;
        }
        f.write_str(".conf")
    }
}

impl FromStr for Entry {
    type Err = NotAnEntry;

    fn from_str(name: &str) -> Result<Self, NotAnEntry> {
        parse(name).ok_or(NotAnEntry)
    }
}

fn parse(name: &str) -> Option<Entry> {
    let stem = name.strip_prefix("coremax-")?.strip_suffix(".conf")?;
    let (id, count) = match stem.split_once('+') {
        None => (stem, None),
        Some((id, count)) => {
            let (left, done) = count.split_once('-').unwrap_or((count, "0"));
            (id, Some((number(left)?, number(done)?)))
        }
    };
    let (generation, slot) = id.split_once('-')?;
    Some(Entry { generation: number(generation)?, slot: slot.parse().ok()?, count })
}

/// Decimal digits and nothing else: a sign would be another name.
fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::choose, *};

    #[test]
    fn what_names_tell() {
        let trial = |slot, tries| Some(Trial { slot, tries });
        for (names, want) in [
            (&["coremax-1-a.conf"][..], Some((Slot::A, None))),
            (&["coremax-1-a.conf", "coremax-2-b+3-0.conf"], Some((Slot::A, trial(Slot::B, 3)))),
            (&["coremax-1-a.conf", "coremax-2-b+3.conf"], Some((Slot::A, trial(Slot::B, 3)))),
            (&["coremax-1-a.conf", "coremax-2-b+0-3.conf"], Some((Slot::A, trial(Slot::B, 0)))),
            (&["coremax-1-a.conf", "coremax-2-b.conf"], Some((Slot::B, None))),
            (&["coremax-10-a.conf", "coremax-9-b.conf"], Some((Slot::A, None))),
            (&["coremax-3-a.conf", "coremax-2-b+3-0.conf"], Some((Slot::A, None))),
            (&["coremax-3-a+0-3.conf", "coremax-2-b+0-3.conf"], Some((Slot::A, None))),
            (&["coremax-3-a+0-3.conf", "coremax-2-b+1-2.conf"], Some((Slot::A, trial(Slot::B, 1)))),
            (&["auto-windows.conf", "coremax-1-c.conf", "coremax-+1-a.conf"], None),
            (
                &["coremax-1-a.conf", "coremax-2-b+-3.conf", "coremax-2-b.efi"],
                Some((Slot::A, None)),
            ),
            (&[], None),
        ] {
            let found = state(names.iter().copied()).map(|state| (state.blessed, state.trial));
            assert_eq!(found, want, "{names:?}");
        }
    }

    #[test]
    fn a_trial_from_begin_to_blessing() {
        let names = ["coremax-4-b+0-3.conf", "coremax-5-a.conf"];
        let (old, new) = begin_trial(names, Slot::B);
        assert_eq!(old, [names[0].parse().unwrap()]);
        assert_eq!(new.to_string(), "coremax-6-b+3-0.conf");
        assert_eq!(new.counted().to_string(), "coremax-6-b+2-1.conf");
        assert_eq!(new.counted().good().to_string(), "coremax-6-b.conf");
        assert_eq!(new.counted().bad().to_string(), "coremax-6-b+0-1.conf");
    }

    fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
        let slot = prop::sample::select(Slot::BOTH.to_vec());
        let entry = (0u32..20, slot, prop::option::of((0u8..4, 0u8..4)));
        prop::collection::vec(entry, 1..4).prop_map(|found| {
            let mut entries: Vec<Entry> = found
                .into_iter()
                .map(|(generation, slot, count)| Entry { generation, slot, count })
                .collect();
            entries.sort_by_key(|entry| entry.generation);
            entries.dedup_by_key(|entry| entry.generation);
            entries
        })
    }

    proptest! {
        #[test]
        fn names_are_read_as_written(entries in any_entries()) {
            for entry in entries {
                prop_assert_eq!(entry.to_string().parse(), Ok(entry));
            }
        }

        /// What systemd-boot does with the names is what the chooser does with the state.
        #[test]
        fn the_chooser_agrees_with_the_order_of_entries(mut entries in any_entries()) {
            let names = |entries: &[Entry]| entries.iter().map(ToString::to_string).collect::<Vec<_>>();
            let told = |entries: &[Entry]| state(names(entries).iter().map(String::as_str)).unwrap();
            let (chosen, after) = choose(&told(&entries));
            let first = entries.iter_mut().min_by_key(|entry| entry.place()).unwrap();
            prop_assert_eq!(first.slot, chosen);
            *first = first.counted();
            // As the node leaves them: an entry a slot, one of them good. More cannot be told.
            let slots = entries.iter().map(|entry| entry.slot);
            let of_a = slots.filter(|slot| *slot == Slot::A).count();
            if of_a < 2 && entries.len() - of_a < 2 && entries.iter().any(|e| e.count.is_none()) {
                prop_assert_eq!(choose(&after).0, choose(&told(&entries)).0, "{:?}", entries);
            }
        }

        #[test]
        fn foreign_names_never_panic(names in prop::collection::vec("(coremax-)?\\PC{0,20}(.conf)?", 0..5)) {
            let _ = state(names.iter().map(String::as_str));
        }
    }
}
