//! Paths as tar files have them, made safe.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The longest path that is accepted. Set by Linux (PATH_MAX).
const MAX_PATH_BYTES: usize = 4096;

/// `./usr/bin/` as `usr/bin`: relative to the tree's top, which is the empty path, without `.`, `..`
/// or a slash too many.
pub(super) fn relative(path: &[u8]) -> Result<PathBuf, &'static str> {
    if path.len() > MAX_PATH_BYTES {
        return Err("the path is too long");
    }
    // A line break would add a line of its own to the package's list.
    if path.is_empty() || path.iter().any(|byte| matches!(byte, 0 | b'\n')) {
        return Err("the path is empty, or has a NUL or a line break in it");
    }
    let names = path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let mut relative = PathBuf::new();
    for name in names {
        if name == b".." {
            return Err("the path has .. in it");
        }
        relative.push(Path::new(OsStr::from_bytes(name)));
    }
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_made_plain() {
        for (path, expected) in [
            ("./", ""),
            ("./usr/bin/", "usr/bin"),
            ("/etc//x", "etc/x"),
            ("a/./b", "a/b"),
            ("...", "..."),
        ] {
            assert_eq!(relative(path.as_bytes()).unwrap(), Path::new(expected), "{path}");
        }
        for wrong in ["", "../x", "./a/../b", "a\nb", "a\0"] {
            assert!(relative(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(relative(&[b'a'; 5000]).is_err());
    }

    proptest! {
        #[test]
        fn nothing_climbs(path in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(path) = relative(&path) {
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
