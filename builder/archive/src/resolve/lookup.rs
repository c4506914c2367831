//! What the resolver looks up: packages by name, their providers, and who satisfies a clause.
//!
//! A name's candidate is fixed before anything is resolved, as apt_preferences(5) has it: the
//! version pinned highest, then the highest version. Relations are parsed when first reached.

use std::{cell::OnceCell, collections::HashMap};

use super::Unsolvable;
use crate::{
    Package,
    relation::{self, Relation},
    version,
};

/// A position in the list of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PackageId(pub(super) usize);

/// A package name, real or only provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameId(pub(super) usize);

pub(super) struct Lookup<'a> {
    packages: &'a [Package],
    architecture: &'a str,
    ids: HashMap<&'a str, NameId>,
    names: Vec<Name<'a>>,
    name_of: Vec<NameId>,
    needs: Vec<OnceCell<Needs<'a>>>,
    mentions: OnceCell<Vec<usize>>,
}

struct Name<'a> {
    text: &'a str,
    versions: Vec<PackageId>,
    candidate: Option<PackageId>,
    providers: Vec<Provider<'a>>,
}

#[derive(Clone, Copy)]
struct Provider<'a> {
    package: PackageId,
    version: Option<&'a str>,
    /// It stands in Provides as `name:any`.
    any: bool,
}

/// The relations of one package that count for the resolver.
#[derive(Default)]
pub(super) struct Needs<'a> {
    /// Pre-Depends, Depends, Recommends, in this order.
    pub(super) wants: Vec<Need<'a>>,
    /// Conflicts, Breaks.
    pub(super) refuses: Vec<Need<'a>>,
}

/// A clause and who satisfies it.
pub(super) struct Need<'a> {
    /// The clause as written.
    pub(super) text: &'a str,
    /// False for Recommends.
    pub(super) critical: bool,
    pub(super) alternatives: Vec<Alternative>,
}

pub(super) struct Alternative {
    /// The name asked for, where a package or a provider has it as it stands: to apt `name:any`
    /// is another one.
    pub(super) name: Option<NameId>,
    /// Every version of every package that satisfies it.
    pub(super) targets: Vec<PackageId>,
}

impl Need<'_> {
    pub(super) fn targets(&self) -> impl Iterator<Item = PackageId> + '_ {
        self.alternatives.iter().flat_map(|a| a.targets.iter().copied())
    }
}

impl<'a> Lookup<'a> {
    pub(super) fn new(packages: &'a [Package], architecture: &'a str) -> Self {
        let mut this = Self {
            packages,
            architecture,
            ids: HashMap::with_capacity(packages.len() * 2),
            names: Vec::with_capacity(packages.len() * 2),
            name_of: Vec::with_capacity(packages.len()),
            needs: std::iter::repeat_with(OnceCell::new).take(packages.len()).collect(),
            mentions: OnceCell::new(),
        };
        for (i, package) in packages.iter().enumerate() {
            this.add(PackageId(i), package);
        }
        this
    }

