//! What one recipe file says, key by key, before parts are merged.
//!
//! The doc comments of the fields are what an editor shows: they go into the schema.

use std::{num::NonZeroI16, ops::Range};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_spanned::Spanned;

use crate::values::{
    AbsolutePath, ArchiveName, Base, Bytes, ComponentName, Compression, Format, Gecos, GroupName,
    HostName, KernelArgument, Listen, Locale, MirrorUrl, Mode, Modules, PackageName, PartName,
    RecipeName, SecureBoot, SourcePath, SshKey, SuiteName, TimeZone, UnitName, UserName, Version,
};

/// A value and where in its file it stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Located<T>(Spanned<T>);

impl<T> Located<T> {
    pub(crate) fn value(&self) -> &T {
        self.0.get_ref()
    }

    /// In bytes from the beginning of the file.
    pub(crate) fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// A Coremax recipe, or a part of recipes: a part goes without name, version and base.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "Coremax recipe")]
pub(crate) struct Written {
    /// The recipe's name: it names the folder of results and, unless `hostname` says otherwise, the host.
    pub(crate) name: Option<Located<RecipeName>>,
    /// What it is for, in one line.
    pub(crate) summary: Option<Located<String>>,
    /// What tells this result from others. Default: the builder's, from the date of the sources.
    pub(crate) version: Option<Located<Version>>,
    /// The distribution to build from. `--base` puts a recipe on another one.
    pub(crate) base: Option<Located<Base>>,
    /// Parts (`parts/NAME.toml` beside the recipe), merged in this order, the recipe last.
    #[serde(default)]
    pub(crate) parts: Vec<Located<PartName>>,
    /// What the first boot calls the host. Default: the recipe's name.
    pub(crate) hostname: Option<Located<HostName>>,
    /// Time zone. Default: Etc/UTC.
    pub(crate) timezone: Option<Located<TimeZone>>,
    /// Locale. Default: C.UTF-8, which every image has; others need the package that holds them.
    pub(crate) locale: Option<Located<Locale>>,
    /// Packages, from the base's archive and those in `[[archive]]`.
    #[serde(default)]
    pub(crate) packages: PackagesTable,
    /// What holds on one base only.
    #[serde(default, rename = "for")]
    pub(crate) for_base: Vec<ForTable>,
    /// The kernel and how it is started.
    #[serde(default)]
    pub(crate) kernel: KernelTable,
    /// Who may log in as root.
    #[serde(default)]
    pub(crate) access: AccessTable,
    /// Users to make, beside root.
    #[serde(default, rename = "user")]
    pub(crate) users: Vec<UserTable>,
    /// Folders laid over the root, in this order.
    #[serde(default, rename = "overlay")]
    pub(crate) overlays: Vec<OverlayTable>,
    /// Single files, laid over the root after the overlays.
    #[serde(default, rename = "file")]
    pub(crate) files: Vec<FileTable>,
    /// systemd's units.
    #[serde(default)]
    pub(crate) units: UnitsTable,
    /// The root file system.
    #[serde(default)]
    pub(crate) root: RootTable,
    /// The data file system, grown to the end of the disk at first boot.
    #[serde(default)]
    pub(crate) data: VolumeTable,
    /// Where the base's packages come from. Default: for Debian the host's own mirror, for Ubuntu its main one.
    #[serde(default)]
    pub(crate) mirror: MirrorTable,
    /// Archives beside the base's own.
    #[serde(default, rename = "archive")]
    pub(crate) archives: Vec<ArchiveTable>,
    /// Where a locked build finds what has left the mirror.
    #[serde(default)]
    pub(crate) lock: LockTable,
    /// What to make. Default: a qcow2.
    #[serde(default, rename = "output")]
    pub(crate) outputs: Vec<OutputTable>,
    /// What a boot test must find, beside every package in `install` (which are promised by being named).
    #[serde(default)]
    pub(crate) expect: ExpectTable,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct PackagesTable {
    /// Packages to install. What they depend on comes along.
    #[serde(default)]
    pub(crate) install: Vec<Located<PackageName>>,
    /// Packages that must not get in, not even as a dependency.
    #[serde(default)]
    pub(crate) exclude: Vec<Located<PackageName>>,
    /// Whether recommended packages come along too. Default: false.
    pub(crate) recommends: Option<Located<bool>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ForTable {
    /// The base this holds on.
    pub(crate) base: Located<Base>,
    /// Packages to install there.
    #[serde(default)]
    pub(crate) install: Vec<Located<PackageName>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct KernelTable {
    /// The package that brings the kernel. Default: the base's own, such as linux-image-amd64.
    pub(crate) package: Option<Located<PackageName>>,
    /// Arguments of the kernel, one a string. The last `console=` is where systemd writes.
    #[serde(default)]
    pub(crate) command_line: Vec<Located<KernelArgument>>,
    /// What machines the modules in early boot are for. Default: metal.
    pub(crate) modules: Option<Located<Modules>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct AccessTable {
    /// Public keys, each a line of a .pub file. There is no password.
    #[serde(default)]
    pub(crate) ssh_keys: Vec<Located<SshKey>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct UserTable {
    /// Login name.
    pub(crate) name: Located<UserName>,
    /// User id. Default: the next free one.
    pub(crate) uid: Option<Located<u32>>,
    /// Groups beside the user's own. They must exist in the image.
    #[serde(default)]
    pub(crate) groups: Vec<Located<GroupName>>,
    /// Login shell. Default: /bin/bash, for a system user /usr/sbin/nologin.
    pub(crate) shell: Option<Located<AbsolutePath>>,
    /// Public keys, each a line of a .pub file. There is no password.
    #[serde(default)]
    pub(crate) ssh_keys: Vec<Located<SshKey>>,
    /// Full name.
    pub(crate) gecos: Option<Located<Gecos>>,
    /// A user that a service runs as: an id below 1000 and no home folder. Default: false.
    pub(crate) system: Option<Located<bool>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct OverlayTable {
    /// A folder whose content is laid over the root: owner root, modes as they are. Relative to the
    /// folder that holds `recipes/`.
    pub(crate) from: Located<SourcePath>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct FileTable {
    /// Where it goes in the image.
    pub(crate) path: Located<AbsolutePath>,
    /// What it holds; or else `from`.
    pub(crate) content: Option<Located<String>>,
    /// The file to copy; or else `content`. Relative to the folder that holds `recipes/`.
    pub(crate) from: Option<Located<SourcePath>>,
    /// Mode in octal. Default: "0644".
    pub(crate) mode: Option<Located<Mode>>,
    /// Owner, by name. Default: root.
    pub(crate) owner: Option<Located<UserName>>,
    /// Group, by name. Default: root.
    pub(crate) group: Option<Located<GroupName>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct UnitsTable {
    /// Units to start at boot.
    #[serde(default)]
    pub(crate) enable: Vec<Located<UnitName>>,
    /// Units not to start at boot, though their package enables them.
    #[serde(default)]
    pub(crate) disable: Vec<Located<UnitName>>,
    /// Units that nothing may start.
    #[serde(default)]
    pub(crate) mask: Vec<Located<UnitName>>,
    /// Units that stay as their packages have them, though a sealed image does without.
    #[serde(default)]
    pub(crate) keep: Vec<Located<UnitName>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RootTable {
    /// Whether the root is sealed: squashfs layers under dm-verity, never written, replaced as a whole.
    /// Else it is an ordinary ext4 that the distribution's own initramfs mounts. Default: true.
    pub(crate) verity: Option<Located<bool>>,
    /// Size of its partition, as in "2GiB". Default: twice what it holds.
    pub(crate) size: Option<Located<Bytes>>,
    /// How hard a sealed root is compressed. Default: fast.
    pub(crate) compression: Option<Located<Compression>>,
    /// By whose signatures a machine with Secure Boot on starts the image. Default: shim.
    pub(crate) secure_boot: Option<Located<SecureBoot>>,
    /// The file with the public halves of the keys that sign updates, as `coremax key new` makes them.
    /// Default: none, and no update is taken. Relative to the folder that holds `recipes/`.
    pub(crate) update_key: Option<Located<SourcePath>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct VolumeTable {
    /// Size in the image, as in "2GiB". Default: computed from what it holds.
    pub(crate) size: Option<Located<Bytes>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct MirrorTable {
    /// The base's archive.
    pub(crate) archive: Option<Located<MirrorUrl>>,
    /// The base's security archive. Default: the one that belongs to `archive`.
    pub(crate) security: Option<Located<MirrorUrl>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct LockTable {
    /// An archive that keeps what the base's has thrown away, as a snapshot service does. Asked by locked builds only.
    pub(crate) snapshot: Option<Located<MirrorUrl>>,
    /// The same of the base's security archive. Default: `snapshot`.
    pub(crate) snapshot_security: Option<Located<MirrorUrl>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ArchiveTable {
    /// What messages call it.
    pub(crate) name: Located<ArchiveName>,
    /// Its root: the folder that holds `dists/`.
    pub(crate) mirror: Located<MirrorUrl>,
    /// Suites to read.
    pub(crate) suites: Located<Vec<Located<SuiteName>>>,
    /// Components to read. Default: main.
    #[serde(default)]
    pub(crate) components: Vec<Located<ComponentName>>,
    /// The file with the OpenPGP keys its indexes are signed with. Default: the base's own keys. Relative
    /// to the folder that holds `recipes/`.
    pub(crate) key: Option<Located<SourcePath>>,
    /// Priority of its packages as in apt_preferences(5). Default: apt's, which is 500, as of the base's own, and
    /// less for an archive that is NotAutomatic, such as backports.
    pub(crate) pin: Option<Located<NonZeroI16>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct OutputTable {
    /// The form of the disk image.
    pub(crate) format: Located<Format>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ExpectTable {
    /// Packages that must be installed though nothing in `install` names them.
    #[serde(default)]
    pub(crate) packages: Vec<Located<PackageName>>,
    /// Paths that must exist.
    #[serde(default)]
    pub(crate) files: Vec<Located<AbsolutePath>>,
    /// Units that must be active.
    #[serde(default)]
    pub(crate) units: Vec<Located<UnitName>>,
    /// Ports that something must listen on, as in "tcp/22".
    #[serde(default)]
    pub(crate) listens: Vec<Located<Listen>>,
}
