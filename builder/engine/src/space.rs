//! Whether a build has the room it needs, known before it starts.

use std::{
    collections::BTreeMap,
    fs,
    io::{Error, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

/// What must stay free beside what is counted, for logs, locks and names.
const SPARE: u64 = 64 << 20;

/// Refuses to go on if a disk has less room than what is needed of it: bytes by folder. What lies on one disk is needed
/// of it together; a folder that is not there yet will be where its parent is.
///
/// # Errors
/// Naming the folder, what is free and what is needed.
pub fn check(needs: &[(&Path, u64)]) -> Result<()> {
    let mut disks: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    for &(folder, needed) in needs.iter().filter(|(_, needed)| *needed > 0) {
        let folder = existing(folder);
        let found = fs::metadata(folder)
            .with_context(|| format!("looking for room in {}", folder.display()))?;
        let disk = disks.entry(found.dev()).or_insert((folder, SPARE));
        disk.1 = disk.1.saturating_add(needed);
    }
    disks.values().try_for_each(|&(folder, needed)| check_disk(folder, needed))
}

fn check_disk(folder: &Path, needed: u64) -> Result<()> {
    let free = free(folder)?;
    if free >= needed {
        return Ok(());
    }
    let what = format!(
        "{} has {} MB free and the build needs {} MB there",
        folder.display(),
        free / 1_000_000,
        needed.div_ceil(1_000_000)
    );
    // Of this kind, so that it carries the hint of a full disk.
    Err(Error::new(ErrorKind::StorageFull, what).into())
}

/// The innermost folder on the way that is there.
fn existing(folder: &Path) -> &Path {
    let mut parents = folder.ancestors().filter(|path| *path != Path::new(""));
    parents.find(|path| path.is_dir()).unwrap_or(Path::new("."))
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many things: steps, downloads.
    pub entries: usize,
    /// Bytes of disk that they took.
    pub bytes: u64,
}

impl Removed {
    /// Removes a file, or a folder with all it holds, and counts the files; what is not there, or goes meanwhile, is fine.
    ///
    /// # Errors
    /// Naming what stays.
    pub fn all_of(path: &Path) -> Result<Self> {
        match Self::remove(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            removed => removed.with_context(|| format!("removing {}", path.display())),
        }
    }

    fn remove(path: &Path) -> Result<Self, Error> {
        let found = fs::symlink_metadata(path)?;
        if !found.is_dir() {
            fs::remove_file(path)?;
            // The bytes of a file with another name stay.
            let bytes = if found.nlink() == 1 { found.blocks() * 512 } else { 0 };
            return Ok(Self { entries: 1, bytes });
        }
        let mut removed = Self { entries: 0, bytes: found.blocks() * 512 };
        for entry in fs::read_dir(path)? {
            match Self::remove(&entry?.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                inside => removed = removed.and(inside?),
            }
        }
        fs::remove_dir(path)?;
        Ok(removed)
    }

    /// What removing it would count.
    pub fn seen(path: &Path) -> Self {
        let Ok(found) = fs::symlink_metadata(path) else { return Self::default() };
        let bytes = found.blocks() * 512;
        let inside = fs::read_dir(path).into_iter().flatten().flatten();
        let inside = inside.map(|entry| Self::seen(&entry.path()));
        let itself = Self { entries: usize::from(!found.is_dir()), bytes };
        inside.fold(itself, Self::and)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { entries: self.entries + other.entries, bytes: self.bytes + other.bytes }
    }
}

/// Bytes of disk that the files in `folder` take; nothing where it cannot be read.
pub fn used(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.blocks() * 512)).sum()
}

/// Bytes that this user may still write.
fn free(folder: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking for the free space of {}", folder.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), vec![1; 100_000]).unwrap();
        fs::write(folder.path().join("stays"), vec![1; 1_000_000]).unwrap();
        fs::hard_link(folder.path().join("stays"), tree.join("name")).unwrap();
        std::os::unix::fs::symlink(folder.path(), tree.join("link")).unwrap();
        let removed = Removed::all_of(&tree).unwrap();
        assert_eq!(removed.entries, 3);
        assert!((100_000..900_000).contains(&removed.bytes), "{removed:?}");
        assert!(!tree.exists() && folder.path().join("stays").exists());
        assert_eq!(Removed::all_of(&tree).unwrap(), Removed::default());
    }

    #[test]
    fn too_little_is_said_with_figures() {
        let folder = tempfile::tempdir().unwrap();
        let (here, later) = (folder.path(), folder.path().join("a/b"));
        check(&[(here, 1), (&later, 0)]).unwrap();
        let error = check(&[(&later, u64::MAX)]).unwrap_err().to_string();
        assert!(error.contains("MB free and the build needs"), "{error}");
        assert!(error.starts_with(&here.display().to_string()), "{error}");
        check(&[(Path::new("nowhere"), 1)]).unwrap();
    }

    #[test]
    fn what_is_on_one_disk_is_needed_together() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let most = free(folder.path()).unwrap() / 10 * 6;
        assert!(check(&[(&a, most), (&b, most)]).is_err());
        check(&[(&a, most)]).unwrap();
        check(&[(&b, most)]).unwrap();
    }
}
