//! What must not be in an image: identities, logs, caches, leftovers of the build.
//!
//! Two things are at stake. Machines made from one image must not share what should be their own
//! (machine-id, host keys, seeds). And two builds of one recipe must be the same byte for byte: what
//! maintainer scripts make of chance or of the clock is removed, or pinned, by a row of [`RULES`],
//! and nowhere else; times after the epoch are set to the epoch.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::{Error, tree::Tree};

/// What is done to the files that a rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Remove files whose names match, in this folder.
    Remove,
    /// Remove files whose names match, in this folder and all below; folders stay.
    RemoveBelow,
    /// As `RemoveBelow`, but files without content stay, for their owner and mode.
    RemoveFilledBelow,
    /// Remove everything in this folder.
    Empty,
    /// Give the file this content, where it is there.
    Rewrite(&'static str),
}

/// A folder, a pattern (one `*` in it stands for anything), what to do, and why.
struct Rule(&'static str, &'static str, Action, #[allow(dead_code)] &'static str); // the why is for readers

use Action::{Empty, Remove, RemoveBelow, RemoveFilledBelow, Rewrite};

/// Everything that cleaning does, but for `/etc/machine-id` and times.
const RULES: [Rule; 31] = [
    // Identities.
    Rule("var/lib/dbus", "machine-id", Remove, "a second copy of the machine's identity"),
    Rule("etc/ssh", "ssh_host_*", Remove, "every machine makes its own at first boot"),
    Rule("var/lib/systemd", "random-seed", Remove, "a seed that all machines share is none"),
    Rule("var/lib/systemd", "credential.secret", Remove, "a key that all machines share is none"),
    Rule("etc/iscsi", "initiatorname.iscsi", Rewrite("GenerateName=yes\n"), "named at first start"),
    Rule("etc/nvme", "host*", Remove, "the name comes from the machine's own UUID then"),
    // Logs.
    Rule("var/log", "*", RemoveFilledBelow, "they tell of the build, and carry its time"),
    // Caches that are made again, or that depend on the order and time of the build.
    Rule("var/lib/apt/lists", "*", RemoveBelow, "stale before the image boots"),
    Rule("var/lib/apt", "extended_states", Remove, "nothing was installed by apt"),
    Rule("var/cache/apt", "*", RemoveBelow, "packages and indexes of the build"),
    Rule("var/cache/ldconfig", "aux-cache", Remove, "it holds inode numbers"),
    Rule("var/cache/man", "*", Empty, "made again by man-db's timer"),
    Rule("var/cache/fontconfig", "*", Empty, "it holds times; made again on first use"),
    Rule("var/cache/debconf", "*-old", Remove, "the state before the last question"),
    // Leftovers of programs that keep the file before.
    Rule("etc", "passwd-", Remove, "the accounts before the last was added"),
    Rule("etc", "group-", Remove, "the accounts before the last was added"),
    Rule("etc", "shadow-", Remove, "the accounts before the last was added"),
    Rule("etc", "gshadow-", Remove, "the accounts before the last was added"),
    Rule("etc", "subuid-", Remove, "the accounts before the last was added"),
    Rule("etc", "subgid-", Remove, "the accounts before the last was added"),
    Rule("etc", "*.dpkg-new", RemoveBelow, "a configuration file that was not taken"),
    Rule("etc", "*.dpkg-old", RemoveBelow, "a configuration file that was replaced"),
    Rule("etc", "*.dpkg-dist", RemoveBelow, "a configuration file that was not taken"),
    Rule("etc", ".resolv.conf.systemd-resolved.bak", Remove, "the build host's name servers"),
    Rule("var/lib/dpkg", "*-old", Remove, "the state before the last package"),
    Rule("var/lib/ucf", "*.[0-9]", Remove, "the state before the last file"),
    Rule("var/backups", "*", Empty, "copies of dpkg's records, by time"),
    // What is not there at boot anyway.
    Rule("run", "*", Empty, "a tmpfs hides it"),
    Rule("tmp", "*", Empty, "a tmpfs or tmpfiles.d hides it"),
    Rule("var/tmp", "*", Empty, "the build's"),
    Rule("dev", "*", Empty, "devtmpfs hides it"),
];

/// What a systemd system takes for "not yet booted"; see machine-id(5).
const MACHINE_ID: &str = "uninitialized\n";

/// A tree that is cleaned, and what is to stay in it.
struct Cleaning<'a> {
    root: &'a Path,
    tree: Tree,
    keep: BTreeSet<&'a Path>,
}

