//! Proves a set of packages: every relation is looked at again, from the fields' text, sharing
//! nothing with what made the set.

use std::collections::HashMap;

use super::PackageSet;
use crate::{
    Package,
    relation::{self, Clause, Relation},
};

/// The first relation of `set` that does not hold, in words; None where all hold.
pub(super) fn violation(set: &PackageSet, architecture: &str) -> Option<String> {
    let world = World::of(set, architecture);
    set.selected.iter().find_map(|selected| world.violated_by(&selected.package))
}

struct World<'a> {
    architecture: &'a str,
    /// Who has a name, with the version had: the package itself, or a provider.
    offers: HashMap<&'a str, Vec<Offer<'a>>>,
}

struct Offer<'a> {
    package: &'a Package,
    version: Option<&'a str>,
    qualifier: Option<&'a str>,
}

impl<'a> World<'a> {
    fn of(set: &'a PackageSet, architecture: &'a str) -> Self {
        let mut offers: HashMap<&str, Vec<Offer<'_>>> = HashMap::new();
        for package in set.selected.iter().map(|s| &s.package) {
            let own = Offer { package, version: Some(&package.version), qualifier: None };
            offers.entry(&package.name).or_default().push(own);
            for p in relation::provisions(&package.provides).flatten() {
                offers.entry(p.name).or_default().push(Offer {
                    package,
                    version: p.version,
                    qualifier: p.qualifier,
                });
            }
        }
        Self { architecture, offers }
    }

    fn violated_by(&self, package: &Package) -> Option<String> {
        let lacking = [&package.pre_depends, &package.depends]
            .into_iter()
            .flat_map(|field| relation::clauses(field))
            .find_map(|clause| match clause {
                Ok(clause) if self.holds(&clause) => None,
                Ok(clause) => Some(format!("{} depends on {}", package.name, clause.text)),
                Err(error) => Some(error.to_string()),
            });
        let refusing = [&package.conflicts, &package.breaks]
            .into_iter()
            .flat_map(|field| relation::clauses(field))
            .find_map(|clause| match clause {
                Ok(clause) => self.refused(&clause, package).map(|other| {
                    format!("{} conflicts with {}, as {other}", package.name, clause.text)
                }),
                Err(error) => Some(error.to_string()),
            });
        lacking.or(refusing)
    }

    fn holds(&self, clause: &Clause<'_>) -> bool {
        let mut relevant =
            clause.alternatives.iter().filter(|r| r.applies(self.architecture)).peekable();
        relevant.peek().is_none()
            || relevant.any(|relation| self.satisfying(relation).next().is_some())
    }

    fn refused(&self, clause: &Clause<'_>, by: &Package) -> Option<&'a str> {
        let relevant = clause.alternatives.iter().filter(|r| r.applies(self.architecture));
        relevant
            .flat_map(|relation| self.satisfying(relation))
            .find(|p| p.name != by.name)
            .map(|p| p.name.as_str())
    }

    fn satisfying<'s>(
        &'s self,
        relation: &'s Relation<'_>,
    ) -> impl Iterator<Item = &'a Package> + use<'s, 'a> {
        let native = move |qualifier: Option<&str>| {
            qualifier.is_none_or(|q| q == "native" || q == self.architecture)
        };
        let offers = self.offers.get(relation.name).into_iter().flatten();
        let reached = offers.filter(move |offer| match relation.qualifier {
            Some("any") => offer.qualifier == Some("any") || offer.package.multi_arch == "allowed",
            qualifier => native(qualifier) && native(offer.qualifier),
        });
        reached.filter(|offer| relation.admits(offer.version)).map(|offer| offer.package)
    }
}
