//! An entry by another name: what one step made is what a step of another fingerprint would make too.
//!
//! ```text
//! store/<fingerprint>/step.json   {"same_as": "<fingerprint of the entry>"}, and nothing beside it
//! ```
//!
//! Who gets it gets the entry, and uses both. It leads to no other alias, and to nothing once the entry has gone.

use std::{
    fs::{self, File},
    io::BufReader,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use coremax_fetch::Digest;
use serde::{Deserialize, Serialize};

use super::{Begun, Entry, RECORD, Store};
use crate::lock;

/// What stands in an alias's `step.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    same_as: Digest,
}

impl Store {
    /// Gives an entry a second fingerprint, if that has none yet.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn alias(&self, fingerprint: &Digest, entry: &Entry) -> Result<()> {
        match self.begin(fingerprint)? {
            Begun::Stored(_) => Ok(()),
            Begun::Ours(making) => {
                fs::remove_dir(making.out()).context("making an alias")?;
                making.appear(&Alias { same_as: entry.fingerprint })?;
                Ok(())
            }
        }
    }

    /// The entry that an alias leads to, if it is one and leads to one.
    pub(super) fn follow(&self, fingerprint: &Digest) -> Option<Entry> {
        let held = lock::share(&self.entry(fingerprint).join(RECORD))?;
        let Alias { same_as } = read(&held)?;
        self.clock.stamp(&held);
        let entry = self.entry_of(&same_as)?;
        Some(Entry { _alias: Some(Arc::new(held)), ..entry })
    }

    /// The entry that this leads to, if it is an alias and that is there.
    pub(super) fn leads_to(&self, fingerprint: &Digest) -> Option<Digest> {
        let alias = File::open(self.entry(fingerprint).join(RECORD)).ok().and_then(|it| read(&it));
        alias.map(|it| it.same_as).filter(|entry| self.entry(entry).join(RECORD).exists())
    }
}

fn read(record: &File) -> Option<Alias> {
    serde_json::from_reader(BufReader::new(record)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Record;

    fn make(store: &Store, name: &str) -> Entry {
        let Begun::Ours(making) = store.begin(&Digest::of(name)).unwrap() else {
            panic!("{name} is stored already")
        };
        fs::write(making.out().join("file"), name).unwrap();
        let record =
            Record { step: name.into(), summary: String::new(), seconds: 0.0, cpu_seconds: 0.0 };
        making.finish(record).unwrap()
    }

    fn open() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn an_alias_leads_to_its_entry_and_to_nothing_else() {
        let (_folder, store) = open();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(Digest::of);
        let made = make(&store, "a");
        store.alias(&b, &made).unwrap();
        let found = store.get(&b).unwrap();
        assert_eq!(fs::read_to_string(found.out.join("file")).unwrap(), "a");
        assert_eq!(found.record, made.record);
        // One of an alias is one of the entry.
        store.alias(&c, &found).unwrap();
        store.collect(u64::MAX).unwrap();
        assert_eq!(store.get(&c).unwrap().out, made.out);
        // Who has its own keeps it.
        let own = make(&store, "d");
        store.alias(&d, &made).unwrap();
        assert_eq!(store.get(&d).unwrap().out, own.out);

        drop((made, found));
        store.remove_entry(&a).unwrap();
        assert!(store.get(&b).is_none());
        assert!(make(&store, "b").out.join("file").exists(), "it is made again by its own name");
    }

    #[test]
    fn what_is_damaged_is_damaged_by_every_name() {
        let (_folder, store) = open();
        let [a, b] = ["a", "b"].map(Digest::of);
        store.alias(&b, &make(&store, "a")).unwrap();
        let found = store.get(&b).unwrap();
        assert!(found.is_whole());
        fs::remove_file(found.out.join("file")).unwrap();
        assert!(!found.is_whole());
        store.discard(&found).unwrap();
        assert!(store.get(&a).is_none() && store.get(&b).is_none());
    }

    #[test]
    fn both_stay_while_one_is_used_and_go_together() {
        let (folder, store) = open();
        let other = Store::open(folder.path()).unwrap();
        let [a, b] = ["a", "b"].map(Digest::of);
        store.alias(&b, &make(&store, "a")).unwrap();
        let used = other.get(&b).unwrap();
        assert_eq!(store.collect(0).unwrap().in_use, 2);
        assert!(used.out.join("file").exists() && store.get(&b).is_some());
        drop(used);
        // An alias is as old as its entry, and takes no room: it stays for as long as that.
        drop(make(&store, "c"));
        drop(store.get(&a));
        let bytes = store.collect(u64::MAX).unwrap().left.bytes;
        assert_eq!(store.collect(bytes - 1).unwrap().removed.entries, 1);
        assert!(store.get(&Digest::of("c")).is_none());
        assert!(store.get(&b).is_some());
        assert_eq!(store.collect(0).unwrap().removed.entries, 2);
        assert!(!store.entry(&a).exists() && !store.entry(&b).exists());

        store.alias(&b, &make(&store, "a")).unwrap();
        store.remove_entry(&a).unwrap();
        // What leads nowhere goes in any case.
        assert_eq!(store.collect(u64::MAX).unwrap().removed.entries, 1);
        assert!(!store.entry(&b).exists());
    }
}
