//! A resolved set of packages, as the steps need it: where each .deb will lie, and what pins it.

use std::{collections::BTreeMap, path::Path};

use coremax_archive::{PackageSet, Reason, Selected};
use coremax_fetch::{Cache, Digest, Input};
use coremax_publish::Package as Recorded;
use coremax_rootfs::Deb;

use crate::{fingerprint::Fingerprint, places::Places};

/// What identifies a package's bytes, and no relation of it to others.
pub(crate) struct Bare<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) architecture: &'a str,
    /// Bytes of the .deb.
    pub(crate) size: u64,
    /// KiB unpacked.
    pub(crate) installed: u64,
    pub(crate) digest: Digest,
}

impl Bare<'_> {
    /// As the resolver knows it, of the first source and without a path in it.
    pub(crate) fn package(&self) -> coremax_archive::Package {
        coremax_archive::Package {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            architecture: self.architecture.to_owned(),
            multi_arch: String::new(),
            essential: false,
            priority: String::new(),
            section: String::new(),
            pre_depends: String::new(),
            depends: String::new(),
            recommends: String::new(),
            suggests: String::new(),
            enhances: String::new(),
            conflicts: String::new(),
            breaks: String::new(),
            provides: String::new(),
            replaces: String::new(),
            filename: String::new(),
            size: self.size,
            installed_size: self.installed,
            digest: self.digest,
            phased: None,
            source: 0,
            pin: 500,
        }
    }
}

/// Packages with their .debs, sorted by name.
#[derive(Debug, Clone)]
pub struct Packages {
    /// The resolution, each package with its reason.
    pub set: PackageSet,
    /// The .debs as they are fetched, in the set's order.
    pub inputs: Vec<Input>,
    /// Where each of them lies once it is fetched, in the set's order.
    pub debs: Vec<Deb>,
    /// The suite that each comes from, in the set's order, by its [name](Places::suite).
    pub suites: Vec<String>,
}

impl Packages {
    /// The set, from these places, with the .debs in `cache`.
    pub(crate) fn new(set: PackageSet, places: &Places, cache: &Cache) -> Self {
        let packages = || set.selected.iter().map(|selected| &selected.package);
        let inputs = packages().map(|package| places.input(package)).collect();
        let suites = packages().map(|package| places.suite(package).to_owned()).collect();
        let deb = |p: &coremax_archive::Package| Deb {
            name: p.name.clone(),
            version: p.version.clone(),
            architecture: p.architecture.clone(),
            path: cache.path(&p.digest),
        };
        let debs = packages().map(deb).collect();
        Self { inputs, debs, suites, set }
    }

    /// The packages of a manifest, in its order, to be found in the cache or on the shelf of these places.
    pub(crate) fn from_manifest(packages: &[Recorded], places: &Places, cache: &Cache) -> Self {
        let selected = |recorded: &Recorded| Selected {
            package: Bare {
                name: &recorded.name,
                version: &recorded.version,
                architecture: &recorded.architecture,
                size: recorded.size,
                installed: recorded.installed,
                digest: recorded.sha256,
            }
            .package(),
            reason: Reason::Requested,
        };
        let set = PackageSet { selected: packages.iter().map(selected).collect() };
        Self::new(set, places, cache)
    }

    /// As a manifest lists them.
    pub(crate) fn to_manifest(&self) -> Vec<Recorded> {
        let packages = self.set.selected.iter().map(|selected| &selected.package);
        let recorded = |(package, suite): (&coremax_archive::Package, &String)| Recorded {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            archive: suite.clone(),
            size: package.size,
            installed: package.installed_size,
            sha256: package.digest,
        };
        packages.zip(&self.suites).map(recorded).collect()
    }

    /// Whether there are some, and each is whole in the cache or in this folder.
    pub(crate) fn are_at_hand(&self, shelf: Option<&Path>, cache: &Cache) -> bool {
        let on_shelf = |input: &Input| {
            let path = shelf.map(|shelf| Cache::path_in(shelf, &input.digest));
            path.and_then(|path| path.metadata().ok())
                .is_some_and(|found| found.len() == input.size)
        };
        let in_cache = |input: &Input| matches!(cache.verified(input), Ok(Some(_)));
        let is_at_hand = |input: &Input| on_shelf(input) || in_cache(input);
        !self.inputs.is_empty() && self.inputs.iter().all(is_at_hand)
    }

    /// Bytes that the packages take unpacked, as they say themselves.
    pub(crate) fn installed_bytes(&self) -> u64 {
        self.set
            .selected
            .iter()
            .map(|selected| selected.package.installed_size.saturating_mul(1024))
            .sum()
    }

    /// The version of each, by name.
    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        self.debs.iter().map(|deb| (deb.name.clone(), deb.version.clone())).collect()
    }

    /// What the packages are, without where they come from.
    pub(crate) fn digest(&self) -> Digest {
        let start = Fingerprint::new("packages", 2);
        let packages = self.debs.iter().zip(&self.inputs);
        packages
            .fold(start, |print, (deb, input)| {
                // What it calls itself stands in the manifest, and is checked only where it is unpacked.
                let name = format!("{} {} {}", deb.name, deb.version, deb.architecture);
                print.with("deb", input.digest.as_bytes()).with("name", name)
            })
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine that a result was booted with is found in the store by what its manifest says.
    #[test]
    fn a_manifest_leads_to_the_same_packages() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        let bare = |name, version, architecture| Bare {
            name,
            version,
            architecture,
            size: 4,
            installed: 2,
            digest: Digest::of(name),
        };
        let packages = [bare("b", "1:2-3", "all"), bare("a", "1", "amd64")];
        let selected = packages
            .iter()
            .map(|bare| Selected { package: bare.package(), reason: Reason::Requested });
        let set = PackageSet { selected: selected.collect() };
        let packages = Packages::new(set, &Places::nowhere(), &cache);
        let text = serde_json::to_string(&packages.to_manifest()).unwrap();
        let read: Vec<Recorded> = serde_json::from_str(&text).unwrap();
        let again = Packages::from_manifest(&read, &Places::nowhere(), &cache);
        assert_eq!(again.digest(), packages.digest());
        assert_eq!(again.installed_bytes(), 4096);
        assert!(!again.are_at_hand(None, &cache));
        for input in &again.inputs {
            let path = cache.path(&input.digest);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, if input.digest == Digest::of("a") { "a" } else { "x" }).unwrap();
        }
        assert!(!again.are_at_hand(None, &cache), "one of them is damaged");
    }
}
