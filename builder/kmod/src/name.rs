//! Names of modules, in which `-` and `_` are one, and the files that hold them.

use std::{borrow::Borrow, fmt};

/// A module's name as the kernel knows it: without folder and suffix, with `_` for `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// How a module's file is compressed, which its suffix says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.ko`
    Plain,
    /// `.ko.xz`
    Xz,
    /// `.ko.zst`
    Zstd,
}

/// Suffixes of a module's file. depmod(8) knows `.ko.gz` too, which no distribution uses.
const SUFFIXES: [(&str, Compression); 3] =
    [(".ko", Compression::Plain), (".ko.xz", Compression::Xz), (".ko.zst", Compression::Zstd)];

impl Name {
    /// The name written either way, `dm-verity` or `dm_verity`.
    pub fn new(text: &str) -> Self {
        Self(text.replace('-', "_"))
    }

    /// The name of the module in this file; nothing where it is not a module's file.
    pub fn of_file(path: &str) -> Option<Self> {
        let (stem, _) = split(path)?;
        let name = stem.rsplit('/').next().unwrap_or(stem);
        (!name.is_empty()).then(|| Self::new(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Compression {
    /// How the module in this file is compressed; nothing where it is not a module's file.
    pub fn of_file(path: &str) -> Option<Self> {
        split(path).map(|(_, compression)| compression)
    }
}

/// The path that the module has when it is compressed so.
pub(crate) fn packed(path: &str, compression: Compression) -> String {
    let suffix = SUFFIXES.iter().find(|(_, kind)| *kind == compression).map_or("", |found| found.0);
    split(path).map_or_else(|| path.to_owned(), |(stem, _)| format!("{stem}{suffix}"))
}

fn split(path: &str) -> Option<(&str, Compression)> {
    SUFFIXES.iter().find_map(|&(suffix, kind)| Some((path.strip_suffix(suffix)?, kind)))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_names() {
        for (path, name, compression) in [
            ("kernel/drivers/md/dm-verity.ko", "dm_verity", Compression::Plain),
            ("kernel/fs/ext4/ext4.ko.zst", "ext4", Compression::Zstd),
            ("crc32c_generic.ko.xz", "crc32c_generic", Compression::Xz),
        ] {
            assert_eq!(Name::of_file(path).unwrap().as_str(), name);
            assert_eq!(Compression::of_file(path), Some(compression));
        }
        for path in ["", "modules.dep", "kernel/.ko", "a.ko.gz"] {
            assert_eq!(Name::of_file(path), None, "{path}");
        }
        assert_eq!(packed("a/b-c.ko.zst", Compression::Plain), "a/b-c.ko");
        assert_eq!(packed("a/b-c.ko", Compression::Zstd), "a/b-c.ko.zst");
    }
}
