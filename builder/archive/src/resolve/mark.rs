//! apt's answer: packages are marked for installation depth first, as `apt-get install` does on
//! an empty system. Who is marked first decides what a later clause finds satisfied, so the order
//! of the steps is part of the answer:
//!
//! 1. what was requested is marked and protected, then completed in the order requested;
//! 2. before a package is marked, packages it conflicts with are unmarked, or it gives way to
//!    those that are protected;
//! 3. its clauses are taken in order (Pre-Depends, Depends, Recommends); one that nothing marked
//!    satisfies tries its alternatives in order, the providers of each sorted by preference;
//! 4. a package that cannot be completed is given up for good, and the next alternative tried;
//! 5. what nothing requested leads to in the end is swept out.
//!
//! Protection spreads from a protected package along clauses that leave no choice.

use std::cmp::Reverse;

use super::{
    Unsolvable,
    lookup::{Alternative, Lookup, NameId, Need, PackageId},
};

/// How deep marking follows dependencies; ours, to bound the stack (apt stops at 3000; the
/// deepest seen in Debian 12 is below 200).
const DEPTH_LIMIT: usize = 1000;

/// Marks `packages`, in their order, and all they lead to. The answer is apt's where apt has one,
/// but it is not certain to satisfy every relation: check it.
pub(super) fn mark(
    lookup: &Lookup<'_>,
    excluded: &[NameId],
    packages: &[PackageId],
    recommends: bool,
) -> Result<Vec<PackageId>, Unsolvable> {
    let candidates =
        lookup.names().map(|name| State { candidate: lookup.candidate(name), ..State::default() });
    let mut marks = Marks { lookup, recommends, states: candidates.collect() };
    for name in excluded {
        marks.states[name.0] = State { protected: true, ..State::default() };
    }
    for &package in packages {
        let name = lookup.name_of(package);
        marks.states[name.0] = State { candidate: Some(package), marked: true, protected: true };
    }
    for &package in packages {
        marks.complete(lookup.name_of(package), true, 0)?;
    }
    marks.sweep(packages)
}

struct Marks<'l, 'a> {
    lookup: &'l Lookup<'a>,
    recommends: bool,
    states: Vec<State>,
}

#[derive(Default, Clone, Copy)]
struct State {
    /// None also where it was given up.
    candidate: Option<PackageId>,
    marked: bool,
    /// Cannot be changed any more.
    protected: bool,
}

impl<'l, 'a> Marks<'l, 'a> {
    /// Marks `name` and what it depends on; false where that cannot be.
    fn install(&mut self, name: NameId, depth: usize) -> Result<bool, Unsolvable> {
        let state = self.states[name.0];
        if depth > DEPTH_LIMIT || state.candidate.is_none() || (state.protected && !state.marked) {
            return Ok(false);
        }
        if state.marked && !state.protected && !self.is_broken(name)? {
            return Ok(true);
        }
        self.complete(name, false, depth)
    }

    fn complete(
        &mut self,
        name: NameId,
        requested: bool,
        depth: usize,
    ) -> Result<bool, Unsolvable> {
        let State { candidate: Some(candidate), protected, .. } = self.states[name.0] else {
            return Ok(false);
        };
        let needs = self.lookup.needs(candidate)?;
        if needs.wants.iter().any(|need| need.critical && !self.is_possible(need)) {
            if !protected {
                self.give_up(name);
            }
            return Ok(false);
        }
        let wanted: Vec<_> = needs
            .wants
            .iter()
            .filter(|need| self.counts(need) && (protected || !self.is_satisfied(need)))
            .collect();
        let refused: Vec<_> =
            needs.refuses.iter().filter(|need| protected || self.is_satisfied(need)).collect();
        let lenient = protected || requested;
        let cleared = self.clear(&refused, protected, lenient);
        if !cleared && !lenient {
            return Ok(false);
        }
        self.states[name.0].marked = true;
        self.states[name.0].protected = true;
        let filled = self.fill(&wanted, protected, lenient, depth)?;
        self.states[name.0].protected = protected;
        if !filled && !lenient {
            self.give_up(name);
        }
        Ok(cleared && filled)
    }

