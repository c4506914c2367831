//! Why a request has no solution, told as a person would look for it.
//!
//! First for a dependency that no candidate satisfies, whatever else is chosen; then, following
//! only what leaves no choice, for two packages that exclude each other. What is left after both
//! depends on combinations of choices, and the solver's own account has to do.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    Unsolvable,
    error::{Chain, Conflict},
    lookup::{Lookup, Need, PackageId},
    reason::Reason,
    request::Roots,
};

/// The cause, given the solver's `account` of it.
pub(super) fn explain(lookup: &Lookup<'_>, roots: &Roots, account: &str) -> Unsolvable {
    let mut search = Search {
        lookup,
        roots,
        dead: HashMap::new(),
        forced: BTreeMap::new(),
        banned: HashMap::new(),
    };
    let found = search.missing().and_then(|missing| match missing {
        Some(missing) => Ok(Some(missing)),
        None => search.conflict(),
    });
    match found {
        Ok(Some(cause)) | Err(cause) => cause,
        Ok(None) => Unsolvable::NoCombination {
            explanation: account.split_whitespace().collect::<Vec<_>>().join(" "),
        },
    }
}

struct Search<'l, 'a> {
    lookup: &'l Lookup<'a>,
    roots: &'l Roots,
    /// What cannot be installed at all, with the clause that fails, by the order of finding out.
    dead: HashMap<PackageId, (usize, &'l Need<'a>)>,
    /// What every solution must have, with the package that asks for it.
    forced: BTreeMap<PackageId, Option<PackageId>>,
    /// What a forced package excludes.
    banned: HashMap<PackageId, (PackageId, &'l str)>,
}

impl<'l, 'a> Search<'l, 'a> {
    /// A root that cannot be installed, whatever else is, traced to the clause nothing satisfies.
    fn missing(&mut self) -> Result<Option<Unsolvable>, Unsolvable> {
        let reachable = self.reachable()?;
        loop {
            let before = self.dead.len();
            for &id in &reachable {
                let wants = &self.lookup.needs(id)?.wants;
                let failing =
                    wants.iter().find(|need| need.critical && self.alive(need).is_empty());
                if let Some(need) = failing.filter(|_| !self.dead.contains_key(&id)) {
                    self.dead.insert(id, (self.dead.len(), need));
                }
            }
            if self.dead.len() == before {
                break;
            }
        }
        let root = self.roots.reasons.iter().find(|(id, _)| self.dead.contains_key(id));
        Ok(root.map(|(id, reason)| self.trace(*id, *reason == Reason::Essential)))
    }

    fn reachable(&self) -> Result<Vec<PackageId>, Unsolvable> {
        let mut found: Vec<_> = self.roots.packages();
        let mut seen: std::collections::HashSet<_> = found.iter().copied().collect();
        let mut next = 0;
        while let Some(&id) = found.get(next) {
            next += 1;
            for need in self.lookup.needs(id)?.wants.iter().filter(|need| need.critical) {
                found.extend(
                    self.roots.candidates(self.lookup, need).filter(|&target| seen.insert(target)),
                );
            }
        }
        Ok(found)
    }

    /// Follows, from a dead root, the clause that failed first.
    fn trace(&self, root: PackageId, essential: bool) -> Unsolvable {
        let mut dependents = vec![self.name(root)];
        let mut package = root;
        loop {
            let (_, need) = self.dead[&package];
            let dead =
                self.roots.candidates(self.lookup, need).filter(|id| self.dead.contains_key(id));
            let Some(first) = dead.min_by_key(|id| self.dead[id].0) else {
                dependents.reverse();
                return Unsolvable::Missing {
                    relation: need.text.to_owned(),
                    available: self.available(need),
                    instead: need.targets().next().map(|id| self.versioned(id)),
                    chain: Chain { dependents, essential },
                };
            };
            dependents.push(self.name(first));
            package = first;
        }
    }

    /// The versions there are of what `need` names.
    fn available(&self, need: &Need<'_>) -> Vec<String> {
        let names = need.alternatives.iter().filter_map(|alternative| alternative.name);
        names.flat_map(|name| self.lookup.versions(name)).map(|&id| self.versioned(id)).collect()
    }

