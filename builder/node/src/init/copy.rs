//! Copying a tree with owners, modes, xattrs, times and links, as the image's /var is copied once.

use std::{
    ffi::CStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink},
    path::Path,
};

use anyhow::{Context, Result};
use rustix::{
    fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, utimensat},
    io::Errno,
};

/// Copies `from` to `to`, which is not there yet; folders that are `bare` without what is in them.
/// Sockets, pipes and devices are left out: an image
/// has none that a running system does not make itself.
pub(crate) fn tree(from: &Path, to: &Path, bare: &dyn Fn(&Path) -> bool) -> Result<()> {
    let failed = || format!("copying {} to {}", from.display(), to.display());
    let metadata = from.symlink_metadata().with_context(failed)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        fs::create_dir(to).with_context(failed)?;
        let entries =
            if bare(from) { None } else { Some(fs::read_dir(from).with_context(failed)?) };
        for entry in entries.into_iter().flatten() {
            let name = entry.with_context(failed)?.file_name();
            tree(&from.join(&name), &to.join(&name), bare)?;
        }
    } else if kind.is_symlink() {
        fs::read_link(from).and_then(|target| symlink(target, to)).with_context(failed)?;
    } else if kind.is_file() {
        fs::copy(from, to).with_context(failed)?;
    } else {
        return Ok(());
    }
    attributes(from, to, &metadata).with_context(failed)
}

/// The owner first: to change it takes bits off the mode and file capabilities away.
fn attributes(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    if !metadata.file_type().is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    xattrs(from, to)?;
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A file system without xattrs has none to copy; memory takes no `user.*`, which nothing in an image
/// depends on.
fn xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let length = match rustix::fs::llistxattr_query(from) {
        Err(Errno::NOTSUP) => return Ok(()),
        length => length?,
    };
    let mut names = vec![0; length];
    let length = rustix::fs::llistxattr(from, &mut names[..])?;
    for name in names[..length].split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let mut value = vec![0; rustix::fs::lgetxattr_query(from, name)?];
        let length = rustix::fs::lgetxattr(from, name, &mut value[..])?;
        match rustix::fs::lsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Err(Errno::NOTSUP) => {}
            set => set?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("lib/empty")).unwrap();
        fs::write(from.join("lib/file"), "text").unwrap();
        fs::set_permissions(from.join("lib/file"), fs::Permissions::from_mode(0o2751)).unwrap();
        fs::set_permissions(from.join("lib/empty"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink("../run", from.join("run")).unwrap();
        let named =
            rustix::fs::lsetxattr(from.join("lib/file"), "user.a", b"b", XattrFlags::empty());
        tree(&from, &to, &|_| false).unwrap();
        assert_eq!(fs::read_link(to.join("run")).unwrap(), Path::new("../run"));
        for path in ["lib", "lib/empty", "lib/file", "run"] {
            let [a, b] = [&from, &to].map(|top| top.join(path).symlink_metadata().unwrap());
            assert_eq!(
                (a.mode(), a.uid(), a.mtime_nsec()),
                (b.mode(), b.uid(), b.mtime_nsec()),
                "{path}"
            );
        }
        if named.is_ok() {
            let mut value = [0; 8];
            let length =
                rustix::fs::lgetxattr(to.join("lib/file"), "user.a", &mut value[..]).unwrap();
            assert_eq!(&value[..length], b"b");
        }
        assert!(tree(&from, &to, &|_| false).is_err());
    }
}
