//! The extended attributes that must not be in a sealed layer.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use rustix::{
    fs::{lgetxattr, llistxattr, lremovexattr},
    io::Errno,
};

use crate::{Error, Result, error::During};

/// Overlayfs' own in a user namespace, and those that only the host's root may write.
const PREFIXES: [&[u8]; 2] = [b"user.overlay.", b"trusted."];
/// What overlayfs notes about the layers below: it does without.
const NOTES: [&str; 4] =
    ["user.overlay.origin", "user.overlay.impure", "user.overlay.nlink", "user.overlay.uuid"];
/// A folder that hides the one below where this is `y`.
const OPAQUE: &str = "user.overlay.opaque";
/// The most bytes of names a file has. Set by Linux (XATTR_LIST_MAX).
const MAX_NAMES: usize = 65_536;

/// An attribute of a file.
pub(super) struct Mark(OsString);

/// What a mark says of its file.
pub(super) enum Meaning {
    /// Nothing that is not so without it.
    Note,
    /// That nothing of the folder below is seen.
    Opaque,
    /// Something that is lost without it.
    Other,
}

/// The marks on a file itself, not on what a link leads to.
pub(super) fn of(path: &Path) -> Result<Vec<Mark>> {
    let mut names = vec![0; MAX_NAMES];
    let length = match llistxattr(path, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other.map_err(io::Error::from).during("reading the attributes of", path)?,
    };
    let names = names[..length].split(|&byte| byte == 0);
    let marks = names.filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    Ok(marks.map(|name| Mark(OsStr::from_bytes(name).to_owned())).collect())
}

impl Mark {
    pub(super) fn meaning(&self, path: &Path) -> Result<Meaning> {
        if NOTES.iter().any(|note| self.0 == *note) {
            return Ok(Meaning::Note);
        }
        if self.0 != OPAQUE {
            return Ok(Meaning::Other);
        }
        let mut value = [0; 2];
        match lgetxattr(path, &self.0, &mut value[..]) {
            Ok(1) if value[0] == b'y' => Ok(Meaning::Opaque),
            Ok(_) | Err(Errno::RANGE) => Ok(Meaning::Other),
            Err(error) => Err(io::Error::from(error)).during("reading the attributes of", path),
        }
    }

    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        lremovexattr(path, &self.0)
            .map_err(io::Error::from)
            .during("removing overlayfs' notes from", path)
    }

    /// That the mark must not be.
    pub(super) fn refusal(&self, path: &Path) -> Error {
        let attribute = self.0.to_string_lossy().into_owned();
        Error::LayerMark { path: path.to_owned(), attribute }
    }
}
