//! Debian 12's packages that the archive is made of: all that the recipes lead to, the programs that build and boot
//! them, and what Ubuntu's names need besides.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use coremax_archive::{
    Freshness, Mirrors, Package, Request, Snapshot, Universe, distribution, host, keyring_of,
    resolve, sources_of,
};
use coremax_fetch::{Cache, Digest, Fetcher};

use crate::{cache, repository};

const BASE: &str = "debian-12";
/// What builds an image, what boots it, and all loaders.
const TOOLS: [&str; 12] = [
    "coreutils",
    "e2fsck-static",
    "e2fsprogs",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "grub-pc-bin",
    "ovmf",
    "qemu-system-x86",
    "shim-signed",
    "squashfs-tools",
    "systemd-boot-efi",
];
/// What an image may have beside a recipe's packages, or has on Ubuntu.
const MORE: [&str; 2] = ["netplan.io", "usrmerge"];

/// A package of Debian.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) path: PathBuf,
}

/// All of them, by name.
pub(super) fn gather(recipes: &[&str]) -> Result<Vec<Gathered>, String> {
    let (universe, fetcher) = debian()?;
    let base = BASE.parse().map_err(|_| format!("{BASE} is no base"))?;
    let mut found = BTreeMap::new();
    let more: Vec<String> = MORE.map(str::to_owned).into();
    for recipe in recipes {
        let read = coremax_recipe::load_on(&repository().join(recipe), Some(base));
        let recipe = read.map_err(|e| format!("{recipe}: {e}"))?;
        let install = recipe.packages.install.keys().map(ToString::to_string).collect();
        found.extend(closure(&universe, [install, more.clone()].concat(), true)?);
    }
    found.extend(closure(&universe, TOOLS.map(str::to_owned).into(), false)?);
    let packages: Vec<_> = found.into_values().collect();
    let inputs: Vec<_> = packages.iter().map(|package| universe.input(package)).collect();
    let paths = fetcher.fetch_all(&inputs, &|_| ()).map_err(|e| e.to_string())?;
    let gathered = packages.into_iter().zip(paths);
    let gathered = gathered.map(|(it, path)| Gathered { name: it.name, digest: it.digest, path });
    Ok(gathered.collect())
}

/// Debian as the host's apt knows it.
fn debian() -> Result<(Universe, Fetcher), String> {
    let told = |error: coremax_archive::Error| error.to_string();
    let base = distribution(BASE).map_err(told)?;
    let keys = keyring_of(base).map_err(told)?;
    let host = host::load(Path::new("/")).map_err(told)?;
    let main = host.debian_mirror(base, &keys).map_err(|e| format!("skipped: {e}"))?;
    let security = host.debian_security_mirror(base, &keys).map_err(told)?;
    let mut sources = sources_of(base, &Mirrors { main, security }).map_err(told)?;
    for source in &mut sources {
        source.check_valid_until = host.checks_valid_until(&source.mirror);
    }
    let inputs = Cache::open(cache().join("inputs")).map_err(|e| e.to_string())?;
    let fetcher = Fetcher::new(inputs, host.transport);
    let snapshot = Snapshot::open(&sources, &fetcher, &Freshness::default()).map_err(told)?;
    Ok((snapshot.load(&fetcher, &|_| ()).map_err(told)?, fetcher))
}

fn closure(
    universe: &Universe,
    install: Vec<String>,
    essential: bool,
) -> Result<impl Iterator<Item = (String, Package)> + use<>, String> {
    let architecture = "amd64".to_owned();
    let request = Request { install, essential, architecture, ..Request::default() };
    let set = resolve(&universe.packages, &request).map_err(|e| e.to_string())?;
    let packages = set.selected.into_iter().map(|selected| selected.package);
    Ok(packages.map(|package| (package.name.clone(), package)))
}
