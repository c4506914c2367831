//! The numbers of users and groups, kept from version to version.
//!
//! Maintainer scripts take what is free: with another package before them, the same service gets another
//! number, and what it owns in a machine's /var is a stranger's. Which program takes the number, and how, is
//! each package's own affair (adduser counts up, useradd and systemd-sysusers down, some write the files), so
//! nobody is told a number beforehand. Instead, once all scripts have run and before anything else reads the
//! tree, [`pin_ids`] gives every account the number that is pinned for its name: in the account files and on every
//! file that it owns, all in one pass. Where each has its number already, nothing is touched. A number that
//! is pinned stays its name's though that is not there: a newcomer which took it gets the lowest free one.
//!
//! Not seen: a number that a script wrote into a file as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, XattrFlags, chmod, chownat, lgetxattr, lsetxattr};

use crate::{
    Error,
    accounts::{Accounts, SERVICES},
    tree::{Tree, shown},
};

/// What a change of owner takes from a program, beside set-user-id: its capabilities(7).
const CAPABILITIES: &str = "security.capability";
/// Bytes of that attribute, at most. Set by Linux (vfs_ns_cap_data).
const MAX_CAPABILITIES: usize = 24;

/// Numbers by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// Of users.
    pub users: BTreeMap<String, u32>,
    /// Of groups.
    pub groups: BTreeMap<String, u32>,
}

impl Ids {
    /// Those of a tree's /etc/passwd and /etc/group.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn of(tree: &Path) -> Result<Self, Error> {
        Ok(Accounts::load(&Tree::open(tree)?)?.ids())
    }

    /// Each in words: `user NAME` or `group NAME`, and its number.
    pub fn listed(&self) -> BTreeMap<String, String> {
        let kinds = [("user", &self.users), ("group", &self.groups)];
        let words = |(kind, ids): (&'static str, &BTreeMap<String, u32>)| {
            let word =
                move |(name, id): (&String, &u32)| (format!("{kind} {name}"), id.to_string());
            ids.iter().map(word).collect::<Vec<_>>()
        };
        kinds.into_iter().flat_map(words).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
}

/// From a number to the one that takes its place.
type Moves = BTreeMap<u32, u32>;

/// Gives every account of the tree the number that is pinned for its name.
///
/// # Errors
/// Where two accounts have one number and are to have two, or the tree cannot be written.
pub fn pin_ids(tree: &Path, pins: &Ids) -> Result<(), Error> {
    let opened = Tree::open(tree)?;
    let mut accounts = Accounts::load(&opened)?;
    let ids = accounts.ids();
    let users = moves(&ids.users, &pins.users)?;
    let groups = moves(&ids.groups, &pins.groups)?;
    if users.is_empty() && groups.is_empty() {
        return Ok(());
    }
    accounts.renumber(&users, &groups);
    // Files first: the account files are written with owners of their own.
    let mut seen = BTreeSet::new();
    renumber(tree, tree, &|id| moved(&users, id), &|id| moved(&groups, id), &mut seen)?;
    accounts.save(&opened)
}

/// Whether every account of a tree is pinned, and to the number that it has. Then a build with these pins comes to this
/// same tree, whichever of them it was built with: each account moves to where it is.
///
/// # Errors
/// Where the tree's accounts cannot be read.
pub fn are_pinned(tree: &Path, pins: &Ids) -> Result<bool, Error> {
    let Ids { users, groups } = Ids::of(tree)?;
    let are = |have: &BTreeMap<String, u32>, pins: &BTreeMap<String, u32>| {
        have.iter().all(|(name, id)| pins.get(name) == Some(id))
    };
    Ok(are(&users, &pins.users) && are(&groups, &pins.groups))
}

/// What takes the place of a number.
pub(crate) fn moved(moves: &Moves, id: u32) -> u32 {
    moves.get(&id).copied().unwrap_or(id)
}