    /// Unmarks what is in conflict; false where some of it is protected. For a protected package
    /// it stays out for good.
    fn clear(&mut self, refused: &[&Need<'a>], protected: bool, lenient: bool) -> bool {
        let mut cleared = true;
        for need in refused {
            for target in need.targets() {
                let state = &mut self.states[self.lookup.name_of(target).0];
                if state.candidate != Some(target) {
                    continue;
                }
                if state.marked && state.protected {
                    cleared = false;
                    if !lenient {
                        return false;
                    }
                } else if protected {
                    *state = State { protected: true, ..State::default() };
                } else {
                    state.marked = false;
                }
            }
        }
        cleared
    }

    /// Satisfies each clause; false where one that is critical cannot be.
    fn fill(
        &mut self,
        wanted: &[&Need<'a>],
        protected: bool,
        lenient: bool,
        depth: usize,
    ) -> Result<bool, Unsolvable> {
        let mut filled = true;
        for need in wanted {
            let done = match self.is_satisfied(need) {
                true => !protected || !need.critical || self.protect_only_choice(need, depth)?,
                false => self.choose(need, protected, depth)? || !need.critical,
            };
            filled &= done;
            if !filled && !lenient {
                return Ok(false);
            }
        }
        Ok(filled)
    }

    fn protect_only_choice(&mut self, need: &Need<'a>, depth: usize) -> Result<bool, Unsolvable> {
        let &[only] = self.solutions(need).as_slice() else { return Ok(true) };
        let name = self.lookup.name_of(only);
        if std::mem::replace(&mut self.states[name.0].protected, true) {
            return Ok(true);
        }
        self.install(name, depth + 1)
    }

    fn choose(
        &mut self,
        need: &Need<'a>,
        protected: bool,
        depth: usize,
    ) -> Result<bool, Unsolvable> {
        let only = protected && need.critical && self.solutions(need).len() == 1;
        for alternative in &need.alternatives {
            let mut solutions: Vec<_> = self.open(alternative).collect();
            while let Some(choice) = self.take_preferred(alternative, &mut solutions) {
                let name = self.lookup.name_of(choice);
                if self.states[name.0].candidate != Some(choice) {
                    continue;
                }
                if only {
                    self.states[name.0].marked = true;
                    self.states[name.0].protected = true;
                }
                if self.install(name, depth + 1)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// What may still be installed, each once.
    fn solutions(&self, need: &Need<'a>) -> Vec<PackageId> {
        let mut solutions: Vec<_> =
            need.alternatives.iter().flat_map(|alternative| self.open(alternative)).collect();
        solutions.sort_unstable();
        solutions.dedup();
        solutions
    }

    fn open(&self, alternative: &Alternative) -> impl Iterator<Item = PackageId> {
        alternative.targets.iter().copied().filter(|&target| {
            let state = self.state(target);
            state.candidate == Some(target) && (state.marked || !state.protected)
        })
    }

    /// Takes out what apt would try first: what is protected, the package of that very name, an
    /// essential one, the one of highest priority; of equals the one mentioned last.
    fn take_preferred(
        &self,
        alternative: &Alternative,
        solutions: &mut Vec<PackageId>,
    ) -> Option<PackageId> {
        let merit = |target: PackageId| {
            let package = self.lookup.package(target);
            let same_name = Some(self.lookup.name_of(target)) == alternative.name;
            (
                self.state(target).protected,
                same_name,
                package.essential,
                Reverse(priority(&package.priority)),
            )
        };
        let best = solutions.iter().map(|&target| merit(target)).max()?;
        let mut equals = (0..solutions.len()).filter(|&i| merit(solutions[i]) == best);
        let first = equals.next()?;
        // Mentions are costly to count, and few choices need them.
        let chosen = match equals.next() {
            None => first,
            Some(second) => [first, second]
                .into_iter()
                .chain(equals)
                .max_by_key(|&i| self.lookup.mention(self.lookup.name_of(solutions[i])))?,
        };
        Some(solutions.remove(chosen))
    }

    fn give_up(&mut self, name: NameId) {
        let state = &mut self.states[name.0];
        (state.candidate, state.marked) = (None, false);
    }

    fn state(&self, package: PackageId) -> State {
        self.states[self.lookup.name_of(package).0]
    }

    fn is_marked(&self, package: PackageId) -> bool {
        let state = self.state(package);
        state.marked && state.candidate == Some(package)
    }

    fn counts(&self, need: &Need<'a>) -> bool {
        need.critical || self.recommends
    }

    fn is_satisfied(&self, need: &Need<'a>) -> bool {
        need.targets().any(|target| self.is_marked(target))
    }

    fn is_possible(&self, need: &Need<'a>) -> bool {
        need.targets().any(|target| self.state(target).candidate == Some(target))
    }

    fn is_broken(&self, name: NameId) -> Result<bool, Unsolvable> {
        let Some(candidate) = self.states[name.0].candidate else { return Ok(false) };
        let needs = self.lookup.needs(candidate)?;
        let lacks = needs.wants.iter().any(|need| self.counts(need) && !self.is_satisfied(need));
        Ok(lacks || needs.refuses.iter().any(|need| self.is_satisfied(need)))
    }

    /// What is marked and led to by a root or an essential package, be it by a suggestion.
    fn sweep(&self, roots: &[PackageId]) -> Result<Vec<PackageId>, Unsolvable> {
        let marked =
            self.states.iter().filter(|state| state.marked).filter_map(|state| state.candidate);
        let essential = marked.filter(|&id| self.lookup.package(id).essential);
        let mut open: Vec<_> = roots.iter().copied().chain(essential).collect();
        let mut kept = vec![false; self.states.len()];
        let mut result = Vec::new();
        while let Some(id) = open.pop() {
            if !self.is_marked(id) || std::mem::replace(&mut kept[self.lookup.name_of(id).0], true)
            {
                continue;
            }
            result.push(id);
            open.extend(self.lookup.needs(id)?.wants.iter().flat_map(Need::targets));
            open.extend(self.lookup.suggested(id));
        }
        Ok(result)
    }
}

/// Lower is preferred; a package without one comes first, as in apt.
fn priority(text: &str) -> usize {
    const ORDER: [&str; 5] = ["", "required", "important", "standard", "optional"];
    ORDER.iter().position(|&p| p == text).unwrap_or(ORDER.len())
}
