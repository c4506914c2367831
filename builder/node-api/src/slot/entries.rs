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

use super::{Esp, FOLDER, KERNEL, Slot, State, Trial};

/// The folder of entries on the ESP.
pub const ENTRIES: &str = "loader/entries";
/// What systemd-boot is set to, on the ESP.
pub const SETTINGS: &str = "loader/loader.conf";

/// What an entry holds: its title, and what it starts.
pub fn content(slot: Slot, title: &str) -> String {
    format!("title {title}\nefi /{FOLDER}/{slot}/{KERNEL}\n")
}

/// The names in [`ENTRIES`], but for files that are empty: FAT gives a file that is renamed its new name before it has its
/// length there, and power may go in between. systemd-boot passes over an entry that starts nothing.
///
/// # Errors
/// The ESP's.
pub fn names<E: Esp>(esp: &E) -> Result<Vec<String>, E::Error> {
    let mut names = Vec::new();
    for name in esp.names(ENTRIES)? {
        if !esp.read(&format!("{ENTRIES}/{name}"))?.is_empty() {
            names.push(name);
        }
    }
    Ok(names)
}

/// One step from a state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An entry goes.
    Remove(Entry),
    /// An entry gets another name.
    Rename(Entry, Entry),
    /// An entry is written, with the [`content`] for its slot.
    Write(Entry),
}

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

/// What is to be done, in this order, to come from what `names` tell to the state `to`. After each step there is an
/// entry of the slot that was blessed or is, if there was one before.
pub fn changes<'a>(names: impl IntoIterator<Item = &'a str>, to: &State) -> Vec<Change> {
    let mut entries: Vec<Entry> = names.into_iter().filter_map(|name| name.parse().ok()).collect();
    let mut changes = bless(&entries, to.blessed);
    changes.iter().for_each(|change| change.apply(&mut entries));
    let told =
        state(entries.iter().map(Entry::to_string).collect::<Vec<_>>().iter().map(String::as_str));
    if told.is_some_and(|told| told.trial != to.trial) {
        changes.extend(put_on_trial(&entries, to.trial));
    }
    changes
}

/// The entries of a slot. They go before anything of the slot is changed.
pub fn entries_of<'a>(names: impl IntoIterator<Item = &'a str>, slot: Slot) -> Vec<Entry> {
    let entries = names.into_iter().filter_map(|name| name.parse::<Entry>().ok());
    entries.filter(|entry| entry.slot == slot).collect()
}

/// Makes the youngest good entry one of this slot.
fn bless(entries: &[Entry], slot: Slot) -> Vec<Change> {
    let youngest = |is: &dyn Fn(&Entry) -> bool| {
        entries.iter().copied().filter(is).max_by_key(|entry| entry.generation)
    };
    let good = youngest(&|entry| entry.count.is_none());
    let own = youngest(&|entry| entry.slot == slot);
    match (own, good) {
        (_, Some(good)) if good.slot == slot => Vec::new(),
        (Some(own), good) if good.is_none_or(|good| good.generation < own.generation) => {
            vec![Change::Rename(own, own.good())]
        }
        _ => {
            let old = entries.iter().filter(|entry| entry.slot == slot);
            let (old, new) = (old.map(|entry| Change::Remove(*entry)), next(entries, slot, None));
            [Change::Write(new)].into_iter().chain(old).collect()
        }
    }
}

/// Makes this the trial, if any, where the state tells another.
fn put_on_trial(entries: &[Entry], trial: Option<Trial>) -> Vec<Change> {
    let counted = entries.iter().copied().filter(|entry| entry.count.is_some());
    let Some(Trial { slot, tries }) = trial else { return counted.map(Change::Remove).collect() };
    let running = counted.filter(|entry| entry.slot == slot).max_by_key(|entry| entry.generation);
    match running {
        Some(entry) if tries == 0 => vec![Change::Rename(entry, entry.bad())],
        _ => {
            let old = entries.iter().filter(|entry| entry.slot == slot || entry.count.is_some());
            let new = next(entries, slot, Some((tries, 0)));
            old.map(|entry| Change::Remove(*entry)).chain([Change::Write(new)]).collect()
        }
    }
}

