//! The kernel modules of a tree: their index, and those that a boot reads.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use coremax_kmod::{Files, Index, sets};

use super::kernel;

/// Where the modules of each kernel are, by its release.
pub(super) const FOLDER: &str = "usr/lib/modules";

/// The files of the modules that a boot of this tree reads on nearly any machine, by their paths from its top.
pub(super) fn read_at_boot(tree: &Path) -> Result<Vec<PathBuf>> {
    let folder = Path::new(FOLDER).join(kernel::release(tree)?);
    let index = index(&tree.join(&folder))?;
    let names = index.select(sets::AT_BOOT)?;
    Ok(names.iter().filter_map(|name| Some(folder.join(index.path(name)?))).collect())
}

/// Reads depmod's index of one kernel.
pub(super) fn index(folder: &Path) -> Result<Index> {
    let read = |name: &str| match fs::read_to_string(folder.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("reading {}", folder.join(name).display())),
    };
    let (dep, alias) = (read("modules.dep")?, read("modules.alias")?);
    let (softdep, builtin) = (read("modules.softdep")?, read("modules.builtin")?);
    let files = Files { dep: &dep, alias: &alias, softdep: &softdep, builtin: &builtin };
    Index::parse(files)
        .with_context(|| format!("reading the modules' index in {}", folder.display()))
}
