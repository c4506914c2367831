//! `manifest.json`: what a result was made of, what it holds, and what proves it.
//!
//! JSON; sizes in bytes, digests SHA-256 in hex, times in seconds. Everything but `stages`, `verified` and the
//! artefacts' reports is the same in every build of the same plan.

use std::{fs, path::Path};

use coremax_fetch::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The manifest's name in a result folder.
pub const MANIFEST: &str = "manifest.json";
/// Longest manifest that is read, in bytes. Ours: a hundred times a large one.
const MAX_MANIFEST: u64 = 64 << 20;

/// All there is to know of a result. Made by publishing, which alone says whether it is verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was built.
    #[serde(flatten)]
    pub build: Build,
    /// What the boot tests proved; none if the build was asked not to boot.
    pub verified: Option<Proof>,
}

/// What a build knows of itself when it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// The recipe's name.
    pub recipe: String,
    /// The result's version.
    pub version: String,
    /// The distribution it was built from.
    pub base: String,
    /// The builder and its version.
    pub builder: String,
    /// The plan's fingerprint: equal plans make equal artefacts.
    pub fingerprint: String,
    /// The fingerprint of the machine that boots it, QEMU and firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Digest>,
    /// The packages of that machine, for a boot elsewhere with the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machine_packages: Vec<Package>,
    /// The date of its sources (SOURCE_DATE_EPOCH): seconds since 1970, UTC.
    pub created: u64,
    /// By whose signatures a machine with Secure Boot on starts the images: `shim`, `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<String>,
    /// Every package installed.
    pub packages: Vec<Package>,
    /// Every file and link that the recipe laid into the image from the host, and every key that its own archives were
    /// believed by.
    pub files: Vec<FileInput>,
    /// The units that nothing starts there.
    #[serde(default)]
    pub masked: Vec<String>,
    /// What was made.
    pub artefacts: Vec<Artefact>,
    /// The update to this version, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// What it took, in the order of the work.
    pub stages: Vec<Stage>,
}

/// A package, installed or unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version as the archive writes it.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// The suite it came from, of whichever mirror.
    pub archive: String,
    /// Length of the .deb.
    pub size: u64,
    /// What it says that it takes unpacked, in KiB; 0 in manifests that did not say it yet.
    #[serde(default)]
    pub installed: u64,
    /// SHA-256 of the .deb.
    pub sha256: Digest,
}

/// A file or link that the recipe brought along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInput {
    /// Its path as the recipe names it, or the folder that it is in.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// SHA-256 of its content; for a link, of its target's name.
    pub sha256: Digest,
    /// Where it leads, if it is a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// An image that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// Its file's name in the result folder.
    pub name: String,
    /// `qcow2`, `raw`.
    pub format: String,
    /// Length of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// The disk's size as a machine sees it.
    pub virtual_size: u64,
}

/// A file that brings a machine with an older version to this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Its file's name in the result folder.
    pub name: String,
    /// Length of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// The id of the key that signed it.
    pub key: String,
}

/// What a stage of the build took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The stage: `fetch`, `root`.
    pub name: String,
    /// Seconds that passed.
    pub wall_seconds: f64,
    /// Seconds of processor time, of all its processes together; stages that ran side by side share theirs evenly.
    pub cpu_seconds: f64,
    /// Whether an earlier build did the work, and this one took no time for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stored: bool,
}

/// What a manifest says of the boot tests, which all passed. It is a record: nothing is published on its word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The boots, one at least for each artefact.
    pub boots: Vec<Boot>,
}

/// One passed boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// The artefact's file name.
    pub artefact: String,
    /// SHA-256 of the artefact as it was booted.
    pub sha256: Digest,
    /// The firmware: `bios`, `uefi`.
    pub firmware: String,
    /// What ran it: `kvm`, `tcg`.
    pub accelerator: String,
    /// Seconds from power-on to the last check.
    pub seconds: f64,
    /// What was found to hold.
    pub checks: Vec<String>,
}

impl Boot {
    /// Whether it was this artefact that was booted, in the very form it has.
    pub fn is_of(&self, artefact: &Artefact) -> bool {
        self.artefact == artefact.name && self.sha256 == artefact.sha256
    }
}

impl Manifest {
    /// The manifest of a result folder; none if the folder has none.
    ///
    /// # Errors
    /// A manifest that cannot be read, is longer than any, or is none.
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(MANIFEST);
        let failed = |source| Error::Read { path: path.clone(), source };
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(found) if found.len() > MAX_MANIFEST => {
                return Err(Error::LongManifest { path, limit: MAX_MANIFEST });
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        serde_json::from_str(&text).map(Some).map_err(|source| Error::Parse { path, source })
    }

    /// The text of `manifest.json`.
    pub(crate) fn to_text(&self) -> String {
        #[expect(clippy::expect_used, reason = "no map in it has keys that are not strings")]
        let text = serde_json::to_string_pretty(self).expect("a manifest is JSON");
        text + "\n"
    }
}

impl Build {
    /// Whether both hold the same images, made of the same inputs.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        self.artefacts == other.artefacts
            && self.packages == other.packages
            && self.files == other.files
    }
}
