//! A stand-in for Ubuntu 22.04's archive, made from Debian 12's packages.
//!
//! ```text
//! ubuntu/dists/{jammy,jammy-updates,jammy-security}/    InRelease, and indexes by name and by hash
//! ubuntu/pool/{main,universe}/                          .debs whose members are compressed with zstd
//! archive.asc                                           the key that signed it
//! secure-boot.cer                                       the certificate of what signed shim, GRUB and kernel
//! ```
//!
//! It has Ubuntu's layout, its fields, its names of packages and what lies where in them, as far as a build can tell:
//! `ubuntu::CHANGES` and `suites` say all of it. It has neither Ubuntu's programs nor its maintainer scripts nor its
//! signatures. It is made once, and again when the packages or the maker are others.

mod boot;
mod gather;
mod kernel;
mod pool;
mod signing;
mod suites;
mod systemd;
mod ubuntu;

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_fetch::Digest;

use crate::{cache, mirror::Signer};
use gather::Gathered;
use pool::Pool;
use signing::Signing;

pub use suites::{COMPONENTS, SUITES, Suite, UPDATES, Update};

/// The makers: another text of theirs makes another archive.
const MAKERS: [&str; 12] = [
    include_str!("deb.rs"),
    include_str!("deb/files.rs"),
    include_str!("deb/stanza.rs"),
    include_str!("standin.rs"),
    include_str!("standin/boot.rs"),
    include_str!("standin/gather.rs"),
    include_str!("standin/kernel.rs"),
    include_str!("standin/pool.rs"),
    include_str!("standin/signing.rs"),
    include_str!("standin/suites.rs"),
    include_str!("standin/systemd.rs"),
    include_str!("standin/ubuntu.rs"),
];

/// The archive, in a folder of the tests' cache.
#[derive(Debug, Clone)]
pub struct StandIn {
    folder: PathBuf,
}

impl StandIn {
    /// The archive with what these recipes need, made if there is none yet.
    ///
    /// # Errors
    /// A skip where the host lacks a program or names no mirror of Debian; whatever else stands in the way.
    pub fn of(recipes: &[&str]) -> Result<Self, String> {
        let sources = gather::gather(recipes)?;
        let stems = recipes.iter().filter_map(|it| Path::new(it).file_stem()?.to_str());
        let root = cache().join("standin").join(stems.collect::<Vec<_>>().join("+"));
        let name = name(&sources);
        let folder = root.join(&name);
        if !folder.join("ubuntu").exists() {
            // One made of other packages is of no use any more.
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root).map_err(|e| e.to_string())?;
            make(&sources, &folder)?;
        }
        Ok(Self { folder })
    }

    /// The archive's root.
    pub fn root(&self) -> PathBuf {
        self.folder.join("ubuntu")
    }

    /// The key that signed it, a file.
    pub fn key(&self) -> PathBuf {
        self.folder.join("archive.asc")
    }

    /// The certificate of what signed shim, GRUB and kernel, a file in DER.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("secure-boot.cer")
    }

    /// Its address.
    pub fn url(&self) -> String {
        coremax_fetch::file_url(&self.root())
    }

    /// What a command line says to build from it: as with every mirror of Ubuntu, its security suite is there too.
    pub fn arguments(&self) -> [String; 4] {
        ["--mirror".into(), self.url(), "--key".into(), self.key().display().to_string()]
    }
}

/// What the archive is called: by all that it is made of.
fn name(sources: &[Gathered]) -> String {
    let digests = sources.iter().map(|source| source.digest.to_string());
    let text: String = digests.chain(MAKERS.map(str::to_owned)).collect();
    Digest::of(text).to_string()[..16].to_owned()
}

/// Makes it beside, so that it is there whole or not at all.
fn make(sources: &[Gathered], folder: &Path) -> Result<(), String> {
    let new = folder.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).map_err(|e| e.to_string())?;
    let signing = Signing::new(&new)?;
    let mut pool = Pool::of(sources);
    for (what, change) in ubuntu::CHANGES {
        change(&mut pool, &signing).map_err(|why| format!("{what}: {why}"))?;
    }
    let signer = Signer::new();
    fs::write(new.join("archive.asc"), signer.public()).map_err(|e| e.to_string())?;
    suites::write(pool, &signer, &new.join("ubuntu"))?;
    fs::rename(&new, folder).map_err(|e| format!("renaming {}: {e}", new.display()))
}
