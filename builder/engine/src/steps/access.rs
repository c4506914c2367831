//! Who may log in over SSH: the recipe's public keys, in the root, where an update adds and takes away.
//!
//! In a home directory they would be the machine's own from its first boot on, and a key that its operator
//! has struck out of the recipe would open it for good. There sshd still looks first, for keys that somebody
//! adds on the machine.

use std::{fs, path::Path};

use coremax_recipe::{Recipe, SshKey};
use coremax_rootfs::Placed;

use super::site::file;

/// What includes the settings of a folder, on Debian and Ubuntu alike, unless an overlay has another.
const CONFIG: &str = "etc/ssh/sshd_config";
const INCLUDED: &str = "/etc/ssh/sshd_config.d/*.conf";
/// Before all others: sshd keeps the first value it reads, and the recipe's keys must open the machine.
const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-coremax-keys.conf";
/// Where sshd looks by itself.
const HOMES: &str = ".ssh/authorized_keys .ssh/authorized_keys2";
const KEYS: &str = "/usr/lib/coremax/ssh-keys";

/// Whether the tree's sshd takes keys from the root; where it does not, they belong into the homes.
pub(super) fn is_in_root(tree: &Path) -> bool {
    let config = fs::read_to_string(tree.join(CONFIG)).unwrap_or_default();
    config.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("include"))
            && words.any(|word| word == INCLUDED)
    })
}

/// A file with the keys of each user that has any, and sshd's setting that names them.
pub(super) fn files(recipe: &Recipe) -> Vec<Placed> {
    let root = ("root".to_owned(), &recipe.root_ssh_keys);
    let users = recipe.users.iter().map(|user| (user.name.to_string(), &user.ssh_keys));
    let keys = std::iter::once(root).chain(users).filter(|(_, keys)| !keys.is_empty());
    let mut files: Vec<_> = keys
        // sshd reads them as the user.
        .map(|(user, keys)| file(&format!("{KEYS}/{user}"), lines(keys).as_bytes(), 0o644))
        .collect();
    if !files.is_empty() {
        let setting = format!("AuthorizedKeysFile {HOMES} {KEYS}/%u\n");
        files.push(file(DROP_IN, setting.as_bytes(), 0o644));
    }
    files
}

fn lines(keys: &[SshKey]) -> String {
    keys.iter().map(|key| format!("{key}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::tests::recipe;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn each_user_s_keys_are_a_file_that_sshd_is_told_of() {
        let more = format!(
            "[access]\nssh-keys = [\"{KEY}\"]\n[[user]]\nname = \"ada\"\nssh-keys = [\"{KEY} ada\"]\n[[user]]\nname = \"bob\"\n"
        );
        let files = files(&recipe(&more));
        let text = |file: &Placed| String::from_utf8(file.content.clone()).unwrap();
        let all: Vec<_> = files
            .iter()
            .map(|file| (file.path.to_string_lossy().into_owned(), text(file)))
            .collect();
        assert_eq!(
            all,
            [
                ("/usr/lib/coremax/ssh-keys/root".to_owned(), format!("{KEY}\n")),
                ("/usr/lib/coremax/ssh-keys/ada".to_owned(), format!("{KEY} ada\n")),
                (
                    DROP_IN.to_owned(),
                    "AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 \
                     /usr/lib/coremax/ssh-keys/%u\n"
                        .to_owned()
                ),
            ]
        );
        assert!(files.iter().all(|file| file.mode == 0o644 && file.owner == "root"));
    }

    #[test]
    fn keys_are_in_the_root_where_sshd_reads_the_setting() {
        for (config, wanted) in [
            ("# x\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n", true),
            ("include   /etc/ssh/sshd_config.d/*.conf", true),
            ("#Include /etc/ssh/sshd_config.d/*.conf\n", false),
            ("PasswordAuthentication no\n", false),
        ] {
            let tree = tempfile::tempdir().unwrap();
            assert!(!is_in_root(tree.path()));
            fs::create_dir_all(tree.path().join("etc/ssh")).unwrap();
            fs::write(tree.path().join(CONFIG), config).unwrap();
            assert_eq!(is_in_root(tree.path()), wanted, "{config}");
        }
    }

    #[test]
    fn without_keys_sshd_stays_as_it_is() {
        assert!(files(&recipe("")).is_empty());
    }
}
