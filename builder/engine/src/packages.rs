//! A resolved set of packages, as the steps need it: where each .deb will lie, and what pins it.

use std::collections::BTreeMap;

use coremax_archive::PackageSet;
use coremax_fetch::{Cache, Digest, Input};
use coremax_rootfs::Deb;

use crate::{fingerprint::Fingerprint, places::Places};

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

    /// Bytes that the packages take unpacked, as they say themselves.
    pub(crate) fn installed_bytes(&self) -> u64 {
        self.set.selected.iter().map(|selected| selected.package.installed_size * 1024).sum()
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
