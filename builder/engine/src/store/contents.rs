//! What an entry has, without its bytes: enough to see that a file was cut, lost or added.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use coremax_fetch::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// How much an output is, and of what shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// Bytes of disk that it took when it was made.
    pub(super) bytes: u64,
    /// Over names, kinds, modes, sizes and times of everything in it.
    shape: Digest,
}

impl Contents {
    /// Those of a folder.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let mut walk = Walk { bytes: 0, shape: Hasher::default() };
        walk.enter(folder)?;
        Ok(Self { bytes: walk.bytes, shape: walk.shape.finish().0 })
    }

    /// Whether both are of one shape. What it takes is the disk's matter: a copy may take another amount.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.shape == other.shape
    }
}

struct Walk {
    bytes: u64,
    shape: Hasher,
}

impl Walk {
    fn enter(&mut self, folder: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let found = entry.metadata()?;
            // A file of several names is counted with the last of them.
            self.bytes += found.blocks() * 512 / if found.is_dir() { 1 } else { found.nlink() };
            let name = entry.file_name();
            self.shape.update(name.as_encoded_bytes());
            // No name has this byte: nothing can be taken for the end of another.
            self.shape.update(&[0]);
            self.shape.update(&found.mode().to_le_bytes());
            if found.is_dir() {
                self.enter(&entry.path())?;
            } else {
                // Of a folder, both depend on the file system.
                self.shape.update(&found.size().to_le_bytes());
                self.shape.update(&found.mtime().to_le_bytes());
            }
        }
        self.shape.update(b"/");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{PermissionsExt as _, symlink},
        time::{Duration, SystemTime},
    };

    use super::*;

    /// Makes a change in a folder with a file, a link and a folder with another file.
    type Change = fn(&Path);

    #[test]
    fn every_change_but_of_bytes_alone_is_seen() {
        let changes: [(&str, Change, bool); 8] = [
            ("nothing", |_| (), false),
            ("cut", |at| fs::write(at.join("folder/file"), "wh").unwrap(), true),
            ("lost", |at| fs::remove_file(at.join("folder/file")).unwrap(), true),
            ("added", |at| fs::write(at.join("folder/more"), "").unwrap(), true),
            ("empty folder", |at| fs::create_dir(at.join("more")).unwrap(), true),
            (
                "mode",
                |at| {
                    fs::set_permissions(at.join("file"), fs::Permissions::from_mode(0o600))
                        .unwrap();
                },
                true,
            ),
            (
                "time",
                |at| {
                    let file = fs::File::options().write(true).open(at.join("file")).unwrap();
                    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(9)).unwrap();
                },
                true,
            ),
            (
                "moved",
                |at| fs::rename(at.join("folder/file"), at.join("folder-file")).unwrap(),
                true,
            ),
        ];
        for (name, change, seen) in changes {
            let place = tempfile::tempdir().unwrap();
            let at = place.path();
            fs::create_dir(at.join("folder")).unwrap();
            fs::write(at.join("file"), "whole").unwrap();
            fs::write(at.join("folder/file"), "whole").unwrap();
            symlink("file", at.join("link")).unwrap();
            let before = Contents::of(at).unwrap();
            assert!(before.bytes > 0);
            change(at);
            assert_eq!(!before.is_like(&Contents::of(at).unwrap()), seen, "{name}");
        }
    }
}
