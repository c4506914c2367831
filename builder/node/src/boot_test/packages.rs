//! What dpkg holds for installed, read from its status file.
//!
//! The file is a list of stanzas, a blank line between two, each of `Field: value` lines. A package
//! counts when the last word of its `Status` is `installed` and the middle one `ok`; see
//! deb822(5) and dpkg(1). Reading it here costs less than starting dpkg-query.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

const STATUS: &str = "/var/lib/dpkg/status";

/// Installed packages by name; one name may be there for several architectures.
#[derive(Debug, Default)]
pub(crate) struct Packages(BTreeMap<String, Vec<String>>);

impl Packages {
    pub(crate) fn load() -> Result<Self> {
        let bytes = std::fs::read(STATUS).with_context(|| format!("reading {STATUS}"))?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut packages = Self::default();
        for stanza in text.split("\n\n") {
            if let Some((name, version)) = installed(stanza) {
                packages.0.entry(name.to_owned()).or_default().push(version.to_owned());
            }
        }
        packages
    }

    /// How many are installed.
    pub(crate) fn len(&self) -> u64 {
        self.0.values().map(|versions| versions.len() as u64).sum()
    }

    /// The installed versions of a package; empty where it is not installed.
    pub(crate) fn versions(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

fn installed(stanza: &str) -> Option<(&str, &str)> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    };
    let (_wanted, state) = field("Status")?.split_once(' ')?;
    (state == "ok installed").then_some((field("Package")?, field("Version")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn installed_packages_count_and_others_do_not() {
        let packages = Packages::parse(
            "Package: a\nStatus: install ok installed\nVersion: 1-1\nDescription: x\n Status: no\n\n\
             Package: b\nStatus: deinstall ok config-files\nVersion: 2\n\n\
             Package: c\nStatus: install reinstreq half-installed\nVersion: 3\n\n\
             Package: d\nStatus: hold ok installed\nVersion: 4\n\n\
             Package: a\nStatus: install ok installed\nVersion: 1-2\n",
        );
        assert_eq!(packages.len(), 3);
        assert_eq!(packages.versions("a"), ["1-1", "1-2"]);
        assert_eq!(packages.versions("d"), ["4"]);
        assert!(packages.versions("b").is_empty() && packages.versions("c").is_empty());
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in any::<String>()) {
            Packages::parse(&text);
        }
    }
}
