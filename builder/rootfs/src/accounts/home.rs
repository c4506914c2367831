//! Home directories: /etc/skel's files, and SSH keys.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Accounts, User};
use crate::{Error, overlay, tree::Tree};

/// As adduser makes it (DIR_MODE in adduser.conf).
const HOME_MODE: u32 = 0o700;

/// Makes the home directory of a user that has one, and its authorized_keys.
pub(super) fn make(tree: &Tree, accounts: &Accounts, user: &User) -> Result<(), Error> {
    let uid = accounts.uid(&user.name)?;
    let Some((gid, home)) = accounts.home(&user.name) else { return Ok(()) };
    let home = PathBuf::from(home.trim_start_matches('/'));
    let failed = |source| Error::Tree {
        operation: "making the home directory",
        path: crate::tree::shown(&home),
        source,
    };
    let wanted = !user.system || user.home.is_some() || !user.authorized_keys.is_empty();
    if wanted && !tree.exists(&home)? {
        tree.make_folders(&home).map_err(failed)?;
        overlay::own(tree, &home, uid, gid, Some(HOME_MODE)).map_err(failed)?;
        copy_skeleton(tree, &home, uid, gid)?;
    }
    if !user.authorized_keys.is_empty() {
        write_keys(tree, &home, user, (uid, gid)).map_err(failed)??;
    }
    Ok(())
}

/// The files of /etc/skel; Debian has no folders there.
fn copy_skeleton(tree: &Tree, home: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    for name in tree.file_names(Path::new("etc/skel"))? {
        let (from, to) = (Path::new("etc/skel").join(&name), home.join(&name));
        tree.write(&to, &tree.read(&from)?, 0o644)?;
        overlay::own(tree, &to, uid, gid, None).map_err(|source| Error::Tree {
            operation: "setting the owner of",
            path: crate::tree::shown(&to),
            source,
        })?;
    }
    Ok(())
}

fn write_keys(
    tree: &Tree,
    home: &Path,
    user: &User,
    (uid, gid): (u32, u32),
) -> io::Result<Result<(), Error>> {
    let folder = home.join(".ssh");
    tree.make_folders(&folder)?;
    overlay::own(tree, &folder, uid, gid, Some(0o700))?;
    let keys: String =
        user.authorized_keys.iter().map(|key| key.trim().to_owned() + "\n").collect();
    let path = folder.join("authorized_keys");
    if let Err(error) = tree.write(&path, keys.as_bytes(), 0o600) {
        return Ok(Err(error));
    }
    overlay::own(tree, &path, uid, gid, Some(0o600)).map(Ok)
}
