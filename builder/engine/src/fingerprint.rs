//! Fingerprints: what a step reads, as one digest.
//!
//! Every value goes in under a label and with its length, so that no two different lists of
//! values make the same bytes.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context as _, Result};
use coremax_fetch::{Digest, Hasher};
use serde::Serialize;

/// A fingerprint in the making.
pub struct Fingerprint {
    hasher: Hasher,
}

impl Fingerprint {
    /// Begins the fingerprint of a step. `revision` changes whenever the step's own code makes
    /// something else of the same inputs.
    pub fn new(step: &str, revision: u32) -> Self {
        let hasher = Hasher::default();
        Self { hasher }.with("step", step).with("revision", revision.to_string())
    }

    /// Takes in a value.
    #[must_use]
    pub fn with(mut self, label: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [label.as_bytes(), value.as_ref()] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
        self
    }

    /// Takes in a value by its JSON form.
    #[must_use]
    pub fn with_json(self, label: &str, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.with(label, json)
    }

    /// Takes in a file or a whole folder: names, kinds, modes, contents and link targets, not
    /// times or owners.
    ///
    /// # Errors
    /// Where something cannot be read.
    pub fn with_path(self, label: &str, path: &Path) -> Result<Self> {
        let mut this = self.with("path", label);
        let kind =
            fs::symlink_metadata(path).with_context(|| format!("reading {}", path.display()))?;
        if kind.is_symlink() {
            let target = fs::read_link(path)?;
            return Ok(this.with("link", target.as_os_str().as_encoded_bytes()));
        }
        if kind.is_dir() {
            return this.with_folder(path);
        }
        let executable = kind.permissions().mode() & 0o111 != 0;
        let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let (digest, _) = Digest::of_reader(file)?;
        this = this.with("executable", [u8::from(executable)]);
        Ok(this.with("file", digest.as_bytes()))
    }

    fn with_folder(self, path: &Path) -> Result<Self> {
        let mut entries: Vec<_> = fs::read_dir(path)
            .and_then(Iterator::collect)
            .with_context(|| format!("listing {}", path.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let start = self.with("folder", (entries.len() as u64).to_le_bytes());
        entries.iter().try_fold(start, |this, entry| {
            this.with_path(&entry.file_name().to_string_lossy(), &entry.path())
        })
    }

    /// The fingerprint.
    pub fn finish(self) -> Digest {
        self.hasher.finish().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_lengths_count() {
        let one = |a: &str, b: &str| Fingerprint::new("s", 1).with(a, b).finish();
        assert_eq!(one("a", "bc"), one("a", "bc"));
        assert_ne!(one("a", "bc"), one("ab", "c"));
        assert_ne!(one("a", "b"), Fingerprint::new("s", 2).with("a", "b").finish());
    }

    #[test]
    fn folders_by_content_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let print = || Fingerprint::new("s", 1).with_path("f", folder.path()).unwrap().finish();
        let empty = print();
        fs::write(folder.path().join("a"), "1").unwrap();
        let one = print();
        assert_ne!(empty, one);
        fs::write(folder.path().join("a"), "2").unwrap();
        assert_ne!(one, print());
        fs::write(folder.path().join("a"), "1").unwrap();
        assert_eq!(one, print());
        fs::set_permissions(folder.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(one, print());
    }
}
