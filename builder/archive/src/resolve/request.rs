//! What is asked of the resolver, and the packages that it names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Unsolvable,
    error::nearest,
    lookup::{Lookup, NameId, Need, PackageId},
    reason::Reason,
};

/// What to install.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `name` or `name=version`; a name that only one package provides means that package.
    pub install: Vec<String>,
    /// Names that must not be installed, not even where a package is essential.
    pub exclude: Vec<String>,
    /// Follow Recommends too, where that is possible.
    pub recommends: bool,
    /// Install every package marked `Essential: yes` first.
    pub essential: bool,
    /// The only architecture, besides `all`: `amd64`.
    pub architecture: String,
}

/// The packages that a request names, in the order in which they are to be marked.
pub(super) struct Roots {
    pub(super) reasons: Vec<(PackageId, Reason)>,
    pub(super) excluded: Vec<NameId>,
    /// Candidates that the request sets itself.
    chosen: BTreeMap<NameId, PackageId>,
}

impl Roots {
    pub(super) fn find(lookup: &Lookup<'_>, request: &Request) -> Result<Self, Unsolvable> {
        let excluded = request.exclude.iter().filter_map(|name| lookup.find(name)).collect();
        let mut roots = Self { reasons: Vec::new(), excluded, chosen: BTreeMap::new() };
        let named =
            request.install.iter().map(|text| find(lookup, text)).collect::<Result<Vec<_>, _>>()?;
        if request.essential {
            roots.add_essential(lookup, &named);
        }
        for package in named {
            roots.add(lookup, package, Reason::Requested)?;
        }
        Ok(roots)
    }

    pub(super) fn packages(&self) -> Vec<PackageId> {
        self.reasons.iter().map(|&(id, _)| id).collect()
    }

    pub(super) fn candidate(&self, lookup: &Lookup<'_>, name: NameId) -> Option<PackageId> {
        let chosen = self.chosen.get(&name).copied().or_else(|| lookup.candidate(name));
        chosen.filter(|_| !self.excluded.contains(&name))
    }

    /// The candidates that satisfy `need`, in the order of its alternatives.
    pub(super) fn candidates(
        &self,
        lookup: &Lookup<'_>,
        need: &Need<'_>,
    ) -> impl Iterator<Item = PackageId> {
        need.targets().filter(|&id| self.candidate(lookup, lookup.name_of(id)) == Some(id))
    }

    fn add_essential(&mut self, lookup: &Lookup<'_>, named: &[PackageId]) {
        let candidates = lookup.names().filter_map(|name| self.candidate(lookup, name));
        let essential = candidates.filter(|&id| lookup.package(id).essential);
        let named_too =
            |id: &PackageId| named.iter().any(|&n| lookup.name_of(n) == lookup.name_of(*id));
        let mut essential: Vec<_> = essential.filter(|id| !named_too(id)).collect();
        essential.sort_by_key(|&id| &lookup.package(id).name);
        for id in essential {
            self.chosen.insert(lookup.name_of(id), id);
            self.reasons.push((id, Reason::Essential));
        }
    }

    fn add(
        &mut self,
        lookup: &Lookup<'_>,
        package: PackageId,
        reason: Reason,
    ) -> Result<(), Unsolvable> {
        let name = lookup.name_of(package);
        if self.excluded.contains(&name) {
            return Err(Unsolvable::Excluded { name: lookup.text(name).to_owned() });
        }
        match self.chosen.insert(name, package) {
            None => self.reasons.push((package, reason)),
            Some(before) if before == package => {}
            Some(before) => {
                let [first, second] =
                    [before, package].map(|id| lookup.package(id).version.clone());
                return Err(Unsolvable::TwoVersions {
                    name: lookup.text(name).to_owned(),
                    first,
                    second,
                });
            }
        }
        Ok(())
    }
}

/// The package that `name` or `name=version` stands for.
fn find(lookup: &Lookup<'_>, text: &str) -> Result<PackageId, Unsolvable> {
    let (name, version) =
        text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
    let known = lookup
        .find(name)
        .filter(|&id| !lookup.versions(id).is_empty() || !lookup.providers(id).is_empty());
    let id = known.ok_or_else(|| Unsolvable::UnknownPackage {
        name: name.to_owned(),
        nearest: nearest(lookup, name),
    })?;
    match version {
        Some(version) => find_version(lookup, id, version),
        None => lookup.candidate(id).map_or_else(|| find_provider(lookup, id), Ok),
    }
}

fn find_version(lookup: &Lookup<'_>, name: NameId, version: &str) -> Result<PackageId, Unsolvable> {
    let versions = lookup.versions(name);
    let found = versions
        .iter()
        .copied()
        .filter(|&id| lookup.package(id).version == version)
        .max_by_key(|&id| (lookup.package(id).pin, std::cmp::Reverse(id)));
    found.ok_or_else(|| Unsolvable::NoSuchVersion {
        name: lookup.text(name).to_owned(),
        version: version.to_owned(),
        available: versions.iter().map(|&id| lookup.package(id).version.clone()).collect(),
    })
}

fn find_provider(lookup: &Lookup<'_>, name: NameId) -> Result<PackageId, Unsolvable> {
    let all = lookup.providers(name);
    let mut providers: Vec<_> =
        all.into_iter().filter(|&id| lookup.candidate(lookup.name_of(id)) == Some(id)).collect();
    providers.dedup();
    let text = lookup.text(name).to_owned();
    match providers.as_slice() {
        [] => Err(Unsolvable::NoCandidate { name: text }),
        [only] => Ok(*only),
        several => {
            let mut providers: Vec<_> =
                several.iter().map(|&id| lookup.package(id).name.clone()).collect();
            providers.sort_unstable();
            Err(Unsolvable::Virtual { name: text, providers })
        }
    }
}
