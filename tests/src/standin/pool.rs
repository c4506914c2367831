//! The packages while they are changed: those that a change names are in memory, the others stay where they are.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::gather::Gathered;
use crate::{
    Outcome,
    deb::{Deb, Stanza},
};

/// Packages by name.
pub(super) struct Pool(BTreeMap<String, Lies>);

enum Lies {
    There(PathBuf),
    Here(Box<Deb>),
}

impl Pool {
    pub(super) fn of(sources: &[Gathered]) -> Self {
        let there = |source: &Gathered| (source.name.clone(), Lies::There(source.path.clone()));
        Self(sources.iter().map(there).collect())
    }

    /// Takes a package out.
    pub(super) fn take(&mut self, name: &str) -> Result<Deb, String> {
        self.0.remove(name).ok_or_else(|| format!("there is no {name}"))?.read(name)
    }

    /// Takes out the one package with such a name.
    pub(super) fn take_like(&mut self, like: impl Fn(&str) -> bool) -> Result<Deb, String> {
        let name = self.0.keys().find(|name| like(name)).ok_or("there is none")?.clone();
        self.take(&name)
    }

    /// Puts a package in, by the name that it gives itself.
    pub(super) fn put(&mut self, deb: Deb) {
        self.0.insert(deb.stanza().get("Package").to_owned(), Lies::Here(Box::new(deb)));
    }

    /// Changes a package.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Deb)) -> Outcome {
        let mut deb = self.take(name)?;
        change(&mut deb);
        self.put(deb);
        Ok(())
    }

    /// Changes what a package says of itself.
    pub(super) fn change_stanza(
        &mut self,
        name: &str,
        change: impl FnOnce(Stanza) -> Stanza,
    ) -> Outcome {
        self.change(name, |deb| deb.set_stanza(&change(deb.stanza())))
    }

    /// Leaves packages out; they need not be there.
    pub(super) fn leave_out(&mut self, names: &[&str]) {
        self.0.retain(|name, _| !names.contains(&name.as_str()));
    }

    /// All packages, each yet to be read.
    pub(super) fn into_debs(self) -> impl Iterator<Item: FnOnce() -> Result<Deb, String>> {
        self.0.into_iter().map(|(name, lies)| move || lies.read(&name))
    }
}

impl Lies {
    fn read(self, name: &str) -> Result<Deb, String> {
        match self {
            Self::Here(deb) => Ok(*deb),
            Self::There(path) => {
                let bytes = fs::read(&path).map_err(|e| format!("{name}: {e}"))?;
                Deb::read(&bytes).map_err(|e| format!("{name}: {e}"))
            }
        }
    }
}
