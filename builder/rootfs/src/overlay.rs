//! Files that are in no package: whole folders laid over a tree, and single files.
//!
//! Links in the tree are followed, as the system in it would: what is laid over `lib/x` lands in
//! `usr/lib/x` where /lib is a link. A file takes the place of what has its name.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Gid, Uid};

use crate::{
    Error,
    accounts::Accounts,
    tree::{Tree, hold, set_mode},
};

/// A single file for a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The path in the tree, absolute.
    pub path: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// A user of the tree by name.
    pub owner: String,
    /// A group of the tree by name.
    pub group: String,
}

/// Lays what is in the folder `source` over a tree: all owned by root, folders 0755, files 0755
/// where their owner may run them and 0644 otherwise, symbolic links as they are. Returns where all of
/// it came to lie, from the tree's top and through no link.
///
/// # Errors
/// Where `source` cannot be read or has something else in it, or the tree cannot be written.
pub fn overlay(tree: &Path, source: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut laid = Vec::new();
    lay(&Tree::open(tree)?, source, Path::new(""), &mut laid)?;
    Ok(laid)
}

/// Makes a symbolic link to `target` in a tree, in the place of what is at `path` (from the tree's top), and the
/// folders above it that are missing. No link of the tree leads it elsewhere.
///
/// # Errors
/// Where the tree cannot be written.
pub fn link(tree: &Path, path: &Path, target: &Path) -> Result<(), Error> {
    let tree = Tree::open(tree)?;
    tree.make_folders(path.parent().unwrap_or(Path::new(""))).map_err(|source| Error::Tree {
        operation: "making folders for",
        path: crate::tree::shown(path),
        source,
    })?;
    tree.link(path, target)
}

/// Places single files, and the folders above them that are missing (root's, 0755). Returns as
/// [`overlay()`] does where they came to lie.
///
/// # Errors
/// Where an owner is not in the tree, or the tree cannot be written.
pub fn place(tree: &Path, files: &[Placed]) -> Result<Vec<PathBuf>, Error> {
    let tree = Tree::open(tree)?;
    let accounts = Accounts::load(&tree)?;
    let mut placed = Vec::new();
    for file in files {
        let path = file.path.strip_prefix("/").unwrap_or(&file.path);
        let (uid, gid) = (accounts.uid(&file.owner)?, accounts.gid(&file.group)?);
        let failed = |source| Error::Tree { operation: "placing", path: file.path.clone(), source };
        tree.make_folders(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
        tree.write(path, &file.content, file.mode)?;
        own(&tree, path, uid, gid, Some(file.mode)).map_err(failed)?;
        placed.push(tree.real(path).map_err(failed)?);
    }
    Ok(placed)
}

fn lay(tree: &Tree, source: &Path, at: &Path, laid: &mut Vec<PathBuf>) -> Result<(), Error> {
    let unreadable = |source_error| Error::Host {
        operation: "reading",
        path: source.to_owned(),
        source: source_error,
    };
    let mut entries: Vec<_> =
        fs::read_dir(source).and_then(Iterator::collect).map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let at = at.join(entry.file_name());
        let kind = entry.file_type().map_err(unreadable)?;
        let failed =
            |source| Error::Tree { operation: "placing", path: crate::tree::shown(&at), source };
        if kind.is_dir() {
            // One that is there keeps its owner and mode, as /tmp must.
            tree.make_folders(&at).map_err(failed)?;
            lay(tree, &entry.path(), &at, laid)?;
        } else if kind.is_symlink() {
            tree.link(&at, &fs::read_link(entry.path()).map_err(unreadable)?)?;
        } else if kind.is_file() {
            lay_file(tree, &entry.path(), &at)?;
        } else {
            return Err(Error::Host {
                operation: "laying over a tree",
                path: entry.path(),
                source: io::Error::other("it is no file, folder or symbolic link"),
            });
        }
        laid.push(tree.real(&at).map_err(failed)?);
    }
    Ok(())
}

