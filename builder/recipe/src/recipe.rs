//! A recipe with its parts merged and every default filled in.
//!
//! It serialises to JSON in one order, so that equal recipes have equal fingerprints: keys as in the
//! recipe, sets sorted, lists whose order means something as written. Where a file lies on this machine
//! is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::Serialize;

use crate::values::{
    AbsolutePath, ArchiveName, Base, Bytes, ComponentName, Compression, Format, Gecos, GroupName,
    HostName, KernelArgument, Listen, Locale, MirrorUrl, Mode, Modules, PackageName, RecipeName,
    SecureBoot, SourcePath, SshKey, SuiteName, TimeZone, UnitName, UserName, Version,
};

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recipe {
    /// Names the folder of results.
    pub name: RecipeName,
    /// What it is for; empty if it does not say.
    pub summary: String,
    /// The result's version; if none, the builder says one.
    pub version: Option<Version>,
    /// The distribution to build from.
    pub base: Base,
    /// What the first boot calls the host.
    pub hostname: HostName,
    /// Time zone.
    pub timezone: TimeZone,
    /// Locale.
    pub locale: Locale,
    /// Packages.
    pub packages: Packages,
    /// The kernel and how it is started.
    pub kernel: Kernel,
    /// Root's public keys, in the order written.
    pub root_ssh_keys: Vec<SshKey>,
    /// Users beside root, no name and no uid twice.
    pub users: Vec<User>,
    /// Folders laid over the root, in this order.
    pub overlays: Vec<Overlay>,
    /// Files laid over the root after the overlays, no path twice.
    pub files: Vec<File>,
    /// systemd's units, each in one set only.
    pub units: Units,
    /// The root file system.
    pub root: Root,
    /// The data file system.
    pub data: Volume,
    /// Where the base's packages come from.
    pub mirror: Mirror,
    /// Archives beside the base's own.
    pub archives: Vec<Archive>,
    /// What a locked build may ask beside them.
    pub lock: Lock,
    /// What to make, never empty.
    pub outputs: BTreeSet<Format>,
    /// What a boot test must find.
    pub expect: Expect,
}

/// Packages of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Packages {
    /// What to install, the kernel's package included, each with the reason: the first file that named it
    /// (`part base`, `recipe node`) or `kernel`.
    pub install: BTreeMap<PackageName, String>,
    /// What must not get in. Disjoint from `install`.
    pub exclude: BTreeSet<PackageName>,
    /// Whether recommended packages come along.
    pub recommends: bool,
}

/// The kernel and how it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kernel {
    /// The package that brings it.
    pub package: PackageName,
    /// Its arguments, in order.
    pub command_line: Vec<KernelArgument>,
    /// What machines early boot's modules are for.
    pub modules: Modules,
}

/// A user to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct User {
    /// Login name, never `root`.
    pub name: UserName,
    /// User id; if none, the next free one.
    pub uid: Option<u32>,
    /// Its own group's id; if none, the user's, or the next free one. No recipe says it: a lock does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Groups beside its own.
    pub groups: Vec<GroupName>,
    /// Login shell.
    pub shell: AbsolutePath,
    /// Public keys.
    pub ssh_keys: Vec<SshKey>,
    /// Full name, or empty.
    pub gecos: Gecos,
    /// Whether a service runs as it: an id below 1000 and no home folder.
    pub system: bool,
}

/// A folder laid over the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overlay {
    /// As written.
    pub from: SourcePath,
    /// Where it lies on this machine.
    #[serde(skip)]
    pub source: PathBuf,
}

/// A file laid over the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct File {
    /// Where it goes.
    pub path: AbsolutePath,
    /// What it holds.
    pub content: Content,
    /// Mode.
    pub mode: Mode,
    /// Owner, by name.
    pub owner: UserName,
    /// Group, by name.
    pub group: GroupName,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// This text.
    Text(String),
    /// A copy of a file.
    Copy {
        /// As written.
        from: SourcePath,
        /// Where it lies on this machine.
        #[serde(skip)]
        source: PathBuf,
    },
}

/// What to do with systemd's units; no unit is in two of the sets, but that one that is kept may be enabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Units {
    /// To start at boot.
    pub enable: BTreeSet<UnitName>,
    /// Not to start at boot.
    pub disable: BTreeSet<UnitName>,
    /// Never to start.
    pub mask: BTreeSet<UnitName>,
    /// Left as their packages have them, though a sealed image does without.
    pub keep: BTreeSet<UnitName>,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Root {
    /// Whether it is sealed: layers of squashfs under dm-verity, which nothing writes.
    pub verity: bool,
    /// Its partition's size in the image; if none, computed from what it holds.
    pub size: Option<Bytes>,
    /// How hard it is compressed, where it is sealed.
    pub compression: Compression,
    /// By whose signatures a machine with Secure Boot on starts it.
    pub secure_boot: SecureBoot,
    /// The file of keys that sign updates as written; if none, no update is taken.
    pub update_key: Option<SourcePath>,
    /// Where that file lies on this machine.
    #[serde(skip)]
    pub update_key_source: Option<PathBuf>,
}

/// A file system of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Its size in the image; if none, computed from what it holds.
    pub size: Option<Bytes>,
}

/// Where the base's packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mirror {
    /// The base's archive; if none, the builder's choice.
    pub archive: Option<MirrorUrl>,
    /// The base's security archive; if none, the one that belongs to `archive`.
    pub security: Option<MirrorUrl>,
}

/// Where a locked build finds what has left the mirror. What it finds is pinned by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lock {
    /// An archive that keeps what the base's has thrown away.
    pub snapshot: Option<MirrorUrl>,
    /// The same of the base's security archive; if none, `snapshot` is asked.
    pub snapshot_security: Option<MirrorUrl>,
}

/// An archive beside the base's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Archive {
    /// What messages call it.
    pub name: ArchiveName,
    /// Its root: the folder that holds `dists/`.
    pub mirror: MirrorUrl,
    /// Suites to read, never empty.
    pub suites: Vec<SuiteName>,
    /// Components to read, never empty.
    pub components: Vec<ComponentName>,
    /// The key file as written; if none, the base's own keys.
    pub key: Option<SourcePath>,
    /// Where the key file lies on this machine.
    #[serde(skip)]
    pub key_source: Option<PathBuf>,
    /// Priority of its packages, apt_preferences(5); never 0. If none, what its Release files ask for.
    pub pin: Option<i16>,
}

/// What a boot test must find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Expect {
    /// Installed packages: those the recipe installs, and those it expects beside them.
    pub packages: BTreeSet<PackageName>,
    /// Paths that exist.
    pub files: BTreeSet<AbsolutePath>,
    /// Active units.
    pub units: BTreeSet<UnitName>,
    /// Ports that something listens on.
    pub listens: BTreeSet<Listen>,
}
