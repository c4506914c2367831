//! Making the data partition anew, where a mark on the ESP asks for it ([`coremax_node_api::reset`]).
//!
//! The mark goes last, so that a cut of power in between does it again.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context, Result};
use coremax_node_api::reset::{FILE, Reset};
use rustix::fs::syncfs;

use super::{console, mounts};

/// What e2fsck finds files for.
const OF_EXT4: &str = "lost+found";
/// What makes a node the one it is: paths in the data partition, of folders or of files that begin so.
const IDENTITY: [&str; 3] = ["etc/upper/machine-id", "etc/upper/ssh/ssh_host_", "var/lib/coremax"];

/// Removes what the mark on the ESP mounted at `esp` asks for from the file system at `data`.
pub(crate) fn if_marked(esp: &Path, data: &Path) -> Result<()> {
    let mark = esp.join(FILE);
    let Some(reset) = fs::read(&mark).ok().and_then(|text| Reset::parse(&text)) else {
        return Ok(());
    };
    console::log(&format!("data: reset ({reset})"));
    let kept: &[&str] = match reset {
        Reset::All => &[],
        Reset::KeepIdentity => &IDENTITY,
    };
    empty(data, Path::new(""), kept).context("resetting the data partition")?;
    for place in [data, esp] {
        if place == esp {
            fs::remove_file(&mark).context("removing the mark of the reset")?;
        }
        let synced = File::open(place).and_then(|folder| Ok(syncfs(folder)?));
        synced.context("writing the reset to the disk")?;
    }
    Ok(())
}

/// Removes all below `folder` but what is kept.
fn empty(data: &Path, folder: &Path, kept: &[&str]) -> Result<()> {
    let failed = || format!("reading {}", folder.display());
    for entry in fs::read_dir(data.join(folder)).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let path = folder.join(entry.file_name());
        let text = path.to_string_lossy();
        if text == OF_EXT4 || kept.iter().any(|kept| text.starts_with(kept)) {
            continue;
        }
        let is_folder = entry.file_type().with_context(failed)?.is_dir();
        let removed = match is_folder {
            true if kept.iter().any(|kept| Path::new(kept).starts_with(&path)) => {
                empty(data, &path, kept)?;
                continue;
            }
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        if !mounts::is_missing(&removed) {
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_goes_and_nothing_else() {
        let all = ["etc/upper/passwd", "home/ada/x", "var/log/x", ".seeded"];
        let identity =
            ["etc/upper/machine-id", "etc/upper/ssh/ssh_host_rsa_key", "var/lib/coremax/id"];
        for (mark, gone, stays) in [
            ("", false, true),
            ("everything\n", false, true),
            ("keep-identity\n", true, true),
            ("all\n", true, false),
        ] {
            let place = tempfile::tempdir().unwrap();
            let (esp, data) = (place.path().join("esp"), place.path().join("data"));
            for path in all.iter().chain(&identity).chain(&["lost+found/x"]) {
                fs::create_dir_all(data.join(path).parent().unwrap()).unwrap();
                fs::write(data.join(path), "").unwrap();
            }
            fs::create_dir_all(esp.join("coremax")).unwrap();
            fs::write(esp.join(FILE), mark).unwrap();
            if_marked(&esp, &data).unwrap();
            let there = |path: &&str| data.join(path).exists();
            assert!(all.iter().all(|path| there(path) != gone), "{mark:?}");
            assert!(identity.iter().all(|path| there(path) == stays), "{mark:?}");
            assert!(there(&"lost+found/x"), "{mark:?}");
            assert_eq!(esp.join(FILE).exists(), !gone, "{mark:?}");
        }
    }
}