fn lay_file(tree: &Tree, source: &Path, at: &Path) -> Result<(), Error> {
    let unreadable =
        |error| Error::Host { operation: "reading", path: source.to_owned(), source: error };
    let mut file = File::open(source).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
    tree.write_from(at, &mut file, mode)
}

/// Sets the owner of something, and then its mode, which a change of owner may have narrowed. A
/// symbolic link is refused.
pub(crate) fn own(
    tree: &Tree,
    path: &Path,
    uid: u32,
    gid: u32,
    mode: Option<u32>,
) -> io::Result<()> {
    let (folder, name) = tree.parent(path)?;
    let handle = hold(folder, name)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(&handle, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    mode.map_or(Ok(()), |mode| set_mode(handle, mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_laid_over_a_tree() {
        let place = tempfile::tempdir().unwrap();
        let (tree, source) = (place.path().join("tree"), place.path().join("source"));
        fs::create_dir_all(tree.join("usr/lib")).unwrap();
        fs::create_dir_all(tree.join("tmp")).unwrap();
        fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink("usr/lib", tree.join("lib")).unwrap();
        fs::write(tree.join("usr/lib/old"), "old").unwrap();
        fs::create_dir_all(source.join("lib/deep")).unwrap();
        fs::create_dir_all(source.join("tmp")).unwrap();
        for (path, mode) in [("lib/old", 0o600), ("lib/deep/run", 0o700)] {
            fs::write(source.join(path), "new").unwrap();
            fs::set_permissions(source.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("/nowhere", source.join("lib/link")).unwrap();

        overlay(&tree, &source).unwrap();
        overlay(&tree, &source).unwrap();

        let mode = |path: &str| tree.join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert!(tree.join("lib").is_symlink());
        assert_eq!(fs::read_to_string(tree.join("usr/lib/old")).unwrap(), "new");
        assert_eq!((mode("usr/lib/old"), mode("usr/lib/deep/run")), (0o644, 0o755));
        assert_eq!((mode("usr/lib/deep"), mode("tmp")), (0o755, 0o1777));
        assert_eq!(fs::read_link(tree.join("usr/lib/link")).unwrap(), Path::new("/nowhere"));
    }

    #[test]
    fn a_file_has_its_owner_and_mode() {
        let place_dir = tempfile::tempdir().unwrap();
        let tree = place_dir.path();
        fs::create_dir_all(tree.join("etc")).unwrap();
        let own = fs::metadata(tree).map(|m| {
            use std::os::unix::fs::MetadataExt;
            (m.uid(), m.gid())
        });
        let (uid, gid) = own.unwrap();
        fs::write(tree.join("etc/passwd"), format!("me:x:{uid}:{gid}::/:/bin/sh\n")).unwrap();
        fs::write(tree.join("etc/group"), format!("us:x:{gid}:\n")).unwrap();
        let mut file = Placed {
            path: "/opt/new/x".into(),
            content: b"text".to_vec(),
            mode: 0o4750,
            owner: "me".into(),
            group: "us".into(),
        };
        place(tree, std::slice::from_ref(&file)).unwrap();
        let found = tree.join("opt/new/x").metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, 0o4750);
        file.owner = "nobody-knows".into();
        let error = place(tree, &[file]).unwrap_err().to_string();
        assert!(error.contains("nobody-knows"), "{error}");
    }

    #[test]
    fn no_owner_or_mode_goes_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        let (root, outside) = (place.path().join("tree"), place.path().join("outside"));
        fs::create_dir_all(root.join("root")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&outside, root.join("root/.ssh")).unwrap();
        let own_ids = rustix::process::geteuid().as_raw();
        let tree = Tree::open(&root).unwrap();
        let error = own(&tree, Path::new("root/.ssh"), own_ids, own_ids, Some(0o700)).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert_eq!(outside.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }
}
