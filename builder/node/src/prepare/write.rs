//! Writes files whole, on the disk when it returns, and only those that are not so already.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{File, Reader};

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
            whole(&path, file.mode, file.text.as_bytes())
                .with_context(|| format!("writing {}", path.display()))?;
        }
        for (path, _) in &self.remove {
            remove(path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Puts a file there at once, in place of what was, with folders above it where there are none; it outlives a cut of
/// power when this returns. The text is nowhere else but in a file beside it, with the same mode, which a cut may leave.
///
/// # Errors
/// Where the disk says so.
pub(crate) fn whole(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let new = beside(path, mode, text)?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// The same for what is made once: what is there stays.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`], and where the disk says so.
pub(crate) fn once(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let new = beside(path, mode, text)?;
    let linked = fs::hard_link(&new, path);
    remove(&new)?;
    linked?;
    path.parent().map_or(Ok(()), sync)
}

/// The file that is to take a place, next to it and on the disk.
fn beside(path: &Path, mode: u32, text: &[u8]) -> io::Result<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    folders(folder)?;
    // Begins and ends as nothing that a program looks for in its folder of settings.
    let new = folder.join(format!(".{}.new", name.to_string_lossy()));
    remove(&new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(Permissions::from_mode(mode))?; // whatever the umask
    file.write_all(text)?;
    file.sync_all()?;
    Ok(new)
}

/// Folders that were not there are in their parents for good.
fn folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().ok_or(ErrorKind::NotFound)?;
    folders(parent)?;
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(parent)
}

/// Nothing where it is not there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// A link is not it, wherever it leads.
fn is_right(path: &Path, file: &File) -> bool {
    let has_mode =
        |found: fs::Metadata| found.is_file() && found.permissions().mode() & 0o7777 == file.mode;
    path.symlink_metadata().is_ok_and(has_mode)
        && fs::read(path).is_ok_and(|found| found == file.text.as_bytes())
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
