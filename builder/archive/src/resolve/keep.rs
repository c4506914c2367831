//! Resolving again with as little change as can be: what is locked stays, but for what is named and what that needs.
//!
//! A locked package is the only version of its name. The named ones are free to move to the archive's candidate, which may
//! not go together with what is locked: a dependency with a higher version, a package that says "exactly
//! this version of my library", one that breaks what is older. Who stands in the way is freed too, and so on,
//! until all go together or nobody is left to free.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    PackageSet, Request, Unsolvable,
    lookup::{Lookup, NameId, Need, PackageId},
    request::Roots,
    resolve,
};
use crate::{Package, relation};

/// The packages that `request` leads to, of `offered` and `locked`: a name of `locked` that is not in `freed` has the
/// locked version, as long as the rest allows it. What is freed need not stand in `locked`.
///
/// # Errors
/// Why there is no such set, even with everything freed that stands in the way.
pub fn resolve_keeping(
    offered: &[Package],
    locked: &[Package],
    freed: &BTreeSet<String>,
    request: &Request,
) -> Result<PackageSet, Unsolvable> {
    let mut freed = freed.clone();
    loop {
        let kept: BTreeMap<&str, &Package> = locked
            .iter()
            .filter(|package| !freed.contains(&package.name))
            .map(|package| (package.name.as_str(), package))
            .collect();
        // What is new to the set comes in only where what it has does not do: another provider is no reason to move.
        let known = |package: &&Package| {
            freed.contains(&package.name) || locked.iter().any(|l| l.name == package.name)
        };
        if !request.recommends
            && let Ok(set) = resolve(&choice(offered.iter().filter(known), &kept), request)
        {
            return Ok(set);
        }
        let packages = choice(offered.iter(), &kept);
        let error = match resolve(&packages, request) {
            Ok(set) => return Ok(set),
            Err(error) => error,
        };
        let blocking = blocking(&packages, &kept, request)?;
        if blocking.is_empty() {
            return Err(error);
        }
        freed.extend(blocking);
    }
}

/// What there is to choose from.
fn choice<'a>(
    offered: impl Iterator<Item = &'a Package>,
    kept: &BTreeMap<&str, &'a Package>,
) -> Vec<Package> {
    let others = offered.filter(|package| !kept.contains_key(package.name.as_str()));
    kept.values().copied().chain(others).cloned().collect()
}

/// The kept packages that do not go together with what the request leads to.
fn blocking(
    packages: &[Package],
    kept: &BTreeMap<&str, &Package>,
    request: &Request,
) -> Result<BTreeSet<String>, Unsolvable> {
    let lookup = Lookup::new(packages, &request.architecture);
    let roots = Roots::find(&lookup, request)?;
    let mut walk = Walk { lookup: &lookup, roots: &roots, kept, blocking: BTreeSet::new() };
    let reached = walk.follow_needs()?;
    walk.find_refusals(&reached)?;
    Ok(walk.blocking)
}

struct Walk<'a> {
    lookup: &'a Lookup<'a>,
    roots: &'a Roots,
    kept: &'a BTreeMap<&'a str, &'a Package>,
    blocking: BTreeSet<String>,
}

impl Walk<'_> {
    /// Everything that the request leads to; who lacks something, and whose version it is that does not do, blocks.
    fn follow_needs(&mut self) -> Result<BTreeSet<PackageId>, Unsolvable> {
        let mut open: VecDeque<_> = self.roots.packages().into();
        let mut reached: BTreeSet<_> = open.iter().copied().collect();
        while let Some(id) = open.pop_front() {
            for need in self.lookup.needs(id)?.wants.iter().filter(|need| need.critical) {
                match self.choose(need, &reached) {
                    Some(target) if reached.insert(target) => open.push_back(target),
                    Some(_) => {}
                    None => {
                        self.block(id);
                        self.block_named(need.text);
                    }
                }
            }
        }
        Ok(reached)
    }

    /// Who satisfies a need: one that is there, else one that is locked, else the first.
    fn choose(&self, need: &Need<'_>, reached: &BTreeSet<PackageId>) -> Option<PackageId> {
        let all: Vec<_> = self.roots.candidates(self.lookup, need).collect();
        let there = all.iter().find(|id| reached.contains(id));
        let kept = || all.iter().find(|id| self.is_kept(self.lookup.name_of(**id)));
        there.or_else(kept).or_else(|| all.first()).copied()
    }

    fn find_refusals(&mut self, reached: &BTreeSet<PackageId>) -> Result<(), Unsolvable> {
        for &id in reached {
            let refuses = &self.lookup.needs(id)?.refuses;
            for target in refuses.iter().flat_map(Need::targets).filter(|id| reached.contains(id)) {
                self.block(id);
                self.block(target);
            }
        }
        Ok(())
    }

    fn block(&mut self, id: PackageId) {
        let name = self.lookup.name_of(id);
        if self.is_kept(name) {
            self.blocking.insert(self.lookup.text(name).to_owned());
        }
    }

    /// Blocks whatever a clause names.
    fn block_named(&mut self, clause: &str) {
        let alternatives = relation::clauses(clause).flatten().flat_map(|c| c.alternatives);
        let named = alternatives.filter(|relation| self.kept.contains_key(relation.name));
        let named: Vec<_> = named.map(|relation| relation.name.to_owned()).collect();
        self.blocking.extend(named);
    }

    fn is_kept(&self, name: NameId) -> bool {
        self.kept.contains_key(self.lookup.text(name))
    }
}
