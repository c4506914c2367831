//! The lock of a recipe: what a build reads, pinned to the byte, in a file beside the recipe.
//!
//! ```toml
//! format = 1
//! recipe = "node"                  # and base, epoch: the time that the image is clamped to
//! [asked]                          # what it was resolved for: image, exclude, recommends, tools, machine
//! [users]                          # numbers by name, and [groups]
//! [[input]]                        # path and sha256 of what lies beside the recipe; of a folder, of all that is in it
//! [[package]]                      # name, version, architecture, suite, pool, size, installed, sha256, in, why
//! ```
//!
//! It is an input of planning and of nothing else: a plan from a lock has the packages that the archive led to when it
//! was locked, and the numbers of accounts besides. Where files come from is no part of it: a mirror, a snapshot and a folder serve the same
//! bytes or none.

mod agree;
mod change;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use coremax_archive::{PackageSet, Reason, Selected};
use coremax_fetch::Digest;
use coremax_rootfs::Ids;
use serde::{Deserialize, Serialize};

pub use change::Changes;
pub(crate) use text::{Malformed, parse};

use crate::packages::{Bare, Packages};

/// What a recipe's lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The recipe's name.
    pub(crate) recipe: String,
    /// The distribution's id.
    pub(crate) base: String,
    /// Seconds since 1970.
    pub(crate) epoch: u64,
    /// What it was resolved for.
    pub(crate) asked: Asked,
    /// The numbers of accounts, those of packages that have gone among them: they are never given to another.
    pub(crate) users: BTreeMap<String, u32>,
    /// The same of groups.
    pub(crate) groups: BTreeMap<String, u32>,
    /// Files and folders beside the recipe, by path.
    pub(crate) inputs: BTreeMap<String, Digest>,
    /// By name, version and architecture.
    pub(crate) packages: Vec<Package>,
}

/// What was asked of the resolver, as far as recipes and versions of this program differ in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) image: BTreeSet<String>,
    pub(crate) exclude: BTreeSet<String>,
    pub(crate) recommends: bool,
    pub(crate) tools: BTreeSet<String>,
    pub(crate) machine: BTreeSet<String>,
    /// The recipe's own archives, a suite each, in words; never where they are served.
    #[serde(default)]
    pub(crate) archives: BTreeSet<String>,
}

/// Which tree a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tree {
    /// The image's root.
    Image,
    /// The tools tree.
    Tools,
    /// The tree with QEMU.
    Machine,
}

impl Tree {
    pub(crate) const ALL: [Self; 3] = [Self::Image, Self::Tools, Self::Machine];
}

/// One locked package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) name: text::Word,
    pub(crate) version: text::Word,
    pub(crate) architecture: text::Word,
    /// The suite of the base that it comes from; of an archive of the recipe's own, `ARCHIVE/SUITE`.
    pub(crate) suite: String,
    /// Its path below the archive's root.
    pub(crate) pool: text::PoolPath,
    /// Bytes of the .deb.
    pub(crate) size: u64,
    /// What it says that it takes unpacked, in KiB.
    pub(crate) installed: u64,
    pub(crate) sha256: Digest,
    /// The names that it stands for, as its archive writes them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) provides: String,
    /// The trees that it is in.
    #[serde(rename = "in")]
    pub(crate) trees: BTreeSet<Tree>,
    /// Why it is in the image; nothing where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<text::Why>,
}

/// Where the lock of a recipe lies, for the base that it names or for another.
pub(crate) fn path_of(recipe: &Path, other_base: Option<&str>) -> PathBuf {
    match other_base {
        None => recipe.with_extension("lock"),
        Some(base) => recipe.with_extension(format!("{base}.lock")),
    }
}

impl Lock {
    /// The lock in this file, or nothing where there is none.
    ///
    /// # Errors
    /// Where it cannot be read, or is malformed.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {}", path.display()))?,
        };
        Ok(Some(parse(&path.display().to_string(), &text)?))
    }

    /// Writes it to this file, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let failed = || format!("writing {}", path.display());
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .with_context(failed)?;
        file.write_all(self.to_string().as_bytes()).with_context(failed)?;
        file.persist(path).with_context(failed)?;
        Ok(())
    }

    /// The numbers that accounts have.
    pub(crate) fn ids(&self) -> Ids {
        Ids { users: self.users.clone(), groups: self.groups.clone() }
    }

    /// The packages of a tree.
    pub(crate) fn of(&self, tree: Tree) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(move |package| package.trees.contains(&tree))
    }

    /// The packages of a tree as the resolver found them, each from the source that `source_of` finds for its suite.
    pub(crate) fn set(&self, tree: Tree, source_of: &dyn Fn(&str) -> usize) -> PackageSet {
        let selected = |package: &Package| Selected {
            package: package.resolved(source_of(&package.suite)),
            reason: package.why.as_ref().map_or(Reason::Requested, text::Why::reason),
        };
        PackageSet { selected: self.of(tree).map(selected).collect() }
    }
}

impl Package {
    /// As the resolver knows it, but without its relations, which a lock does without.
    fn resolved(&self, source: usize) -> coremax_archive::Package {
        let (name, version) = (self.name.to_string(), self.version.to_string());
        let bare = Bare {
            name: &name,
            version: &version,
            architecture: &self.architecture.to_string(),
            size: self.size,
            installed: self.installed,
            digest: self.sha256,
        };
        coremax_archive::Package {
            provides: self.provides.clone(),
            filename: self.pool.to_string(),
            source,
            ..bare.package()
        }
    }
}

/// The packages of all trees, each once.
pub(crate) fn join(trees: [&Packages; 3]) -> Result<Vec<Package>> {
    let mut joined: BTreeMap<(String, String, String), Package> = BTreeMap::new();
    for (tree, packages) in Tree::ALL.into_iter().zip(trees) {
        for (selected, suite) in packages.set.selected.iter().zip(&packages.suites) {
            let package = &selected.package;
            let key = (package.name.clone(), package.version.clone(), package.architecture.clone());
            let entry = match joined.entry(key) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(locked(package, suite)?)
                }
            };
            if entry.sha256 != package.digest {
                bail!("two files are called {} {}", package.name, package.version);
            }
            entry.trees.insert(tree);
            if tree == Tree::Image {
                entry.why = Some(text::Why::of(&selected.reason));
            }
        }
    }
    Ok(joined.into_values().collect())
}

fn locked(package: &coremax_archive::Package, suite: &str) -> Result<Package> {
    let failed = || format!("locking {} {}", package.name, package.version);
    Ok(Package {
        name: package.name.clone().try_into().with_context(failed)?,
        version: package.version.clone().try_into().with_context(failed)?,
        architecture: package.architecture.clone().try_into().with_context(failed)?,
        suite: suite.to_owned(),
        pool: package.filename.clone().try_into().with_context(failed)?,
        size: package.size,
        installed: package.installed_size,
        sha256: package.digest,
        provides: package.provides.clone(),
        trees: BTreeSet::new(),
        why: None,
    })
}