    fn versioned(&self, id: PackageId) -> String {
        let package = self.lookup.package(id);
        format!("{}={}", package.name, package.version)
    }

    /// Two packages that exclude each other, both needed without a choice.
    fn conflict(&mut self) -> Result<Option<Unsolvable>, Unsolvable> {
        let mut open: VecDeque<(PackageId, Option<PackageId>)> =
            self.roots.reasons.iter().map(|&(id, _)| (id, None)).collect();
        loop {
            while let Some((id, by)) = open.pop_front() {
                if let Some(conflict) = self.force(id, by)? {
                    return Ok(Some(conflict));
                }
                open.extend(self.implied(id)?);
            }
            let forced: Vec<_> = self.forced.keys().copied().collect();
            for id in forced {
                match self.refuted(id)? {
                    Some(conflict) => return Ok(Some(conflict)),
                    None => open.extend(self.implied(id)?),
                }
            }
            if open.is_empty() {
                return Ok(None);
            }
        }
    }

    fn force(
        &mut self,
        id: PackageId,
        by: Option<PackageId>,
    ) -> Result<Option<Unsolvable>, Unsolvable> {
        if self.forced.contains_key(&id) {
            return Ok(None);
        }
        self.forced.insert(id, by);
        if let Some(&(other, text)) = self.banned.get(&id) {
            return Ok(Some(self.exclusion(other, id, text, self.chain(id))));
        }
        for need in &self.lookup.needs(id)?.refuses {
            for target in self.roots.candidates(self.lookup, need) {
                self.banned.entry(target).or_insert((id, need.text));
                if self.forced.contains_key(&target) {
                    return Ok(Some(self.exclusion(id, target, need.text, self.chain(target))));
                }
            }
        }
        Ok(None)
    }

    /// What `id` leaves no choice about, and nothing forced yet provides.
    fn implied(&self, id: PackageId) -> Result<Vec<(PackageId, Option<PackageId>)>, Unsolvable> {
        let wants = self.lookup.needs(id)?.wants.iter().filter(|need| need.critical);
        let only = wants.filter_map(|need| match self.open(need).as_slice() {
            &[only] if !self.forced.contains_key(&only) => Some((only, Some(id))),
            _ => None,
        });
        Ok(only.collect())
    }

    /// A clause of `id` whose every candidate is excluded by something forced.
    fn refuted(&self, id: PackageId) -> Result<Option<Unsolvable>, Unsolvable> {
        let mut wants = self.lookup.needs(id)?.wants.iter().filter(|need| need.critical);
        let Some(need) = wants.find(|need| self.open(need).is_empty()) else { return Ok(None) };
        Ok(self.alive(need).first().map(|&target| {
            let (other, text) = self.banned[&target];
            let mut right_chain = self.chain(id);
            right_chain.dependents.insert(0, self.name(id));
            self.exclusion(other, target, text, right_chain)
        }))
    }

    fn exclusion(
        &self,
        left: PackageId,
        right: PackageId,
        text: &str,
        right_chain: Chain,
    ) -> Unsolvable {
        Unsolvable::Conflict(Box::new(Conflict {
            left: self.name(left),
            right: self.name(right),
            relation: text.to_owned(),
            left_chain: self.chain(left),
            right_chain,
        }))
    }

    /// Who leads to `id`, without `id` itself.
    fn chain(&self, id: PackageId) -> Chain {
        let mut root = id;
        let mut dependents = Vec::new();
        while let Some(&Some(by)) = self.forced.get(&root) {
            dependents.push(self.name(by));
            root = by;
        }
        let essential = self
            .roots
            .reasons
            .iter()
            .any(|(id, reason)| *id == root && *reason == Reason::Essential);
        Chain { dependents, essential }
    }

    fn alive(&self, need: &Need<'_>) -> Vec<PackageId> {
        let mut alive: Vec<_> = self
            .roots
            .candidates(self.lookup, need)
            .filter(|id| !self.dead.contains_key(id))
            .collect();
        alive.sort_unstable();
        alive.dedup();
        alive
    }

    fn open(&self, need: &Need<'_>) -> Vec<PackageId> {
        self.alive(need).into_iter().filter(|id| !self.banned.contains_key(id)).collect()
    }

    fn name(&self, id: PackageId) -> String {
        self.lookup.package(id).name.clone()
    }
}
