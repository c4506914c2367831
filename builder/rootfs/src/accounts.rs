//! Users and groups of a tree, added without running useradd, and always with the same numbers.
//!
//! A user is a line `name:x:uid:gid:comment:home:shell` of /etc/passwd and a line of /etc/shadow
//! with the password; a group a line `name:x:gid:members` of /etc/group, and one of /etc/gshadow.
//! A new number is the lowest free one of its range, as adduser's are.
//!
//! See passwd(5), shadow(5), group(5), gshadow(5).

mod database;
mod home;

use std::path::{Path, PathBuf};

use crate::{Error, tree::Tree};

pub(crate) use database::Accounts;
pub use database::{SERVICES, USERS};

/// A user to be added, or to be changed where the tree has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The number; by default the lowest free one.
    pub uid: Option<u32>,
    /// The number of the group that is made with it; by default its own where that is free.
    pub gid: Option<u32>,
    /// The primary group; by default one of the user's name, made with it.
    pub group: Option<String>,
    /// Further groups, which must exist.
    pub groups: Vec<String>,
    /// The comment, mostly a full name.
    pub comment: String,
    /// The home directory; by default `/home/NAME`, and `/nonexistent` for a system user.
    pub home: Option<PathBuf>,
    /// By default `/bin/bash`, and `/usr/sbin/nologin` for a system user.
    pub shell: Option<PathBuf>,
    /// The password as crypt(5) hashes it; by default none that matches.
    pub password: Option<String>,
    /// A user of services (number below 1000, no home made).
    pub system: bool,
    /// Lines for `.ssh/authorized_keys`.
    pub authorized_keys: Vec<String>,
}

/// A group to be added, unless the tree has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The number; by default the lowest free one.
    pub gid: Option<u32>,
    /// A group of services (number below 1000).
    pub system: bool,
}

/// Adds groups, then users with their home directories, in the order given. `epoch` (seconds since
/// 1970) is the day of the last change of password.
///
/// # Errors
/// Where a name or number is wrong or taken, a group is missing, or the tree cannot be written.
pub fn add_accounts(
    tree: &Path,
    groups: &[Group],
    users: &[User],
    epoch: u64,
) -> Result<(), Error> {
    let tree = Tree::open(tree)?;
    let mut accounts = Accounts::load(&tree)?;
    for group in groups {
        accounts.add_group(group)?;
    }
    for user in users {
        accounts.add_user(user, epoch)?;
    }
    accounts.save(&tree)?;
    for user in users {
        home::make(&tree, &accounts, user)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("etc/skel")).unwrap();
        for (name, text) in [
            ("passwd", "root:x:0:0:root:/root:/bin/bash\nsvc:x:100:100::/:/bin/false\n"),
            ("shadow", "root:*:1::::::\n"),
            ("group", "root:x:0:\nsudo:x:27:\nshadow:x:0:\n"),
            ("gshadow", "root:*::\nsudo:*::\n"),
            ("skel/.profile", "x"),
        ] {
            fs::write(tree.path().join("etc").join(name), text).unwrap();
        }
        tree
    }

    fn user(name: &str) -> User {
        User { name: name.into(), ..User::default() }
    }

    #[test]
    fn lines_are_those_of_the_tools() {
        let tree = tree();
        let service = User { system: true, home: None, ..user("agent") };
        let root = User {
            authorized_keys: vec!["ssh-ed25519 AAAA".into()],
            groups: vec!["sudo".into()],
            ..user("root")
        };
        let groups = [Group { name: "data".into(), system: true, ..Group::default() }];
        // Nobody but root may give files away: where the tests run as someone else, no homes.
        let result = add_accounts(tree.path(), &groups, &[service, root], 86_400 * 20_000);
        if !rustix::process::geteuid().is_root() {
            return coremax_skip::skip("giving files to users needs root");
        }
        result.unwrap();
        let read = |name: &str| fs::read_to_string(tree.path().join(name)).unwrap();
        assert!(read("etc/passwd").ends_with("agent:x:101:101::/nonexistent:/usr/sbin/nologin\n"));
        assert!(read("etc/shadow").ends_with("agent:*:20000:0:99999:7:::\n"));
        assert_eq!(
            read("etc/group"),
            "root:x:0:\nsudo:x:27:root\nshadow:x:0:\ndata:x:100:\nagent:x:101:\n"
        );
        assert!(read("etc/gshadow").contains("sudo:*::root\ndata:!::\n"));
        assert_eq!(read("root/.ssh/authorized_keys"), "ssh-ed25519 AAAA\n");
        assert!(!tree.path().join("nonexistent").exists());

        add_accounts(tree.path(), &[], &[User { gid: Some(2000), ..user("me") }], 0).unwrap();
        assert!(read("etc/passwd").contains("\nme:x:1000:2000:"), "{}", read("etc/passwd"));
        assert_eq!(read("home/me/.profile"), "x");
        let home = tree.path().join("home/me").metadata().unwrap();
        assert_eq!(home.permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let cases = [
            (user("Upper"), "lower-case"),
            (User { comment: "a:b".into(), ..user("a") }, "colon"),
            (User { uid: Some(100), ..user("a") }, "taken"),
            (User { uid: Some(5), ..user("root") }, "the tree has it as 0"),
            (User { groups: vec!["none".into()], ..user("a") }, "no such group"),
        ];
        for (user, expected) in cases {
            let tree = tree();
            let error = add_accounts(tree.path(), &[], &[user], 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
