//! The rules of merging: the last scalar holds, lists are joined without repeats, tables are joined.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt::Display,
};

use coremax_toml_text::Place;

use crate::{
    error::Error,
    part::Part,
    written::{Located, Written},
};

/// Recipe files in the order they are merged.
pub(super) struct Files<'a>(Vec<&'a Part>);

/// A value with the file that says it.
pub(super) struct Named<'a, T> {
    pub(super) part: &'a Part,
    located: &'a Located<T>,
}

impl<'a, T> Named<'a, T> {
    pub(super) fn value(&self) -> &'a T {
        self.located.value()
    }

    pub(super) fn place(&self) -> Place {
        self.part.place(self.located)
    }

    pub(super) fn cloned(&self) -> T
    where
        T: Clone,
    {
        self.value().clone()
    }
}

impl<'a> Files<'a> {
    pub(super) fn new(parts: &'a [Part], recipe: &'a Part) -> Self {
        Self(parts.iter().chain([recipe]).collect())
    }

    /// A scalar: what the last file says that says it.
    pub(super) fn last<T: Clone + 'a>(
        &self,
        get: impl Fn(&'a Written) -> &'a Option<Located<T>>,
    ) -> Option<T> {
        self.last_named(get).map(|named| named.cloned())
    }

    /// As [`Files::last`], with the file that says it.
    pub(super) fn last_named<T: 'a>(
        &self,
        get: impl Fn(&'a Written) -> &'a Option<Located<T>>,
    ) -> Option<Named<'a, T>> {
        let named = |part: &&'a Part| Some(Named { part, located: get(&part.written).as_ref()? });
        self.0.iter().rev().find_map(named)
    }

    /// A list: all files' joined, each value where it comes first. Twice in one file is an error.
    pub(super) fn lists<T: Ord + Display + 'a>(
        &self,
        kind: &str,
        get: impl Fn(&'a Written) -> &'a Vec<Located<T>>,
    ) -> Result<Vec<Named<'a, T>>, Error> {
        let mut seen = BTreeSet::new();
        let mut joined = Vec::new();
        for part in &self.0 {
            let listed = distinct(part, kind, get(&part.written))?;
            joined.extend(listed.filter(|named| seen.insert(named.value())));
        }
        Ok(joined)
    }

    /// As [`Files::lists`], the values alone.
    pub(super) fn list<T: Ord + Display + Clone + 'a>(
        &self,
        kind: &str,
        get: impl Fn(&'a Written) -> &'a Vec<Located<T>>,
    ) -> Result<Vec<T>, Error> {
        Ok(self.lists(kind, get)?.iter().map(Named::cloned).collect())
    }

    /// All files' tables of one kind.
    pub(super) fn tables<T: 'a>(
        &self,
        get: impl Fn(&'a Written) -> &'a Vec<T>,
    ) -> impl Iterator<Item = (&'a Part, &'a T)> {
        self.0.iter().flat_map(move |part| get(&part.written).iter().map(|table| (*part, table)))
    }
}

/// Checks that tables have different keys, over all files.
pub(super) fn keyed_once<'a, T, K: Ord + Display + 'a>(
    tables: &[(&'a Part, &'a T)],
    kind: &str,
    key: impl Fn(&'a T) -> Option<&'a Located<K>>,
) -> Result<(), Error> {
    let mut first = BTreeMap::new();
    for (part, table) in tables {
        if let Some(located) = key(table) {
            take(&mut first, kind, Named { part, located })?;
        }
    }
    Ok(())
}

/// The values of one list, each once.
pub(super) fn distinct<'a, T: Ord + Display>(
    part: &'a Part,
    kind: &str,
    list: &'a [Located<T>],
) -> Result<impl Iterator<Item = Named<'a, T>> + use<'a, T>, Error> {
    let mut first = BTreeMap::new();
    list.iter().try_for_each(|located| take(&mut first, kind, Named { part, located }))?;
    Ok(list.iter().map(move |located| Named { part, located }))
}

/// The values of one list of a table, each once, in order.
pub(super) fn values<T: Ord + Display + Clone>(
    part: &Part,
    kind: &str,
    list: &[Located<T>],
) -> Result<Vec<T>, Error> {
    Ok(distinct(part, kind, list)?.map(|named| named.cloned()).collect())
}

/// Checks that nothing stands in both lists.
pub(super) fn apart<'a, T: Ord>(
    one: &[Named<'a, T>],
    other: &[Named<'a, T>],
    what: impl Fn(&T) -> String,
) -> Result<(), Error> {
    let first: BTreeMap<&T, &Named<'a, T>> =
        one.iter().map(|named| (named.value(), named)).collect();
    let clash = other.iter().find_map(|named| Some((first.get(named.value())?, named)));
    match clash {
        None => Ok(()),
        Some((first, again)) => Err(Error::Contradiction {
            what: what(again.value()),
            at: again.place(),
            first: first.place(),
        }),
    }
}

fn take<'a, T: Ord + Display>(
    first: &mut BTreeMap<&'a T, Named<'a, T>>,
    kind: &str,
    named: Named<'a, T>,
) -> Result<(), Error> {
    match first.entry(named.value()) {
        Entry::Vacant(free) => {
            free.insert(named);
            Ok(())
        }
        Entry::Occupied(taken) => Err(Error::Twice {
            what: format!("{kind} `{}`", named.value()),
            at: named.place(),
            first: taken.get().place(),
        }),
    }
}
