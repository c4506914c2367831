//! Files that were changed in /etc, and hide from now on what updates bring.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// How deep folders are looked into. Set by this program: /etc is never so deep.
const DEPTH: usize = 16;

/// The paths under /etc of what `upper` puts in place of something in one of `lowers`, in order. A
/// 0:0 character device in `upper` hides a file that is no more. What cannot be read is left out.
pub(super) fn find(upper: &Path, lowers: &[&Path]) -> Vec<String> {
    let mut found = Vec::new();
    walk(upper, Path::new(""), DEPTH, &mut |path, metadata| {
        let in_image = lowers.iter().any(|lower| lower.join(path).symlink_metadata().is_ok());
        if in_image && !metadata.is_dir() || is_whiteout(metadata) {
            found.push(format!("/etc/{}", path.display()));
        }
    });
    found.sort();
    found
}

fn walk(root: &Path, below: &Path, depth: usize, visit: &mut dyn FnMut(&Path, &Metadata)) {
    let Ok(entries) = fs::read_dir(root.join(below)) else { return };
    for entry in entries.flatten() {
        let path: PathBuf = below.join(entry.file_name());
        let Ok(metadata) = entry.metadata() else { continue };
        visit(&path, &metadata);
        if metadata.is_dir() && depth > 0 {
            walk(root, &path, depth - 1, visit);
        }
    }
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let [upper, site, system] =
            ["upper", "site", "system"].map(|name| folder.path().join(name));
        for path in
            ["upper/ssh/own", "upper/ssh/config", "upper/hosts", "site/ssh/config", "system/hosts"]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(find(&upper, &[&site, &system]), ["/etc/hosts", "/etc/ssh/config"]);
        assert!(find(&folder.path().join("none"), &[&site]).is_empty());
    }
}