/// Which numbers change so that each name has its own.
fn moves(have: &BTreeMap<String, u32>, pins: &BTreeMap<String, u32>) -> Result<Moves, Error> {
    let reserved: BTreeSet<u32> = pins.values().copied().collect();
    let mut taken: BTreeSet<u32> = have.values().chain(pins.values()).copied().collect();
    let mut moves = Moves::new();
    for (name, &from) in have {
        let to = match pins.get(name) {
            Some(&pinned) => pinned,
            None if reserved.contains(&from) => {
                let free = SERVICES.into_iter().find(|number| !taken.contains(number));
                free.ok_or_else(|| wrong(name, "no number is free"))?
            }
            None => from,
        };
        taken.insert(to);
        if moves.insert(from, to).is_some_and(|before| before != to) {
            return Err(wrong(
                name,
                &format!("its number {from} is another's too, pinned elsewhere"),
            ));
        }
    }
    let mut given = BTreeSet::new();
    if let Some(to) = moves.values().find(|to| !given.insert(**to)) {
        return Err(wrong("accounts", &format!("two of them are to have the number {to}")));
    }
    moves.retain(|from, to| from != to);
    Ok(moves)
}

fn wrong(name: &str, problem: &str) -> Error {
    let operation = "pinning the number of";
    Error::Account { operation, name: name.to_owned(), problem: problem.to_owned() }
}

/// Changes the owner of everything in a folder, each file once whatever names it has.
fn renumber(
    root: &Path,
    folder: &Path,
    user: &dyn Fn(u32) -> u32,
    group: &dyn Fn(u32) -> u32,
    seen: &mut BTreeSet<u64>,
) -> Result<(), Error> {
    let failed = |path: &Path, source| Error::Tree {
        operation: "changing the owner of",
        path: shown(path.strip_prefix(root).unwrap_or(path)),
        source,
    };
    let found = fs::symlink_metadata(folder).map_err(|source| failed(folder, source))?;
    if found.is_dir() {
        for entry in fs::read_dir(folder).map_err(|source| failed(folder, source))? {
            let entry = entry.map_err(|source| failed(folder, source))?;
            renumber(root, &entry.path(), user, group, seen)?;
        }
    }
    let (uid, gid) = (user(found.uid()), group(found.gid()));
    if (uid, gid) == (found.uid(), found.gid()) || found.nlink() > 1 && !seen.insert(found.ino()) {
        return Ok(());
    }
    own(folder, &found, uid, gid).map_err(|source| failed(folder, source))
}

