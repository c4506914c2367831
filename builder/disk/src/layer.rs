//! Layers: an overlay's upper folder, made fit to be sealed.
//!
//! Overlayfs marks what lies in an upper folder. A deletion is a character device 0:0, which works
//! in any layer. All else are extended attributes, here `user.overlay.*`: a folder that hides the
//! one below is `opaque`, `redirect` and `metacopy` point to content elsewhere, and `origin`,
//! `impure` and the like are notes about the lower layers of that one mount. A node stacks layers
//! with `trusted.overlay.*`, which no user namespace can write: attributes mean nothing there.
//! <https://docs.kernel.org/filesystems/overlayfs.html>

mod marks;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Error, Result, error::During};
use marks::{Mark, Meaning};

/// Checks that the upper folder `layer`, recorded over the trees `lower` (the topmost first), says
/// all it says without attributes. Changes nothing.
///
/// # Errors
/// [`Error::LayerOpaque`] for a folder that hides something; [`Error::LayerMark`] for any other
/// attribute with a meaning, and for `trusted.*`; failing I/O.
pub fn check(layer: &Path, lower: &[&Path]) -> Result<()> {
    let lower: Vec<PathBuf> = lower.iter().map(|&path| path.to_owned()).collect();
    visit(layer, &lower, &|_, _| Ok(()))
}

/// Takes overlayfs' notes from the upper folder `layer`, which must not be mounted, after
/// [`check`]: what is left does not depend on where and how it was recorded.
///
/// # Errors
/// As [`check`], with nothing changed; failing I/O.
pub fn settle(layer: &Path, lower: &[&Path]) -> Result<()> {
    check(layer, lower)?;
    visit(layer, &[], &|path, mark| mark.remove(path))
}

/// Fails on all of overlayfs' attributes and `trusted.*` in a tree, except within these folders.
pub(crate) fn refuse_marks(tree: &Path, but_in: &[PathBuf]) -> Result<()> {
    let but_in: Vec<PathBuf> = but_in.iter().map(|folder| tree.join(folder)).collect();
    let mut paths = vec![tree.to_owned()];
    while let Some(path) = paths.pop() {
        if let Some(mark) = marks::of(&path)?.into_iter().next() {
            return Err(mark.refusal(&path));
        }
        if is_folder(&path)? && !but_in.contains(&path) {
            paths.extend(entries(&path)?);
        }
    }
    Ok(())
}

/// Gives `take` each mark on `path` and below that means nothing over the folders `lower`, and
/// fails on the others.
fn visit(path: &Path, lower: &[PathBuf], take: &dyn Fn(&Path, &Mark) -> Result<()>) -> Result<()> {
    for mark in marks::of(path)? {
        match mark.meaning(path)? {
            Meaning::Note => {}
            Meaning::Opaque => hides_nothing(path, lower)?,
            Meaning::Other => return Err(mark.refusal(path)),
        }
        take(path, &mark)?;
    }
    if is_folder(path)? {
        for entry in entries(path)? {
            let below = merged_with(&entry, lower)?;
            visit(&entry, &below, take)?;
        }
    }
    Ok(())
}

fn hides_nothing(folder: &Path, lower: &[PathBuf]) -> Result<()> {
    for hidden in lower {
        if !entries(hidden)?.is_empty() {
            let (path, hidden) = (folder.to_owned(), hidden.clone());
            return Err(Error::LayerOpaque { path, hidden });
        }
    }
    Ok(())
}

/// The folders that an entry of a folder over `lower` would be merged with: down to the first of
/// the lower trees where its name is something else.
fn merged_with(entry: &Path, lower: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for path in lower.iter().filter_map(|folder| Some(folder.join(entry.file_name()?))) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => folders.push(path),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).during("reading", &path),
        }
    }
    Ok(folders)
}

fn is_folder(path: &Path) -> Result<bool> {
    fs::symlink_metadata(path).map(|found| found.is_dir()).during("reading", path)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).during("reading", folder)?;
    entries.map(|entry| entry.map(|e| e.path()).during("reading", folder)).collect()
}
