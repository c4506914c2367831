//! Merged /usr: /bin, /sbin and /lib* as links to their namesakes in /usr.
//!
//! The distributions' base packages count on these links being there before them. See
//! <https://wiki.debian.org/UsrMerge>.

use std::{ffi::OsStr, path::Path};

use rustix::{fs, io::Errno};

use crate::{Error, tree::Tree};

/// What every amd64 system has.
const LINKED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// What a system has once a package of another ABI brings it.
const LINKED_ON_DEMAND: [&str; 2] = ["lib32", "libx32"];

/// Makes the folders and the links that every system has.
pub(super) fn merge_usr(tree: &Tree) -> Result<(), Error> {
    LINKED.iter().try_for_each(|name| link(tree, OsStr::new(name)))
}

/// Whether a top-level folder of this name is to be a link that is made when it is first needed.
pub(super) fn is_on_demand(path: &Path) -> bool {
    LINKED_ON_DEMAND.iter().any(|name| path == Path::new(name))
}

/// Makes `/usr/NAME`, and `/NAME` as a link to it.
pub(super) fn link(tree: &Tree, name: &OsStr) -> Result<(), Error> {
    let failed = |source| Error::Tree { operation: "making the link", path: name.into(), source };
    let target = Path::new("usr").join(name);
    tree.make_folders(&target).map_err(failed)?;
    let top = tree.folder(Path::new("")).map_err(failed)?;
    match fs::symlinkat(&target, &top, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(failed(errno.into())),
    }
}
