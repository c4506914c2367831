//! The complete search: the request as a SAT problem, for where apt's way finds nothing.
//!
//! Each candidate is a variable. A clause becomes "its package implies one of the candidates that
//! satisfy it", tried in the clause's order; Conflicts and Breaks become "not both".

use std::{cell::RefCell, fmt::Display};

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, DenseIndex, Dependencies,
    DependencyProvider, Interner, KnownDependencies, LogicalOperator, Problem, Requirement,
    SolvableId, Solver, SolverCache, StringId, UnsolvableOrCancelled, VersionSetId,
    VersionSetUnionId,
};

use super::{
    Unsolvable, explain,
    lookup::{Lookup, NameId, Need, PackageId},
    request::Roots,
};

/// Packages that satisfy every relation, or why there are none. Recommends are not followed.
pub(super) fn solve(lookup: &Lookup<'_>, roots: &Roots) -> Result<Vec<PackageId>, Unsolvable> {
    let searched = search(lookup, roots, &roots.packages());
    searched.map_err(|account| explain::explain(lookup, roots, &account))
}

/// The error is the solver's own account of why there is no solution.
fn search(
    lookup: &Lookup<'_>,
    roots: &Roots,
    wanted: &[PackageId],
) -> Result<Vec<PackageId>, String> {
    let requirements = wanted.iter().map(|&id| allow(lookup.name_of(id)).into()).collect();
    let mut solver = Solver::new(Universe { lookup, roots, unions: RefCell::default() });
    match solver.solve(Problem::new().requirements(requirements)) {
        Ok(solvables) => {
            let mut found: Vec<_> = solvables.into_iter().map(package).collect();
            found.sort_unstable();
            Ok(found)
        }
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            Err(conflict.display_user_friendly(&solver).to_string())
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => Err("the search was cancelled".to_owned()),
    }
}

/// What the solver sees: a name is its name, a package its solvable, and a name has two version
/// sets: its candidate, and nothing.
struct Universe<'l, 'a> {
    lookup: &'l Lookup<'a>,
    roots: &'l Roots,
    unions: RefCell<Vec<Vec<VersionSetId>>>,
}

impl Universe<'_, '_> {
    fn requirement(&self, need: &Need<'_>) -> ConditionalRequirement {
        let mut sets: Vec<_> = self
            .roots
            .candidates(self.lookup, need)
            .map(|id| allow(self.lookup.name_of(id)))
            .collect();
        sets.dedup();
        match sets.as_slice() {
            [] => forbid(NameId(0)).into(),
            [only] => (*only).into(),
            _ => {
                let mut unions = self.unions.borrow_mut();
                unions.push(sets);
                Requirement::Union(VersionSetUnionId::from_index(unions.len() - 1)).into()
            }
        }
    }
}

impl DependencyProvider for Universe<'_, '_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        if allows(set) == inverse { Vec::new() } else { candidates.to_vec() }
    }

    async fn get_candidates(&self, name: resolvo::NameId) -> Option<Candidates> {
        let candidate = self.roots.candidate(self.lookup, NameId(name.to_index()))?;
        Some(Candidates { candidates: vec![solvable(candidate)], ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, _: &mut [SolvableId]) {}

    async fn get_dependencies(&self, id: SolvableId) -> Dependencies {
        let Ok(needs) = self.lookup.needs(package(id)) else {
            return Dependencies::Unknown(StringId(0));
        };
        let requirements = needs
            .wants
            .iter()
            .filter(|need| need.critical)
            .map(|need| self.requirement(need))
            .collect();
        let refused =
            needs.refuses.iter().flat_map(|need| self.roots.candidates(self.lookup, need));
        let constrains = refused.map(|id| forbid(self.lookup.name_of(id))).collect();
        Dependencies::Known(KnownDependencies { requirements, constrains })
    }
}

impl Interner for Universe<'_, '_> {
    type NameId = resolvo::NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, id: SolvableId) -> impl Display + '_ {
        let package = self.lookup.package(package(id));
        format!("{} {}", package.name, package.version)
    }

    fn display_name(&self, name: resolvo::NameId) -> impl Display + '_ {
        self.lookup.text(NameId(name.to_index()))
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        if allows(set) { "" } else { "(not at all)" }
    }

    fn display_string(&self, _: StringId) -> impl Display + '_ {
        "its relations cannot be read"
    }

    fn version_set_name(&self, set: VersionSetId) -> resolvo::NameId {
        resolvo::NameId::from_index(set.to_index() / 2)
    }

    fn solvable_name(&self, id: SolvableId) -> resolvo::NameId {
        resolvo::NameId::from_index(self.lookup.name_of(package(id)).0)
    }

    fn version_sets_in_union(
        &self,
        union: VersionSetUnionId,
    ) -> impl Iterator<Item = VersionSetId> {
        self.unions.borrow()[union.to_index()].clone().into_iter()
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        // No relation has a condition, so the solver never asks.
        Condition::Binary(LogicalOperator::And, condition, condition)
    }
}

fn solvable(id: PackageId) -> SolvableId {
    SolvableId::from_index(id.0)
}

fn package(id: SolvableId) -> PackageId {
    PackageId(id.to_index())
}

fn allow(name: NameId) -> VersionSetId {
    VersionSetId::from_index(2 * name.0)
}

fn forbid(name: NameId) -> VersionSetId {
    VersionSetId::from_index(2 * name.0 + 1)
}

fn allows(set: VersionSetId) -> bool {
    set.to_index().is_multiple_of(2)
}
