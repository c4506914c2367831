//! What a new lock changes, for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Lock, Package};
use crate::differences::differences;

/// The difference of two locks, a line each. Displays as "nothing has changed" where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    lines: Vec<String>,
}

impl Changes {
    /// From one lock, if there was one, to another.
    pub(crate) fn between(before: Option<&Lock>, after: &Lock) -> Self {
        let Some(before) = before else {
            let (packages, ids) = (after.packages.len(), after.users.len() + after.groups.len());
            return Self { lines: vec![format!("{packages} packages and {ids} ids locked")] };
        };
        let mut lines = Vec::new();
        lines.extend(differences(&versions(before), &versions(after)));
        rebuilt(before, after, &mut lines);
        if before.base != after.base {
            lines.push(format!("base {} -> {}", before.base, after.base));
        }
        if before.asked != after.asked {
            lines.push("what the recipe asks the archive for".to_owned());
        }
        if before.epoch != after.epoch {
            lines.push(format!("epoch {} -> {}", before.epoch, after.epoch));
        }
        for (kind, was, is) in
            [("user", &before.users, &after.users), ("group", &before.groups, &after.groups)]
        {
            let shown = |ids: &BTreeMap<String, u32>| -> BTreeMap<_, _> {
                ids.iter().map(|(name, id)| (format!("{kind} {name}"), id.to_string())).collect()
            };
            lines.extend(differences(&shown(was), &shown(is)));
        }
        let digests = |lock: &Lock| -> BTreeMap<_, _> {
            lock.inputs.iter().map(|(path, sha256)| (path.clone(), short(sha256))).collect()
        };
        lines.extend(differences(&digests(before), &digests(after)));
        Self { lines }
    }
}

/// The versions of each package, a name in several of them with all.
fn versions(lock: &Lock) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in &lock.packages {
        let known = versions.entry(package.name.to_string()).or_default();
        known.insert(package.version.to_string());
    }
    let join = |versions: BTreeSet<String>| versions.into_iter().collect::<Vec<_>>().join(", ");
    versions.into_iter().map(|(name, versions)| (name, join(versions))).collect()
}

/// Packages that are called the same and are others: of other bytes, or from elsewhere.
fn rebuilt(before: &Lock, after: &Lock, lines: &mut Vec<String>) {
    let key = |p: &Package| (p.name.clone(), p.version.clone(), p.architecture.clone());
    let was: BTreeMap<_, _> =
        before.packages.iter().map(|package| (key(package), package)).collect();
    for package in &after.packages {
        let Some(old) = was.get(&key(package)) else { continue };
        let of = |p: &Package| format!("{} in {}", short(&p.sha256), p.suite);
        if of(old) != of(package) {
            let (name, version) = (&package.name, &package.version);
            lines.push(format!("{name} {version}: {} -> {}", of(old), of(package)));
        }
    }
}

fn short(digest: &coremax_fetch::Digest) -> String {
    digest.to_string()[..12].to_owned()
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines.is_empty() {
            true => f.write_str("nothing has changed"),
            false => f.write_str(&self.lines.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::locked::parse;

    use super::*;

    fn lock(packages: &[(&str, &str)], users: &str, sha256: char) -> Lock {
        let digest = sha256.to_string().repeat(64);
        let mut text = format!(
            "format = 1\nrecipe = \"a\"\nbase = \"debian-12\"\nepoch = 1\n[asked]\nimage = []\nexclude = []\n\
             recommends = false\ntools = []\nmachine = []\n[users]\n{users}\n[groups]\n[[input]]\n\
             path = \"overlays/a\"\nsha256 = \"{digest}\"\n"
        );
        for (name, version) in packages {
            text += &format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\narchitecture = \"all\"\nsuite = \"s\"\n\
                 pool = \"p\"\nsize = 1\ninstalled = 1\nsha256 = \"{digest}\"\nin = [\"image\"]\n"
            );
        }
        parse("a.lock", &text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_moved_came_and_went_is_told() {
        let before = lock(&[("a", "1"), ("b", "1"), ("c", "1")], "x = 100", 'a');
        let after = lock(&[("a", "2"), ("b", "1"), ("d", "1")], "x = 100\ny = 101", 'b');
        let changes = Changes::between(Some(&before), &after).to_string();
        let input = "overlays/a aaaaaaaaaaaa -> bbbbbbbbbbbb";
        let rebuilt = "b 1: aaaaaaaaaaaa in s -> bbbbbbbbbbbb in s";
        let moved = "a 1 -> 2\nc 1 removed\nd 1 added";
        assert_eq!(changes, format!("{moved}\n{rebuilt}\nuser y 101 added\n{input}"));
        assert_eq!(Changes::between(Some(&after), &after).to_string(), "nothing has changed");
        assert_eq!(Changes::between(None, &after).to_string(), "3 packages and 2 ids locked");
    }
}
