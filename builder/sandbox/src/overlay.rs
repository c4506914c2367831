//! Overlay mounts: several trees seen as one, the changes kept apart.
//!
//! Mounted with `userxattr`, as a user namespace must (Linux 5.11); a deletion is a 0:0 character
//! device in the upper folder. See Documentation/filesystems/overlayfs.rst.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::Error;

/// A mounted overlay, seen by this process and its children alone; unmounted on drop.
#[derive(Debug)]
pub struct Overlay {
    at: PathBuf,
}

impl Overlay {
    /// Mounts `lowers`, the topmost first, with `upper` above them at `at`. All folders exist,
    /// `upper` and `work` on one file system, `work` empty. Needs [`crate::enter`] before.
    ///
    /// # Errors
    /// [`Error::Overlay`], where the kernel refuses.
    pub fn mount(lowers: &[&Path], upper: &Path, work: &Path, at: &Path) -> Result<Self, Error> {
        mount_with(lowers, &[("upperdir", upper), ("workdir", work)], at)
    }

    /// Mounts `lowers`, at least two and the topmost first, as one read-only tree at `at`.
    ///
    /// # Errors
    /// [`Error::Overlay`], where the kernel refuses.
    pub fn stack(lowers: &[&Path], at: &Path) -> Result<Self, Error> {
        mount_with(lowers, &[], at)
    }

    /// Where the trees are seen as one.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // A mount that is still in use goes when its last user does.
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

fn mount_with(lowers: &[&Path], others: &[(&str, &Path)], at: &Path) -> Result<Overlay, Error> {
    let failed = |source| Error::Overlay { at: at.to_owned(), source };
    let lowers: Vec<_> = lowers.iter().map(|lower| escaped(lower)).collect();
    let mut data = [b"userxattr,lowerdir=".as_slice(), &lowers.join(&b':')].concat();
    for (key, folder) in others {
        data.extend_from_slice(format!(",{key}=").as_bytes());
        data.extend(escaped(folder));
    }
    let data = CString::new(data).map_err(|e| failed(e.into()))?;
    mount(c"overlay", at, c"overlay", MountFlags::empty(), Some(data.as_c_str()))
        .map_err(|e| failed(e.into()))?;
    Ok(Overlay { at: at.to_owned() })
}

/// A path in overlayfs' options: `\`, `,` and `:` have a meaning there.
fn escaped(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b',' | b':') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escaped(Path::new("/a,b:c\\d")), b"/a\\,b\\:c\\\\d");
    }
}
