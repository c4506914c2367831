//! What has to be known of every package before any is unpacked.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use debversion::Version;

use crate::{
    Error,
    deb::{Control, Deb},
    replaces::{self, Replaces},
};

/// What is appended to a configuration file's name until its package is configured. Set by dpkg.
pub(super) const NEW_CONFFILE: &str = ".dpkg-new";

/// A package that is about to be unpacked.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) deb: Deb,
    pub(crate) control: Control,
    /// Paths without the leading slash.
    conffiles: HashSet<Vec<u8>>,
    /// The size of the .deb.
    pub(super) packed_bytes: u64,
    replaces: Vec<Replaces>,
    version: Version,
}

impl Package {
    fn read(deb: &Deb) -> Result<Self, Error> {
        let control = deb.control()?;
        let wrong = |field, value: &str| Error::Field {
            package: deb.name.clone(),
            field,
            value: value.to_owned(),
        };
        let replaces =
            replaces::parse(control.field("Replaces")).map_err(|part| wrong("Replaces", &part))?;
        let version = deb.version.parse().map_err(|_| wrong("Version", &deb.version))?;
        let packed_bytes = fs::metadata(&deb.path)
            .map_err(|source| Error::Host { operation: "reading", path: deb.path.clone(), source })?
            .len();
        let conffiles = conffiles(&control).map(|line| line.path[1..].to_owned().into()).collect();
        Ok(Self { deb: deb.clone(), control, conffiles, packed_bytes, replaces, version })
    }

    /// Whether this is the package of the tree's outline, which comes before all others.
    pub(super) fn is_base(&self) -> bool {
        self.deb.name == "base-files"
    }

    pub(crate) fn is_essential(&self) -> bool {
        self.control.field("Essential") == "yes"
    }

    /// By what name this package's file is written, until it is configured.
    pub(super) fn written_name(&self, path: &Path, name: &OsStr) -> OsString {
        let mut written = name.to_owned();
        if self.conffiles.contains(path.as_os_str().as_bytes()) {
            written.push(NEW_CONFFILE);
        }
        written
    }

    /// Whether files of `other` give way to this package's.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.replaces.iter().any(|one| one.covers(&other.deb.name, &other.version))
    }

    /// Whether both are one package, built for two architectures.
    pub(super) fn is_other_architecture_of(&self, other: &Self) -> bool {
        self.deb.name == other.deb.name && self.deb.architecture != other.deb.architecture
    }

    /// The name that dpkg files this package's records under.
    pub(crate) fn record_name(&self) -> String {
        match self.control.field("Multi-Arch") {
            "same" => format!("{}:{}", self.deb.name, self.deb.architecture),
            _ => self.deb.name.clone(),
        }
    }

    /// Whether its preinst may divert another package's files.
    fn diverts(&self) -> bool {
        let script = self.control.file("preinst").map_or(&[][..], |file| &file.content);
        let script = String::from_utf8_lossy(script);
        let mut commands = script.lines().filter(|line| !line.trim_start().starts_with('#'));
        !self.is_essential() && commands.any(|line| line.contains("dpkg-divert"))
    }
}

/// A line of the control file `conffiles`.
pub(crate) struct Conffile<'a> {
    /// With the leading slash.
    pub(crate) path: &'a str,
    /// The file is to go away, and is not in the package.
    pub(crate) remove_on_upgrade: bool,
}

/// The configuration files that a package names; see deb-conffiles(5).
pub(crate) fn conffiles(control: &Control) -> impl Iterator<Item = Conffile<'_>> {
    let content = control.file("conffiles").map_or(&[][..], |file| &file.content);
    str::from_utf8(content).unwrap_or_default().lines().filter_map(|line| {
        // A path may have blanks in it; a line that begins otherwise begins with a flag.
        let line = line.trim();
        let (flag, path) = match line.split_once(' ') {
            Some((flag, path)) if !line.starts_with('/') => (flag, path.trim_start()),
            _ => ("", line),
        };
        let remove_on_upgrade = flag == "remove-on-upgrade";
        path.starts_with('/').then_some(Conffile { path, remove_on_upgrade })
    })
}

/// Reads all packages and puts them in the order that decides between them; those that are to be
/// left for dpkg come second.
pub(super) fn read(debs: &[Deb], leave_diverting: bool) -> Result<(Vec<Package>, Vec<Deb>), Error> {
    let packages: Result<Vec<_>, _> = debs.iter().map(Package::read).collect();
    let (left, mut packages): (Vec<_>, Vec<_>) =
        packages?.into_iter().partition(|package| leave_diverting && package.diverts());
    packages.sort_by_key(|package| (!package.is_base(), !package.is_essential()));
    Ok((packages, left.into_iter().map(|package| package.deb).collect()))
}