    pub(super) fn package(&self, id: PackageId) -> &'a Package {
        &self.packages[id.0]
    }

    pub(super) fn find(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = NameId> + use<> {
        (0..self.names.len()).map(NameId)
    }

    pub(super) fn text(&self, name: NameId) -> &'a str {
        self.names[name.0].text
    }

    pub(super) fn name_of(&self, package: PackageId) -> NameId {
        self.name_of[package.0]
    }

    pub(super) fn versions(&self, name: NameId) -> &[PackageId] {
        &self.names[name.0].versions
    }

    pub(super) fn candidate(&self, name: NameId) -> Option<PackageId> {
        self.names[name.0].candidate
    }

    /// The packages that provide `name`, whatever version of it, each once.
    pub(super) fn providers(&self, name: NameId) -> Vec<PackageId> {
        let mut providers: Vec<_> =
            self.names[name.0].providers.iter().map(|p| p.package).collect();
        providers.dedup();
        providers
    }

    /// The relations of `package`, parsed once.
    pub(super) fn needs(&self, package: PackageId) -> Result<&Needs<'a>, Unsolvable> {
        let cell = &self.needs[package.0];
        match cell.get() {
            Some(needs) => Ok(needs),
            None => {
                let needs = self.parse_needs(package)?;
                Ok(cell.get_or_init(|| needs))
            }
        }
    }

    /// Every package that `Suggests` of `package` could mean; what does not parse means nothing.
    pub(super) fn suggested(&self, package: PackageId) -> Vec<PackageId> {
        let clauses = relation::clauses(&self.package(package).suggests).flatten();
        clauses.flat_map(|c| c.alternatives).flat_map(|r| self.targets(&r, None)).collect()
    }

    /// How late the index first mentions `name`, in whatever field: apt numbers names so, and
    /// prefers the last of providers that are equal in all else.
    pub(super) fn mention(&self, name: NameId) -> usize {
        self.mentions.get_or_init(|| self.count_mentions())[name.0]
    }

    fn add(&mut self, id: PackageId, package: &'a Package) {
        let name = self.intern(&package.name);
        self.name_of.push(name);
        if package.architecture != self.architecture && package.architecture != "all" {
            return;
        }
        self.names[name.0].versions.push(id);
        let best = self.names[name.0].candidate;
        if package.pin > 0 && best.is_none_or(|best| precedes(package, self.package(best))) {
            self.names[name.0].candidate = Some(id);
        }
        for provision in relation::provisions(&package.provides).flatten() {
            let any = provision.qualifier == Some("any");
            if any || self.is_native(provision.qualifier) {
                let name = self.intern(provision.name);
                self.names[name.0].providers.push(Provider {
                    package: id,
                    version: provision.version,
                    any,
                });
            }
        }
    }

    fn intern(&mut self, text: &'a str) -> NameId {
        *self.ids.entry(text).or_insert_with(|| {
            self.names.push(Name {
                text,
                versions: Vec::new(),
                candidate: None,
                providers: Vec::new(),
            });
            NameId(self.names.len() - 1)
        })
    }

    fn is_native(&self, qualifier: Option<&str>) -> bool {
        qualifier.is_none_or(|q| q == "native" || q == self.architecture)
    }

    fn parse_needs(&self, id: PackageId) -> Result<Needs<'a>, Unsolvable> {
        let package = self.package(id);
        let mut needs = Needs::default();
        for (field, text, critical) in [
            ("Pre-Depends", &package.pre_depends, true),
            ("Depends", &package.depends, true),
            ("Recommends", &package.recommends, false),
        ] {
            self.parse_field(id, field, text, critical, None, &mut needs.wants)?;
        }
        for (field, text) in [("Conflicts", &package.conflicts), ("Breaks", &package.breaks)] {
            self.parse_field(id, field, text, true, Some(self.name_of(id)), &mut needs.refuses)?;
        }
        Ok(needs)
    }

    fn parse_field(
        &self,
        id: PackageId,
        field: &'static str,
        text: &'a str,
        critical: bool,
        except: Option<NameId>,
        into: &mut Vec<Need<'a>>,
    ) -> Result<(), Unsolvable> {
        for clause in relation::clauses(text) {
            let clause = clause.map_err(|source| Unsolvable::BadField {
                package: self.package(id).name.clone(),
                field,
                source,
            })?;
            let alternatives: Vec<_> = clause
                .alternatives
                .iter()
                .filter(|relation| relation.applies(self.architecture))
                .map(|relation| Alternative {
                    name: self.find(relation.name).filter(|_| relation.qualifier.is_none()),
                    targets: self.targets(relation, except),
                })
                .collect();
            if !alternatives.is_empty() {
                into.push(Need { text: clause.text, critical, alternatives });
            }
        }
        Ok(())
    }

    /// Who satisfies `relation`, the package of the name itself before its providers, leaving out
    /// packages called `except`: no package conflicts with itself.
    fn targets(&self, relation: &Relation<'_>, except: Option<NameId>) -> Vec<PackageId> {
        let Some(id) = self.find(relation.name) else { return Vec::new() };
        let any = relation.qualifier == Some("any");
        if !any && !self.is_native(relation.qualifier) {
            return Vec::new();
        }
        let name = &self.names[id.0];
        let allowed = |package: PackageId| self.package(package).multi_arch == "allowed";
        let real =
            name.versions.iter().copied().filter(|&p| {
                (!any || allowed(p)) && relation.admits(Some(&self.package(p).version))
            });
        let reachable = |p: &&Provider<'_>| if any { p.any || allowed(p.package) } else { !p.any };
        let provided = name
            .providers
            .iter()
            .filter(reachable)
            .filter(|p| relation.admits(p.version))
            .map(|p| p.package);
        real.chain(provided).filter(|&p| except != Some(self.name_of(p))).collect()
    }

    fn count_mentions(&self) -> Vec<usize> {
        let mut mentions = vec![usize::MAX; self.names.len()];
        let mut next = 0..;
        let mut see = |name: NameId| {
            if mentions[name.0] == usize::MAX {
                mentions[name.0] = next.next().unwrap_or(usize::MAX);
            }
        };
        for (package, &name) in self.packages.iter().zip(&self.name_of) {
            see(name);
            mentioned(package).filter_map(|name| self.find(name)).for_each(&mut see);
        }
        mentions
    }
}

fn precedes(a: &Package, b: &Package) -> bool {
    a.pin.cmp(&b.pin).then_with(|| version::compare(&a.version, &b.version)).is_gt()
}

/// Every name in the relation fields, in the order in which apt reads them. Qualified names are
/// passed over: to apt `python3:any` is another name than `python3`.
fn mentioned(package: &Package) -> impl Iterator<Item = &str> {
    let fields = [
        &package.pre_depends,
        &package.depends,
        &package.conflicts,
        &package.breaks,
        &package.recommends,
        &package.suggests,
        &package.replaces,
        &package.enhances,
        &package.provides,
    ];
    fields.into_iter().flat_map(|field| field.split([',', '|'])).filter_map(|relation| {
        let relation = relation.trim_ascii_start();
        let end = relation.find([' ', '(', ':', '[', '<', '\n']).unwrap_or(relation.len());
        (!relation[end..].starts_with(':')).then_some(&relation[..end])
    })
}
