//! A tree that is to become a root file system, and paths that cannot leave it.
//!
//! Every path is looked up as a program whose root is the tree would: an absolute symbolic link
//! begins at the tree's top, and `..` stops there. openat2(2) does this with RESOLVE_IN_ROOT; where
//! it is missing (before Linux 5.6) or filtered away, the path is walked by hand.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::Error;

/// The most symbolic links followed in one path. Set by Linux (MAXSYMLINKS).
const MAX_LINKS: usize = 40;
/// How often a lookup is tried again that a rename elsewhere disturbed. Set here.
const MAX_TRIES: usize = 64;

/// A tree, held open.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// Opens the folder that is the tree's root, which must exist.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let root = fs::openat(CWD, path, FOLDER, Mode::empty());
        let failed =
            |e: Errno| Error::Host { operation: "opening", path: path.into(), source: e.into() };
        Ok(Self { root: root.map_err(failed)? })
    }

    /// Opens a folder by its path from the tree's top, symbolic links followed.
    /// The handle serves as a starting point for the `*at` calls, not for reading.
    pub(crate) fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        for _ in 0..MAX_TRIES {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            match fs::openat2(&self.root, path, FOLDER, Mode::empty(), ResolveFlags::IN_ROOT) {
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS | Errno::PERM) => return self.walk(path),
                other => return Ok(other?),
            }
        }
        self.walk(path)
    }

    /// Opens the folder that holds `path`, and says by which name.
    pub(crate) fn parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.folder(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// The path of something from the tree's top, through no symbolic link but perhaps itself.
    pub(crate) fn real(&self, path: &Path) -> io::Result<PathBuf> {
        let (folder, name) = self.parent(path)?;
        let (root, folder) = (lies_at(&self.root)?, lies_at(folder)?);
        let below = folder.strip_prefix(&root).map_err(io::Error::other)?;
        Ok(below.join(name))
    }

    /// Makes a folder and all above it as far as they are missing, each 0755.
    pub(crate) fn make_folders(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut so_far = PathBuf::new();
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let above = self.folder(&so_far)?;
            so_far.push(name);
            match fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                // Another's umask must not decide what is in an image.
                Ok(()) => fs::chmodat(&above, name, Mode::from_raw_mode(0o755), AtFlags::empty())?,
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.folder(&so_far)
    }

    /// Writes a file of root's, whose folder must exist, in place of whatever has its name.
    pub(crate) fn write(&self, path: &Path, mut content: &[u8], mode: u32) -> Result<(), Error> {
        self.write_from(path, &mut content, mode)
    }

    /// [`Self::write`], with what a reader has.
    pub(crate) fn write_from(
        &self,
        path: &Path,
        content: &mut impl Read,
        mode: u32,
    ) -> Result<(), Error> {
        let mut write = || {
            let (folder, name) = self.parent_cleared(path)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut file =
                File::from(fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600))?);
            io::copy(content, &mut file)?;
            Ok(fs::fchmod(&file, Mode::from_raw_mode(mode))?)
        };
        write().map_err(|source| Error::Tree { operation: "writing", path: shown(path), source })
    }

    /// Makes a symbolic link, whose folder must exist, in place of whatever has its name.
    pub(crate) fn link(&self, path: &Path, target: &Path) -> Result<(), Error> {
        let link = || {
            let (folder, name) = self.parent_cleared(path)?;
            Ok(fs::symlinkat(target, &folder, name)?)
        };
        link().map_err(|source| Error::Tree { operation: "linking", path: shown(path), source })
    }

    /// [`Self::parent`], with nothing of the name left in it.
    fn parent_cleared<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let (folder, name) = self.parent(path)?;
        match fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((folder, name)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The names of all plain files of a folder, in order; none where it is missing.
    pub(crate) fn file_names(&self, path: &Path) -> Result<Vec<OsString>, Error> {
        self.names(path, fs::FileType::RegularFile)
    }

    /// The names of all folders of a folder, in order; none where it is missing.
    pub(crate) fn folder_names(&self, path: &Path) -> Result<Vec<OsString>, Error> {
        self.names(path, fs::FileType::Directory)
    }

    fn names(&self, path: &Path, kind: fs::FileType) -> Result<Vec<OsString>, Error> {
        let failed = |source| Error::Tree { operation: "reading", path: shown(path), source };
        let folder = match self.folder(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        // The handle of a lookup cannot be read from.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = fs::openat(&folder, ".", flags, Mode::empty());
        let entries = open.and_then(fs::Dir::new).map_err(|errno| failed(errno.into()))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|errno| failed(errno.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if entry.file_type() == kind && name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads a file, symbolic links to it followed.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Tree { operation: "reading", path: shown(path), source };
        let mut content = Vec::new();
        self.open_file(path).and_then(|mut file| file.read_to_end(&mut content)).map_err(failed)?;
        Ok(content)
    }

    /// Whether there is anything of this path, a symbolic link to nowhere included.
    pub(crate) fn exists(&self, path: &Path) -> Result<bool, Error> {
        if path.as_os_str().is_empty() {
            return Ok(true); // the tree itself, which has no name
        }
        let found = self
            .parent(path)
            .and_then(|(folder, name)| Ok(fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match found {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Tree { operation: "looking for", path: shown(path), source }),
        }
    }

    /// Removes a file or link, if it is there.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        let removed = self
            .parent(path)
            .and_then(|(folder, name)| Ok(fs::unlinkat(folder, name, AtFlags::empty())?));
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::Tree { operation: "removing", path: shown(path), source: e })
            }
            _ => Ok(()),
        }
    }

    /// The path from the tree's top of the plain file that this one leads to; none where there is no such file.
    pub(crate) fn plain_file(&self, path: &Path) -> Option<PathBuf> {
        let file = self.open_file(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let (root, file) = (lies_at(&self.root).ok()?, lies_at(&file).ok()?);
        Some(file.strip_prefix(root).ok()?.to_owned())
    }

    /// Opens a file for reading, symbolic links to it followed.
    pub(crate) fn open_file(&self, path: &Path) -> io::Result<File> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let (folder, name) = self.parent(&path)?;
            // A pipe in the tree would wait for one who writes.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            match fs::openat(&folder, name, flags, Mode::empty()) {
                Err(Errno::LOOP) => {}
                other => return Ok(File::from(other?)),
            }
            let target = fs::readlinkat(&folder, name, Vec::new())?;
            let target: OsString = std::os::unix::ffi::OsStringExt::from_vec(target.into_bytes());
            // An absolute target takes the place of the whole path.
            path = path.parent().unwrap_or(Path::new("")).join(target);
        }
        Err(Errno::LOOP.into())
    }

    /// [`Self::folder`] without openat2.
    fn walk(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut open = vec![self.root.try_clone()?];
        let mut todo: Vec<OsString> = parts(path);
        let mut links = 0;
        while let Some(name) = todo.pop() {
            let here = open.last().expect("the root is never taken off").as_fd();
            if name == ".." {
                open.truncate(open.len().saturating_sub(1).max(1));
                continue;
            }
            let Ok(target) = fs::readlinkat(here, &name, Vec::new()) else {
                let next = fs::openat(here, &name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
                open.push(next);
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = target.into_bytes();
            if target.starts_with(b"/") {
                open.truncate(1);
            }
            let target: OsString = std::os::unix::ffi::OsStringExt::from_vec(target);
            todo.extend(parts(Path::new(&target)));
        }
        Ok(open.pop().expect("the root is never taken off"))
    }
}

/// A handle on what has this name in a folder, be it a file, a folder or a node: a link that has come
/// there is refused, since what is done to it would be done to its target, anywhere on the host.
pub(crate) fn hold(folder: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = fs::openat(folder, name, flags, Mode::empty())?;
    match fs::FileType::from_raw_mode(fs::fstat(&handle)?.st_mode) {
        fs::FileType::Symlink => Err(io::Error::other("it is a symbolic link")),
        _ => Ok(handle),
    }
}

/// Sets the permission bits of what [`hold`] holds. No call takes such a handle itself before
/// fchmodat2 (Linux 6.6); its name in /proc leads to it and nowhere else.
pub(crate) fn set_mode(handle: impl AsFd, mode: u32) -> io::Result<()> {
    let name = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
    Ok(fs::chmod(name, Mode::from_raw_mode(mode))?)
}

/// Where something held open lies, as the kernel has it.
fn lies_at(handle: impl AsFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd()))
}