/// An entry that comes before all of these.
fn next(entries: &[Entry], slot: Slot, count: Option<(u8, u8)>) -> Entry {
    let youngest = entries.iter().map(|entry| entry.generation).max().unwrap_or(0);
    Entry { generation: youngest.saturating_add(1), slot, count }
}

impl Change {
    /// Does it to a list of names.
    fn apply(&self, entries: &mut Vec<Entry>) {
        match self {
            Self::Remove(gone) => entries.retain(|entry| entry != gone),
            Self::Rename(from, to) => {
                entries.iter_mut().filter(|entry| *entry == from).for_each(|entry| *entry = *to);
            }
            Self::Write(new) => entries.push(*new),
        }
    }
}

impl Entry {
    /// What a new image has: slot a, good.
    pub const NEW: Self = Self { generation: 1, slot: Slot::A, count: None };

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
        let entry = |name: &str| name.parse::<Entry>().unwrap();
        let (good, failed) = (entry("coremax-5-a.conf"), entry("coremax-4-b+0-3.conf"));
        let [tried, new] = ["coremax-6-b+2-1.conf", "coremax-6-b+3-0.conf"].map(entry);
        assert_eq!(new.counted(), tried);
        let on_trial = |tries| Some(Trial { slot: Slot::B, tries });
        for (entries, blessed, trial, want) in [
            (vec![good], Slot::A, None, vec![]),
            (
                vec![failed, good],
                Slot::A,
                on_trial(3),
                vec![Change::Remove(failed), Change::Write(new)],
            ),
            (
                vec![good, tried],
                Slot::B,
                None,
                vec![Change::Rename(tried, entry("coremax-6-b.conf"))],
            ),
            (
                vec![good, tried],
                Slot::A,
                on_trial(0),
                vec![Change::Rename(tried, entry("coremax-6-b+0-1.conf"))],
            ),
            (vec![good, tried], Slot::A, None, vec![Change::Remove(tried)]),
            (
                vec![good, entry("coremax-4-b.conf")],
                Slot::B,
                None,
                vec![
                    Change::Write(entry("coremax-6-b.conf")),
                    Change::Remove(entry("coremax-4-b.conf")),
                ],
            ),
        ] {
            let names: Vec<_> = entries.iter().map(Entry::to_string).collect();
            let made = changes(names.iter().map(String::as_str), &State { blessed, trial });
            assert_eq!(made, want, "{names:?}");
        }
        assert_eq!(entries_of(["coremax-5-a.conf", "coremax-4-b+0-3.conf"], Slot::B), [failed]);
        assert_eq!(content(Slot::B, "node 2"), "title node 2\nefi /coremax/b/vmlinuz\n");
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

        /// Whatever is done to a node comes out of the names as the state that was meant.
        #[test]
        fn changes_lead_where_they_should(steps in prop::collection::vec(0_u8..6, 0..12)) {
            let mut entries = vec![Entry::NEW];
            let mut meant = State::NEW;
            let mut running = Slot::A;
            for step in steps {
                let names: Vec<_> = entries.iter().map(Entry::to_string).collect();
                let names = || names.iter().map(String::as_str);
                prop_assert_eq!(state(names()), Some(meant));
                let to = match step {
                    0 => meant.free_slot(running).and_then(|slot| meant.begin_trial(slot)).ok(),
                    1 => Some(meant.bless(running)),
                    2 => Some(meant.roll_back(running)),
                    3 => Some(meant.end_trial()),
                    _ => None,
                };
                if let Some(to) = to {
                    for change in changes(names(), &to) {
                        change.apply(&mut entries);
                        // Power may go here.
                        let left = entries.iter().any(|e| [meant.blessed, to.blessed].contains(&e.slot));
                        prop_assert!(left, "{:?}", entries);
                    }
                    meant = to;
                } else {
                    (running, meant) = choose(&meant);
                    let first = entries.iter_mut().min_by_key(|entry| entry.place()).unwrap();
                    prop_assert_eq!(first.slot, running);
                    *first = first.counted();
                }
            }
        }

        #[test]
        fn foreign_names_never_panic(names in prop::collection::vec("(coremax-)?\\PC{0,20}(.conf)?", 0..5)) {
            let _ = state(names.iter().map(String::as_str));
        }
    }
}
