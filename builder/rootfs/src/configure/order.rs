//! Which packages there are, and the order of their preinsts.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use crate::{Error, Stanza, database, tree::Tree};

/// A package of dpkg's status file.
#[derive(Debug, Default)]
pub(super) struct Installed {
    pub(super) name: String,
    pub(super) architecture: String,
    pub(super) version: String,
    multi_arch_same: bool,
    essential: bool,
    pre_depends: Vec<String>,
    depends: Vec<String>,
    provides: Vec<String>,
}

impl Installed {
    fn new(stanza: &Stanza) -> Self {
        let text = |field| stanza.get(field).unwrap_or_default().to_owned();
        Self {
            name: text("Package"),
            architecture: text("Architecture"),
            version: text("Version"),
            multi_arch_same: text("Multi-Arch") == "same",
            essential: text("Essential") == "yes",
            pre_depends: names(&text("Pre-Depends")),
            depends: names(&text("Depends")),
            provides: names(&text("Provides")),
        }
    }

    /// One of its files below `info`, from the tree's top.
    pub(super) fn script(&self, suffix: &str) -> PathBuf {
        let architecture =
            if self.multi_arch_same { format!(":{}", self.architecture) } else { String::new() };
        PathBuf::from(format!("{}/info/{}{architecture}.{suffix}", database::FOLDER, self.name))
    }
}

/// The packages that a field names. Of alternatives any may be the one that is there: all are
/// returned.
fn names(field: &str) -> Vec<String> {
    let parts = field.split([',', '|']).filter_map(|part| part.split([':', '(']).next());
    parts.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// All packages, in the status file's order.
pub(super) fn read(tree: &Tree) -> Result<Vec<Installed>, Error> {
    Ok(read_stanzas(tree)?.iter().map(Installed::new).collect())
}

/// dpkg's status file.
pub(super) fn read_stanzas(tree: &Tree) -> Result<Vec<Stanza>, Error> {
    let path = Path::new(database::FOLDER).join("status");
    let text = String::from_utf8_lossy(&tree.read(&path)?).into_owned();
    Stanza::parse_all(&text)
        .map_err(|problem| Error::Malformed { path: crate::tree::shown(&path), problem })
}

/// base-passwd, the essential packages, then the rest; each after those it pre-depends on.
pub(super) fn preinst_order(packages: &[Installed]) -> Vec<&Installed> {
    let mut first: Vec<&Installed> = packages.iter().collect();
    first.sort_by_key(|package| (package.name != "base-passwd", !package.essential));
    let by_name = packages.iter().map(|package| (package.name.as_str(), package)).collect();
    let mut order = Order { by_name, seen: HashSet::new(), packages: Vec::new() };
    // The accounts come before all, whatever base-passwd itself pre-depends on: its preinst is made
    // to run in an empty system.
    if let Some(base) = first.first().filter(|package| package.name == "base-passwd") {
        order.seen.insert(&base.name);
        order.packages.push(base);
    }
    for package in first {
        order.visit(package);
    }
    order.packages
}

/// The essential packages and all that they depend on, by the names that dpkg knows them by.
pub(super) fn essential(packages: &[Installed]) -> Vec<String> {
    let mut by_name: HashMap<&str, Vec<&Installed>> = HashMap::new();
    for package in packages {
        for name in package.provides.iter().chain([&package.name]) {
            by_name.entry(name).or_default().push(package);
        }
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut todo: Vec<&Installed> = packages.iter().filter(|package| package.essential).collect();
    while let Some(package) = todo.pop() {
        if seen.insert((&package.name, &package.architecture)) {
            found.push(format!("{}:{}", package.name, package.architecture));
            let names = package.depends.iter().chain(&package.pre_depends);
            todo.extend(names.filter_map(|name| by_name.get(name.as_str())).flatten());
        }
    }
    found.sort();
    found
}

struct Order<'a> {
    by_name: HashMap<&'a str, &'a Installed>,
    seen: HashSet<&'a str>,
    packages: Vec<&'a Installed>,
}

impl<'a> Order<'a> {
    fn visit(&mut self, package: &'a Installed) {
        if !self.seen.insert(&package.name) {
            return;
        }
        for name in &package.pre_depends {
            if let Some(before) = self.by_name.get(name.as_str()).copied() {
                self.visit(before);
            }
        }
        self.packages.push(package);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_on_comes_first() {
        let text = "Package: a\nPre-Depends: z (>= 1), other | m:any\n\nPackage: base-passwd\n\
                    Pre-Depends: libx\n\nPackage: e\nEssential: yes\nPre-Depends: e2\n\n\
                    Package: e2\nPre-Depends: e\n\nPackage: libx\n\nPackage: m\n\nPackage: z\n";
        let packages: Vec<_> =
            Stanza::parse_all(text).unwrap().iter().map(Installed::new).collect();
        let order: Vec<_> = preinst_order(&packages).iter().map(|p| p.name.as_str()).collect();
        assert_eq!(order, ["base-passwd", "e2", "e", "z", "m", "a", "libx"]);
    }

    #[test]
    fn what_is_essential_brings_what_it_needs() {
        let text = "Package: e\nEssential: yes\nArchitecture: all\nDepends: a (>= 1) | none, v:any\n\n\
                    Package: a\nArchitecture: amd64\nDepends: e\n\nPackage: other\n\n\
                    Package: p\nArchitecture: amd64\nProvides: v (= 1)\n";
        let packages: Vec<_> =
            Stanza::parse_all(text).unwrap().iter().map(Installed::new).collect();
        assert_eq!(essential(&packages), ["a:amd64", "e:all", "p:amd64"]);
    }

    #[test]
    fn scripts_are_named_as_dpkg_names_them() {
        for (text, expected) in [
            ("Package: a\nArchitecture: amd64", "var/lib/dpkg/info/a.preinst"),
            (
                "Package: a\nArchitecture: amd64\nMulti-Arch: same",
                "var/lib/dpkg/info/a:amd64.preinst",
            ),
        ] {
            let package = Installed::new(&Stanza::parse(text).unwrap());
            assert_eq!(package.script("preinst"), Path::new(expected));
        }
    }
}
