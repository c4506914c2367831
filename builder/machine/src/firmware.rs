//! Where UEFI firmware comes from: firmware.toml, and the files it leads to.
//!
//! ```toml
//! [[uefi.local]]
//! code = "/usr/share/OVMF/OVMF_CODE_4M.fd"
//! vars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
//! [ovmf-prebuilt]
//! tag = "edk2-stable202605-r1"
//! sha256 = "8ae4..."
//! ```
//!
//! BIOS needs nothing from here: QEMU's package brings SeaBIOS. See
//! <https://github.com/tianocore/edk2/blob/master/OvmfPkg/README>.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ovmf_prebuilt::{Arch, FileType, Prebuilt, Source};
use serde::Deserialize;

use crate::{Error, error::file};

/// Everything firmware.toml says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sources {
    uefi: Kind,
    #[serde(default)]
    secure_boot: Kind,
    #[serde(default)]
    own_keys: Kind,
    ovmf_prebuilt: Option<Release>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    local: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    code: PathBuf,
    vars: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    tag: String,
    sha256: String,
}

/// Firmware that was found. Both files are templates: a machine runs on copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The code.
    pub code: PathBuf,
    /// The variables as they are at first power-on.
    pub vars: PathBuf,
    /// Where it came from, for people.
    pub origin: String,
}

impl Sources {
    /// Reads firmware.toml's text.
    ///
    /// # Errors
    /// [`Error::Sources`] with line and column.
    pub fn parse(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|e| Error::Sources(Box::new(e)))
    }

    /// Reads the file `path`.
    ///
    /// # Errors
    /// Where it cannot be read or parsed.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(&fs::read_to_string(path).map_err(file("reading", path))?)
    }

    /// The first UEFI firmware there is: below `tools` (a tools tree, or `/` for the host's own),
    /// else ovmf-prebuilt's release, downloaded once into `cache`.
    ///
    /// # Errors
    /// [`Error::NoFirmware`], [`Error::Prebuilt`].
    pub fn locate(&self, tools: &Path, cache: &Path) -> Result<Located, Error> {
        match self.local(&self.uefi, tools) {
            Some(found) => Ok(found),
            None => self.prebuilt(tools, cache),
        }
    }

    /// The first firmware with Secure Boot's keys enrolled; there is no download of it.
    ///
    /// # Errors
    /// [`Error::NoFirmware`].
    pub fn locate_secure_boot(&self, tools: &Path) -> Result<Located, Error> {
        self.local(&self.secure_boot, tools)
            .ok_or_else(|| missing("Secure Boot", &self.secure_boot, tools))
    }

    /// The first firmware for Secure Boot that has no keys yet; there is no download of it.
    ///
    /// # Errors
    /// [`Error::NoFirmware`].
    pub fn locate_own_keys(&self, tools: &Path) -> Result<Located, Error> {
        self.local(&self.own_keys, tools)
            .ok_or_else(|| missing("Secure Boot with one's own keys", &self.own_keys, tools))
    }

    fn local(&self, kind: &Kind, tools: &Path) -> Option<Located> {
        kind.local.iter().find_map(|pair| {
            let (code, vars) = (below(tools, &pair.code), below(tools, &pair.vars));
            let origin = pair.code.display().to_string();
            (code.is_file() && vars.is_file()).then_some(Located { code, vars, origin })
        })
    }

    fn prebuilt(&self, tools: &Path, cache: &Path) -> Result<Located, Error> {
        let release =
            self.ovmf_prebuilt.as_ref().ok_or_else(|| missing("UEFI", &self.uefi, tools))?;
        let folder = cache.join("ovmf").join(&release.tag);
        let prebuilt = Prebuilt::fetch(release.source(), &folder)
            .map_err(|e| Error::Prebuilt { tag: release.tag.clone(), source: Box::new(e) })?;
        Ok(Located {
            code: prebuilt.get_file(Arch::X64, FileType::Code),
            vars: prebuilt.get_file(Arch::X64, FileType::Vars),
            origin: format!("ovmf-prebuilt {}", release.tag),
        })
    }
}

impl Release {
    /// ovmf-prebuilt wants texts that live as long as the program: these two short ones do.
    fn source(&self) -> Source {
        Source { tag: self.tag.clone().leak(), sha256: self.sha256.clone().leak() }
    }
}

fn missing(name: &'static str, kind: &Kind, tools: &Path) -> Error {
    let looked = kind.local.iter().map(|pair| below(tools, &pair.code)).collect();
    Error::NoFirmware { kind: name, looked }
}

fn below(tree: &Path, path: &Path) -> PathBuf {
    tree.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHIPPED: &str = include_str!("../../../firmware/firmware.toml");

    #[test]
    fn the_shipped_file_pins_a_release_that_the_crate_knows() {
        let sources = Sources::parse(SHIPPED).unwrap();
        assert_eq!(sources.ovmf_prebuilt.unwrap().source(), Source::EDK2_STABLE202605_R1);
    }

    #[test]
    fn the_first_complete_pair_wins() {
        let tools = tempfile::tempdir().unwrap();
        let sources = Sources::parse(
            "[[uefi.local]]\ncode = '/a/code'\nvars = '/a/vars'\n\
             [[uefi.local]]\ncode = '/b/code'\nvars = '/b/vars'\n",
        )
        .unwrap();
        fs::create_dir_all(tools.path().join("a")).unwrap();
        fs::create_dir_all(tools.path().join("b")).unwrap();
        fs::write(tools.path().join("a/code"), "").unwrap();
        assert!(matches!(
            sources.locate(tools.path(), tools.path()),
            Err(Error::NoFirmware { looked, .. }) if looked.len() == 2
        ));
        for name in ["b/code", "b/vars"] {
            fs::write(tools.path().join(name), "").unwrap();
        }
        let found = sources.locate(tools.path(), tools.path()).unwrap();
        assert_eq!(found.code, tools.path().join("b/code"));
        assert!(sources.locate_secure_boot(tools.path()).is_err());
        assert!(sources.locate_own_keys(tools.path()).is_err());
    }

    #[test]
    fn a_seeded_release_is_used_without_a_network() {
        let cache = tempfile::tempdir().unwrap();
        let sources = Sources::parse(SHIPPED).unwrap();
        let release = sources.ovmf_prebuilt.as_ref().unwrap();
        let folder = cache.path().join("ovmf").join(&release.tag);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("sha256"), &release.sha256).unwrap();
        let found = sources.locate(cache.path(), cache.path()).unwrap();
        assert_eq!(found.code, folder.join("x64/code.fd"));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(Sources::parse("[[uefi.local]]\ncode = '/a'\nvars = '/b'\nmoon = 1").is_err());
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "(.|\n){0,100}") {
            drop(Sources::parse(&text));
        }
    }
}
