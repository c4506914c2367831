//! dpkg's database, as dpkg leaves it once packages are unpacked and not yet configured.
//!
//! Below /var/lib/dpkg: `status`, a stanza for each package; `info/NAME.*`, the files of each
//! package's control.tar and `NAME.list` of its paths, NAME with its architecture where the package
//! is `Multi-Arch: same`; `triggers/`, who is interested in what. The lock files, `diversions` and
//! `statoverride` are made by dpkg's own programs when they first run.
//!
//! See dpkg(1), <https://manpages.debian.org/dpkg.1>, and deb-triggers(5).

mod status;
mod triggers;

use std::path::{Path, PathBuf};

use crate::{Error, deb::ControlFile, tree::Tree, unpack::Package};

/// Where dpkg keeps its records.
pub(crate) const FOLDER: &str = "var/lib/dpkg";
/// Folders that dpkg expects. Set by dpkg.
const FOLDERS: [&str; 5] = ["alternatives", "info", "parts", "triggers", "updates"];
/// The version of the layout of `info`. Set by dpkg when it became aware of architectures.
const INFO_FORMAT: &str = "1\n";

/// Writes the records of packages whose lists of paths are in `lists`, in the same order.
pub(crate) fn write(tree: &Tree, packages: &[Package], lists: &[Vec<u8>]) -> Result<(), Error> {
    let folder = Path::new(FOLDER);
    for name in FOLDERS {
        let path = folder.join(name);
        tree.make_folders(&path).map_err(|source| Error::Tree {
            operation: "making",
            path,
            source,
        })?;
    }
    let mut architectures: Vec<&str> =
        packages.iter().map(|package| package.deb.architecture.as_str()).collect();
    architectures.retain(|&name| name != "all");
    architectures.sort_unstable();
    architectures.dedup();

    tree.write(&folder.join("info/format"), INFO_FORMAT.as_bytes(), 0o644)?;
    for (package, list) in packages.iter().zip(lists) {
        write_info(tree, package, list)?;
    }
    for (name, content) in triggers::files(packages) {
        tree.write(&folder.join("triggers").join(name), content.as_bytes(), 0o644)?;
    }
    // The first is the native one. dpkg could do without; debootstrap and mmdebstrap write it.
    tree.write(&folder.join("arch"), lines(&architectures).as_bytes(), 0o644)?;
    tree.write(&folder.join("status"), status::text(packages, lists).as_bytes(), 0o644)
}

fn write_info(tree: &Tree, package: &Package, list: &[u8]) -> Result<(), Error> {
    let record = package.record_name();
    let path = |suffix: &str| PathBuf::from(format!("{FOLDER}/info/{record}.{suffix}"));
    tree.write(&path("list"), list, 0o644)?;
    // A control file called list would take the place of dpkg's own.
    for file in package.control.files.iter().filter(|file| file.name != "list") {
        tree.write(&path(&file.name), &file.content, mode(file))?;
    }
    Ok(())
}

/// The mode in the archive, but for the preinst, which is run here and not by dpkg: one that not
/// everybody may read and run, dpkg makes so before it runs it (`setexecute`).
fn mode(file: &ControlFile) -> u32 {
    if file.name == "preinst" && file.mode & 0o555 != 0o555 { 0o755 } else { file.mode }
}

fn lines(items: &[&str]) -> String {
    items.iter().flat_map(|item| [*item, "\n"]).collect()
}