/// Changes an owner and nothing else.
fn own(path: &Path, found: &fs::Metadata, uid: u32, gid: u32) -> io::Result<()> {
    let mut capabilities = [0; MAX_CAPABILITIES];
    let had = match found.is_file() {
        true => lgetxattr(path, CAPABILITIES, &mut capabilities).ok(),
        false => None,
    };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if !found.is_symlink() {
        chmod(path, Mode::from_raw_mode(found.mode() & 0o7777))?;
    }
    if let Some(length) = had {
        lsetxattr(path, CAPABILITIES, &capabilities[..length], XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use proptest::prelude::*;

    use super::*;

    /// Revision 2, effective, with capability 10 permitted (vfs_cap_data).
    const NET_BIND_SERVICE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn numbers(text: &str) -> BTreeMap<String, u32> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(name, number)| (name.to_owned(), number.parse().unwrap())).collect()
    }

    #[test]
    fn a_name_keeps_its_number_and_a_number_its_name() {
        for (have, pins, want) in [
            ("a=100 b=101", "", ""),
            ("a=100 b=101", "a=100 b=101", ""),
            ("a=101 b=100", "a=100 b=101", "100=101 101=100"),
            ("a=100 new=101 b=102", "a=100 b=101", "101=103 102=101"),
            ("new=100", "gone=100", "100=101"),
            ("new=100 other=101", "gone=100", "100=102"),
        ] {
            let moves = moves(&numbers(have), &numbers(pins)).unwrap();
            let shown: Vec<_> = moves.iter().map(|(from, to)| format!("{from}={to}")).collect();
            assert_eq!(shown.join(" "), want, "{have} | {pins}");
        }
        let error = moves(&numbers("a=0 root=0"), &numbers("a=100")).unwrap_err().to_string();
        assert!(error.contains("another's too"), "{error}");
        let error =
            moves(&numbers("a=100 b=101"), &numbers("a=200 b=200")).unwrap_err().to_string();
        assert!(error.contains("are to have the number 200"), "{error}");
    }

    #[test]
    fn all_are_pinned_or_not() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("etc")).unwrap();
        fs::write(tree.path().join("etc/passwd"), "a:x:100:100::/:\nb:x:101:100::/:\n").unwrap();
        fs::write(tree.path().join("etc/group"), "a:x:100:\n").unwrap();
        for (users, groups, want) in [
            ("a=100 b=101", "a=100", true),
            ("a=100 b=101 gone=102", "a=100 gone=102", true),
            ("a=100 b=102", "a=100", false),
            ("a=100 b=101", "a=101", false),
            ("a=100", "a=100", false),
            ("a=100 b=101", "", false),
        ] {
            let pins = Ids { users: numbers(users), groups: numbers(groups) };
            assert_eq!(are_pinned(tree.path(), &pins).unwrap(), want, "{users} | {groups}");
        }
    }

    proptest! {
        #[test]
        fn no_two_come_to_share_a_number(
            have in proptest::collection::btree_map("[a-f]", 100_u32..108, 0..6),
            pins in proptest::collection::btree_map("[a-f]", 100_u32..108, 0..6),
        ) {
            let distinct = |ids: &BTreeMap<String, u32>| {
                ids.values().collect::<BTreeSet<_>>().len() == ids.len()
            };
            prop_assume!(distinct(&have) && distinct(&pins));
            let moves = moves(&have, &pins).unwrap();
            let after: BTreeMap<_, _> =
                have.iter().map(|(name, &id)| (name.clone(), moved(&moves, id))).collect();
            prop_assert!(distinct(&after), "{:?}", after);
            for (name, id) in &after {
                let owner = pins.iter().find(|(_, pinned)| *pinned == id);
                prop_assert!(owner.is_none_or(|(owner, _)| owner == name), "{:?}", after);
                prop_assert_eq!(pins.get(name).unwrap_or(id), id);
            }
        }
    }

    /// The two services have swapped their numbers; modes, capabilities, hard links and links stay what they were.
    #[test]
    fn files_follow_their_accounts() {
        if !rustix::process::geteuid().is_root() {
            return coremax_skip::skip("giving files to users needs root");
        }
        let tree = tempfile::tempdir().unwrap();
        let at = |name: &str| tree.path().join(name);
        fs::create_dir(at("etc")).unwrap();
        let passwd = "root:x:0:0::/:/bin/sh\na:x:101:101::/:/bin/sh\nb:x:100:100::/:/bin/sh\n";
        fs::write(at("etc/passwd"), passwd).unwrap();
        fs::write(at("etc/group"), "root:x:0:\na:x:101:b\nb:x:100:\n").unwrap();
        fs::write(at("program"), "").unwrap();
        fs::hard_link(at("program"), at("again")).unwrap();
        symlink("/etc/passwd", at("link")).unwrap();
        for name in ["program", "link"] {
            std::os::unix::fs::lchown(at(name), Some(0), Some(101)).unwrap();
        }
        fs::set_permissions(at("program"), fs::Permissions::from_mode(0o2755)).unwrap();
        lsetxattr(at("program"), CAPABILITIES, &NET_BIND_SERVICE, XattrFlags::empty()).unwrap();
        fs::create_dir(at("state")).unwrap();
        chown(at("state"), Some(100), Some(100)).unwrap();

        let pins = Ids { users: numbers("a=100 b=101"), groups: numbers("a=100 b=101") };
        pin_ids(tree.path(), &pins).unwrap();
        let found = |name: &str| {
            let found = fs::symlink_metadata(at(name)).unwrap();
            (found.uid(), found.gid(), found.mode() & 0o7777)
        };
        assert_eq!(found("program"), (0, 100, 0o2755));
        let mut capabilities = [0; MAX_CAPABILITIES];
        let length = lgetxattr(at("program"), CAPABILITIES, &mut capabilities).unwrap();
        assert_eq!(capabilities[..length], NET_BIND_SERVICE);
        assert_eq!(found("link").1, 100);
        assert_eq!(found("state"), (101, 101, 0o755));
        assert_eq!(found("etc/passwd").0, 0);
        let read = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert!(
            read("etc/passwd").contains("a:x:100:100:") && read("etc/group").contains("a:x:100:b")
        );
        assert_eq!(Ids::of(tree.path()).unwrap().users, numbers("root=0 a=100 b=101"));

        let before = found("etc/passwd");
        pin_ids(tree.path(), &pins).unwrap();
        assert_eq!(found("etc/passwd"), before);
    }
}
