//! Who may log in over SSH: the recipe's public keys, in the root, where an update adds and takes away.
//!
//! In a home directory they would be the machine's own from its first boot on, and a key that its operator
//! has struck out of the recipe would open it for good. There sshd still looks first, for keys that somebody
//! adds on the machine.

use std::path::Path;

use coremax_recipe::{Recipe, SshKey};
use coremax_rootfs::Placed;

use super::site::file;

/// Where sshd_config(5) includes settings from, on Debian and Ubuntu alike.
const DROP_INS: &str = "etc/ssh/sshd_config.d";
/// Behind what overlays have, which mostly begins with lower numbers: sshd keeps the first value it reads.
const DROP_IN: &str = "/etc/ssh/sshd_config.d/50-coremax-keys.conf";
const KEYS: &str = "/usr/lib/coremax/ssh-keys";

/// Whether the tree's sshd takes keys from the root; where it does not, they belong into the homes.
pub(super) fn is_in_root(tree: &Path) -> bool {
    tree.join(DROP_INS).is_dir()
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
        let setting = format!("AuthorizedKeysFile .ssh/authorized_keys {KEYS}/%u\n");
        files.push(file(DROP_IN, setting.as_bytes(), 0o644));
    }
    files
}

fn lines(keys: &[SshKey]) -> String {
    keys.iter().map(|key| format!("{key}\n")).collect()
}
