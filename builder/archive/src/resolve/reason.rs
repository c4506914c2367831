//! The resolved closure, and why each package is in it.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use serde::{Deserialize, Serialize};

use super::{
    Unsolvable,
    lookup::{Lookup, NameId, PackageId},
    request::Roots,
};
use crate::{Package, relation};

/// Packages whose relations all hold among themselves, one version of each name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSet {
    /// Sorted by name.
    pub selected: Vec<Selected>,
}

/// A package of the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// The package as the archive describes it.
    pub package: Package,
    /// Why it is in the set: the shortest way to something requested or essential.
    pub reason: Reason,
}

/// Why a package is in a set. `relation` is the clause as the other package writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is marked `Essential: yes`, and the request asked for all that are.
    Essential,
    /// The request names it.
    Requested,
    /// Another package of the set depends on it.
    #[expect(missing_docs, reason = "told by the enum's own comment")]
    DependencyOf { package: String, relation: String },
    /// Another package of the set recommends it.
    #[expect(missing_docs, reason = "told by the enum's own comment")]
    RecommendedBy { package: String, relation: String },
}

impl PackageSet {
    /// The package called `name`.
    pub fn get(&self, name: &str) -> Option<&Selected> {
        let found = self.selected.binary_search_by(|s| s.package.name.as_str().cmp(name));
        found.ok().map(|i| &self.selected[i])
    }

    /// The package that stands for `name`: the one called so, else one that provides it, a requested one first.
    pub fn standing_for(&self, name: &str) -> Option<&Selected> {
        let provides = |selected: &&Selected| {
            let mut provided = relation::provisions(&selected.package.provides).flatten();
            provided.any(|provision| provision.name == name)
        };
        let providers = || self.selected.iter().filter(provides);
        let requested = || providers().find(|selected| selected.reason == Reason::Requested);
        self.get(name).or_else(requested).or_else(|| providers().next())
    }

    /// The packages that lead to `name`, from itself up to one that was requested or is
    /// essential; empty where `name` is not in the set.
    pub fn why(&self, name: &str) -> Vec<&Selected> {
        let mut chain = Vec::new();
        let mut next = self.get(name);
        while let Some(selected) = next.filter(|_| chain.len() < self.selected.len()) {
            chain.push(selected);
            next = selected.reason.package().and_then(|name| self.get(name));
        }
        chain
    }

    /// The part of `chosen` that the roots lead to by Depends and Recommends.
    pub(super) fn new(
        lookup: &Lookup<'_>,
        roots: &Roots,
        chosen: &[PackageId],
    ) -> Result<Self, Unsolvable> {
        let chosen: HashMap<NameId, PackageId> =
            chosen.iter().map(|&id| (lookup.name_of(id), id)).collect();
        let mut reasons: HashMap<PackageId, Reason> = roots.reasons.iter().cloned().collect();
        let mut open: VecDeque<PackageId> = roots.packages().into();
        // Recommendations wait until no dependency is left: they are the weaker reason.
        let mut later: VecDeque<(PackageId, Reason)> = VecDeque::new();
        while let Some(id) = open.pop_front() {
            for need in &lookup.needs(id)?.wants {
                for target in need.targets().filter(|&t| chosen.get(&lookup.name_of(t)) == Some(&t))
                {
                    let reason = || Reason::of(&lookup.package(id).name, need.text, need.critical);
                    if !need.critical {
                        later.push_back((target, reason()));
                    } else if let Entry::Vacant(vacant) = reasons.entry(target) {
                        vacant.insert(reason());
                        open.push_back(target);
                    }
                }
            }
            while let Some((target, reason)) = later.pop_front_if(|_| open.is_empty()) {
                if let Entry::Vacant(vacant) = reasons.entry(target) {
                    vacant.insert(reason);
                    open.push_back(target);
                }
            }
        }
        let mut selected: Vec<_> = reasons
            .into_iter()
            .map(|(id, reason)| Selected { package: lookup.package(id).clone(), reason })
            .collect();
        selected.sort_by(|a, b| a.package.name.cmp(&b.package.name));
        Ok(Self { selected })
    }
}

impl Reason {
    /// The other package that brought it into the set.
    pub fn package(&self) -> Option<&str> {
        match self {
            Self::Essential | Self::Requested => None,
            Self::DependencyOf { package, .. } | Self::RecommendedBy { package, .. } => {
                Some(package)
            }
        }
    }

    fn of(package: &str, relation: &str, critical: bool) -> Self {
        let (package, relation) = (package.to_owned(), relation.to_owned());
        if critical {
            Self::DependencyOf { package, relation }
        } else {
            Self::RecommendedBy { package, relation }
        }
    }
}
