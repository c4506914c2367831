//! Leaving out what is in a folder, in mksquashfs's words.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use crate::{Error, Result};

/// The patterns of mksquashfs's `-wildcards -e` for all that is in these folders.
pub(super) fn patterns(folders: &[PathBuf]) -> Result<Vec<OsString>> {
    let mut patterns = Vec::new();
    for folder in folders {
        let escaped = escaped(folder)?;
        // As in a shell, a star stands for no leading dot.
        for names in [&b"/*"[..], b"/.*"] {
            patterns.push(OsString::from_vec([&escaped, names].concat()));
        }
    }
    Ok(patterns)
}

/// A path's names, each character of which stands for itself.
///
/// Without `-wildcards` nothing had to be escaped, but mksquashfs then leaves out by number of
/// inode: a file and all hard links to it, wherever they are.
fn escaped(folder: &Path) -> Result<Vec<u8>> {
    let refuse = || Error::SquashfsFolder { path: folder.to_owned() };
    let mut names = Vec::new();
    for component in folder.components() {
        let Component::Normal(name) = component else { return Err(refuse()) };
        let escape = |&byte: &u8| match byte {
            byte if byte.is_ascii_alphanumeric() || !byte.is_ascii() => vec![byte],
            byte => vec![b'\\', byte],
        };
        names.push(name.as_bytes().iter().flat_map(escape).collect::<Vec<u8>>());
    }
    if names.is_empty() { Err(refuse()) } else { Ok(names.join(&b'/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_themselves() {
        for (folder, expected) in [
            ("boot", ["boot/*", "boot/.*"]),
            ("var//cache/", ["var/cache/*", "var/cache/.*"]),
            ("a*/[b] \u{fc}", ["a\\*/\\[b\\]\\ \u{fc}/*", "a\\*/\\[b\\]\\ \u{fc}/.*"]),
            ("...", ["\\.\\.\\./*", "\\.\\.\\./.*"]),
        ] {
            assert_eq!(patterns(&[folder.into()]).unwrap(), expected);
        }
        for bad in ["", "/boot", "..", "a/../b", "."] {
            assert!(patterns(&[bad.into()]).is_err(), "{bad}");
        }
    }
}