/// A path below the tree as people know it.
pub(crate) fn shown(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

/// Owner, mode and time of something in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits, with set-user-id and its like.
    pub(crate) mode: u32,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
}

impl Metadata {
    /// Applies all to an open file. The mode comes after the owner, for a change of owner clears
    /// set-user-id.
    pub(crate) fn apply(&self, file: impl AsFd) -> io::Result<()> {
        let (uid, gid) = self.owner();
        fs::fchown(&file, uid, gid)?;
        fs::fchmod(&file, Mode::from_raw_mode(self.mode))?;
        Ok(fs::futimens(&file, &self.times())?)
    }

    /// Applies all to something in a folder that is no symbolic link.
    pub(crate) fn apply_at(&self, folder: impl AsFd, name: &OsStr) -> io::Result<()> {
        self.apply_to_link(&folder, name)?;
        set_mode(hold(folder, name)?, self.mode)
    }

    /// Applies owner and time to a symbolic link; it has no mode.
    pub(crate) fn apply_to_link(&self, folder: impl AsFd, name: &OsStr) -> io::Result<()> {
        let (uid, gid) = self.owner();
        fs::chownat(&folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(fs::utimensat(&folder, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Applies all to a folder by its path from the tree's top.
    pub(crate) fn apply_below(&self, tree: &Tree, path: &Path) -> io::Result<()> {
        self.apply_at(tree.folder(path)?, OsStr::new("."))
    }

    fn owner(&self) -> (Option<fs::Uid>, Option<fs::Gid>) {
        (Some(fs::Uid::from_raw(self.uid)), Some(fs::Gid::from_raw(self.gid)))
    }

    fn times(&self) -> fs::Timestamps {
        let time = fs::Timespec { tv_sec: self.mtime, tv_nsec: 0 };
        fs::Timestamps { last_access: time, last_modification: time }
    }
}

/// A handle on a folder that needs no permission to read it.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The names in a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_path_leaves_the_tree() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        std::fs::create_dir_all(root.join("usr/lib/deep")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/usr/lib/deep", root.join("absolute")).unwrap();
        symlink("../../../../usr/lib", root.join("usr/climbing")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/etc", root.join("out")).unwrap();
        let tree = Tree::open(&root).unwrap();
        assert!(tree.exists(Path::new("")).unwrap());
        let inode = |fd: OwnedFd| fs::fstat(fd).unwrap().st_ino;
        let expected =
            |path| std::os::unix::fs::MetadataExt::ino(&root.join(path).metadata().unwrap());
        for (path, same) in [
            ("", "."),
            ("lib", "usr/lib"),
            ("lib/deep", "usr/lib/deep"),
            ("absolute", "usr/lib/deep"),
            ("usr/climbing/deep", "usr/lib/deep"),
            ("../../usr", "usr"),
            ("lib/deep/../../..", "."),
        ] {
            assert_eq!(inode(tree.folder(Path::new(path)).unwrap()), expected(same), "{path}");
            assert_eq!(inode(tree.walk(Path::new(path)).unwrap()), expected(same), "{path} walked");
        }
        for path in ["out", "loop", "missing", "usr/missing/.."] {
            assert!(tree.folder(Path::new(path)).is_err(), "{path}");
            assert!(tree.walk(Path::new(path)).is_err(), "{path} walked");
        }
    }

    #[test]
    fn folders_are_made_through_links() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("usr/lib")).unwrap();
        symlink("usr/lib", place.path().join("lib")).unwrap();
        Tree::open(place.path()).unwrap().make_folders(Path::new("lib/a/b")).unwrap();
        assert!(place.path().join("usr/lib/a/b").is_dir());
    }
}