/// Cleans a tree but for `keep`, paths as [`place`](crate::place()) and
/// [`overlay`](crate::overlay()) return them, and sets times after `epoch` (seconds since 1970) to it.
///
/// # Errors
/// Where something in the tree cannot be read, removed or written.
pub fn clean(tree: &Path, epoch: u64, keep: &[PathBuf]) -> Result<(), Error> {
    let keep = keep.iter().map(PathBuf::as_path).collect();
    let cleaning = Cleaning { root: tree, tree: Tree::open(tree)?, keep };
    for Rule(folder, pattern, action, _) in &RULES {
        cleaning.apply(Path::new(folder), pattern, *action)?;
    }
    // Without systemd there is none, and none is wanted.
    if cleaning.tree.exists(Path::new("usr/lib/systemd/systemd"))? {
        cleaning.tree.write(Path::new("etc/machine-id"), MACHINE_ID.as_bytes(), 0o444)?;
    }
    clamp(tree, tree, i64::try_from(epoch).unwrap_or(i64::MAX))
}

impl Cleaning<'_> {
    fn apply(&self, folder: &Path, pattern: &str, action: Action) -> Result<(), Error> {
        for entry in list(self.root, folder)? {
            let path = folder.join(&entry.name);
            let is_match = matches(pattern, &entry.name.to_string_lossy());
            match action {
                RemoveBelow | RemoveFilledBelow if entry.is_folder => {
                    self.apply(&path, pattern, action)?;
                }
                _ if !is_match || self.keep.contains(path.as_path()) && !entry.is_folder => {}
                Empty if entry.is_folder => self.remove_folder(&path)?,
                Remove | RemoveBelow | Empty if !entry.is_folder => self.tree.remove(&path)?,
                RemoveFilledBelow if entry.size > 0 => self.tree.remove(&path)?,
                Rewrite(content) if !entry.is_folder => {
                    self.tree.write(&path, content.as_bytes(), 0o600)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes a folder, or what is in it but for what is to stay.
    fn remove_folder(&self, path: &Path) -> Result<(), Error> {
        let kept = self.keep.range(path..).next().is_some_and(|kept| kept.starts_with(path));
        if kept {
            return self.apply(path, "*", Empty);
        }
        fs::remove_dir_all(self.root.join(path)).map_err(|source| Error::Tree {
            operation: "removing",
            path: shown(path),
            source,
        })
    }
}

/// Whether a name is of a pattern in which one `*` stands for anything, and `[0-9]` at the end for
/// a digit.
fn matches(pattern: &str, name: &str) -> bool {
    if let Some(pattern) = pattern.strip_suffix("[0-9]") {
        let rest = name.strip_suffix(|c: char| c.is_ascii_digit());
        return rest.is_some_and(|rest| matches(pattern, rest));
    }
    let Some((begin, end)) = pattern.split_once('*') else { return pattern == name };
    name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
}

struct Entry {
    name: std::ffi::OsString,
    is_folder: bool,
    size: u64,
}

/// What is in a folder of the tree; nothing where it is missing or is a link.
fn list(root: &Path, folder: &Path) -> Result<Vec<Entry>, Error> {
    let failed = |source| Error::Tree { operation: "reading", path: shown(folder), source };
    // A link in the way would lead out of the tree.
    let mut so_far = root.to_owned();
    for part in folder.components() {
        so_far.push(part);
        match fs::symlink_metadata(&so_far) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(Vec::new()),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        }
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(&so_far).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let found = entry.metadata().map_err(failed)?;
        let (is_folder, size) = (found.is_dir(), found.len());
        entries.push(Entry { name: entry.file_name(), is_folder, size });
    }
    Ok(entries)
}

/// Sets times after the epoch to it, a folder's after those of what is in it.
fn clamp(root: &Path, path: &Path, epoch: i64) -> Result<(), Error> {
    let failed = |source| Error::Tree {
        operation: "setting the time of",
        path: shown(path.strip_prefix(root).unwrap_or(path)),
        source,
    };
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if found.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            clamp(root, &entry.map_err(failed)?.path(), epoch)?;
        }
    }
    if found.mtime() > epoch || (found.mtime() == epoch && found.mtime_nsec() > 0) {
        let time = Timespec { tv_sec: epoch, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(e.into()))?;
    }
    Ok(())
}

