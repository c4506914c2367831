//! One verb a file: what it asks of the engine, and what it prints.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod clean;
pub(crate) mod cluster;
pub(crate) mod docs;
pub(crate) mod key;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod test;
pub(crate) mod vendor;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use coremax_engine::{ArchiveSettings, BootSettings, Builder, Firmware, Request};

use crate::args::{Boot, From, Global, IMAGES, Locking, Mirrors, Shelf};

/// Becomes root of a user namespace and opens the cache. To be called before any thread starts.
fn open(global: &Global, mirrors: Mirrors) -> Result<Builder> {
    open_shelf(global, mirrors, &Shelf::default())
}

/// The same, asking no archive where that is said.
fn open_shelf(global: &Global, mirrors: Mirrors, shelf: &Shelf) -> Result<Builder> {
    coremax_sandbox::enter()?;
    let archive = ArchiveSettings {
        mirror: mirrors.mirror,
        security_mirror: mirrors.security_mirror,
        keys: mirrors.key,
        refresh: mirrors.refresh,
        offline: shelf.offline,
        inputs: shelf.inputs.clone(),
    };
    Builder::open(&cache(global)?, archive, global.cache_limit.get())
}

fn cache(global: &Global) -> Result<PathBuf> {
    let folder = |variable| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    global
        .cache
        .clone()
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("coremax")))
        .or_else(|| Some(folder("HOME")?.join(".cache/coremax")))
        .context("finding a place for the cache: neither --cache nor HOME is set")
}

/// The folder of a result: what was named, or the last proven one of the recipe that was named.
fn result(named: PathBuf) -> Result<PathBuf> {
    if named.extension() != Some(OsStr::new("toml")) {
        return Ok(named);
    }
    let recipe = coremax_recipe::load(&named)?;
    let latest = Path::new(IMAGES).join(recipe.name.as_str()).join("latest");
    if !latest.exists() {
        bail!(
            "{} has no result at {} yet: run coremax build {0}, or name its folder",
            named.display(),
            latest.display()
        );
    }
    Ok(latest)
}

fn request(from: From, locking: &Locking) -> Request {
    Request {
        recipe: from.recipe,
        base: from.base,
        ssh_keys: from.ssh_key,
        formats: from.format,
        locked: locking.locked || locking.shelf.offline,
    }
}

fn boot_settings(boot: &Boot) -> BootSettings {
    let firmware = boot.firmware.iter().filter_map(|name| Firmware::named(name)).collect();
    BootSettings { firmware, patience: boot.patience }
}
