//! Writes files whole, on the disk when it returns, and only those that are not so already.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{File, Reader};
use crate::durable::{remove, replace};

/// Files that nobody else makes: those that begin so in a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) folder: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) reader: Reader,
}

/// What is to be done so that the files are there, and no others of their families.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan<'a> {
    write: Vec<&'a File>,
    remove: Vec<(PathBuf, Reader)>,
}

impl<'a> Plan<'a> {
    /// Looks at what is there.
    pub(super) fn of(root: &Path, files: &'a [File], families: &[Family]) -> Self {
        let is_there = |file: &&File| !is_right(&within(root, &file.path), file);
        let write = files.iter().filter(is_there).collect();
        let remove = families.iter().flat_map(|family| left_over(root, files, family)).collect();
        Self { write, remove }
    }

    /// Those who have to be told.
    pub(super) fn readers(&self) -> impl Iterator<Item = Reader> {
        let written = self.write.iter().map(|file| file.read_by);
        written.chain(self.remove.iter().map(|(_, reader)| *reader))
    }

    /// Does it, in order.
    ///
    /// # Errors
    /// The first file that cannot be written or removed.
    pub(super) fn carry_out(&self, root: &Path) -> Result<()> {
        for file in &self.write {
            let path = within(root, &file.path);
            replace(&path, &file.bytes, file.mode)
                .with_context(|| format!("writing {}", path.display()))?;
        }
        for (path, _) in &self.remove {
            remove(path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// A link is not it, wherever it leads.
fn is_right(path: &Path, file: &File) -> bool {
    let has_mode =
        |found: fs::Metadata| found.is_file() && found.permissions().mode() & 0o7777 == file.mode;
    path.symlink_metadata().is_ok_and(has_mode)
        && fs::read(path).is_ok_and(|found| found == file.bytes)
}

fn left_over(root: &Path, files: &[File], family: &Family) -> Vec<(PathBuf, Reader)> {
    let folder = within(root, family.folder);
    let names =
        fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let ours = names.filter(|name| name.as_encoded_bytes().starts_with(family.prefix.as_bytes()));
    let is_meant = |path: &PathBuf| files.iter().any(|file| within(root, &file.path) == *path);
    let mut left: Vec<_> =
        ours.map(|name| folder.join(name)).filter(|path| !is_meant(path)).collect();
    left.sort();
    left.into_iter().map(|path| (path, family.reader)).collect()
}

/// Where a file is below a root.
pub(crate) fn within(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