fn shown(path: &Path) -> PathBuf {
    crate::tree::shown(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn patterns_hold() {
        for (pattern, name, expected) in [
            ("*", "x", true),
            ("*-old", "status-old", true),
            ("*-old", "status", false),
            ("ssh_host_*", "ssh_host_rsa_key.pub", true),
            ("passwd-", "passwd", false),
            ("*.[0-9]", "hashfile.0", true),
            ("*.[0-9]", "hashfile", false),
            ("aXa*aXa", "aXaXa", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_the_author_wrote_stays() {
        let place = tempfile::tempdir().unwrap();
        let (tree, source) = (place.path().join("tree"), place.path().join("source"));
        let kept = [
            "etc/ssh/ssh_host_ed25519_key",
            "etc/iscsi/initiatorname.iscsi",
            "etc/x.dpkg-old",
            "var/log/app/log",
            "var/cache/man/deep/x",
            "var/backups/x",
            "var/tmp/x",
        ];
        for path in kept {
            fs::create_dir_all(source.join(path).parent().unwrap()).unwrap();
            fs::write(source.join(path), "theirs").unwrap();
        }
        fs::create_dir_all(source.join("var/cache/man/empty")).unwrap();
        // What a link leads to is what must stay.
        fs::create_dir_all(tree.join("var/cache")).unwrap();
        fs::create_dir_all(source.join("cache/apt")).unwrap();
        fs::write(source.join("cache/apt/seed"), "theirs").unwrap();
        symlink("var/cache", tree.join("cache")).unwrap();

        let keep = crate::overlay(&tree, &source).unwrap();
        for path in ["etc/ssh/ssh_host_rsa_key", "var/cache/man/deep/y", "var/backups/z/y"] {
            fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            fs::write(tree.join(path), "the build's").unwrap();
        }
        clean(&tree, 1000, &keep).unwrap();

        for path in kept.iter().chain(&["var/cache/apt/seed"]) {
            assert_eq!(fs::read_to_string(tree.join(path)).unwrap(), "theirs", "{path}");
        }
        assert!(tree.join("var/cache/man/empty").is_dir());
        for path in ["etc/ssh/ssh_host_rsa_key", "var/cache/man/deep/y", "var/backups/z"] {
            assert!(!tree.join(path).exists(), "{path}");
        }
    }

    #[test]
    fn what_is_of_the_build_goes_and_the_rest_stays() {
        let place = tempfile::tempdir().unwrap();
        let (tree, outside) = (place.path().join("tree"), place.path().join("outside"));
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let gone = [
            "etc/ssh/ssh_host_rsa_key",
            "etc/deep/x.dpkg-new",
            "var/log/apt/term.log",
            "var/lib/dpkg/status-old",
            "var/lib/ucf/registry.0",
            "run/lock/x",
        ];
        let kept = ["etc/ssh/sshd_config", "var/lib/dpkg/status", "usr/lib/systemd/systemd"];
        for path in gone.iter().chain(&kept) {
            fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            fs::write(tree.join(path), "x").unwrap();
        }
        fs::write(tree.join("var/log/wtmp"), "").unwrap();
        symlink(&outside, tree.join("tmp")).unwrap();
        symlink("nowhere", tree.join("etc/link")).unwrap();

        clean(&tree, 1000, &[]).unwrap();
        clean(&tree, 1000, &[]).unwrap();

        for path in gone {
            assert!(!tree.join(path).exists(), "{path}");
        }
        for path in kept.iter().chain(&["var/log/wtmp", "var/log/apt"]) {
            assert!(tree.join(path).exists(), "{path}");
        }
        assert!(outside.join("kept").exists());
        assert_eq!(fs::read_to_string(tree.join("etc/machine-id")).unwrap(), MACHINE_ID);
        for path in ["", "etc", "etc/link", "etc/machine-id"] {
            let found = fs::symlink_metadata(tree.join(path)).unwrap();
            assert_eq!((found.mtime(), found.mtime_nsec()), (1000, 0), "{path}");
        }
    }
}
