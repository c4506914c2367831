//! Laying the machine's state over the root at /sysroot: /etc as an overlay of its own, and folders.
//!
//! On the data partition `etc/upper` and `etc/work` are the overlay's, and `var`, `opt`, `home` and
//! `root` are the folders of these names. /etc lies over the layers themselves rather than over the
//! stacked root, since the kernel stacks overlays no deeper than two.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount_bind_recursive};

use super::{accounts, console, mounts, root, seed};

const FOLDERS: [&str; 4] = ["var", "opt", "home", "root"];
/// What belongs to the image though it lies in /var: dpkg's database says what the image holds. The
/// image's own is seen there.
const OF_THE_IMAGE: [&str; 1] = ["var/lib/dpkg"];

/// Lays what is in `data` over the root with this hash, and puts there what is missing.
pub(crate) fn root(data: &Path, hash: &str) -> Result<()> {
    let sysroot = Path::new(mounts::ROOT);
    bring(sysroot, data, &layers_of_etc(), hash)?;
    etc(data, sysroot)?;
    // Before /var is covered.
    OF_THE_IMAGE.iter().try_for_each(|name| bind(&sysroot.join(name), &data.join(name)))?;
    FOLDERS.iter().try_for_each(|name| bind(&data.join(name), &sysroot.join(name)))?;
    temporary(&sysroot.join("tmp"))
}

/// Memory at /tmp, where the image has one: systemd puts services' private folders together there.
fn temporary(tmp: &Path) -> Result<()> {
    if !tmp.is_dir() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mounts::at("tmpfs", "tmpfs", &tmp.to_string_lossy(), flags, "mode=1777")
}

/// The folder, made with mode and owner of the image's where it is missing.
fn folder_like(folder: &Path, like: &Path) -> Result<()> {
    if folder.exists() || !like.exists() {
        return Ok(());
    }
    let made = || -> io::Result<()> {
        let like = like.metadata()?;
        fs::create_dir(folder)?;
        lchown(folder, Some(like.uid()), Some(like.gid()))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(like.mode() & 0o7777))
    };
    made().with_context(|| format!("making {}", folder.display()))
}

/// What the image brings, once; what did not come is for the next boot to try again.
fn bring(image: &Path, data: &Path, layers_of_etc: &[String], hash: &str) -> Result<()> {
    if seed::is_done(hash, data) {
        return Ok(());
    }
    seed::lay(image, data, &FOLDERS, &OF_THE_IMAGE)?;
    if bring_accounts(&data.join("etc"), layers_of_etc)? {
        seed::done(hash, data)?;
    }
    Ok(())
}

/// To the machine's own copies below `etc/upper`; says whether all came. A copy that cannot be read or written
/// is no reason not to boot.
fn bring_accounts(etc: &Path, layers: &[String]) -> Result<bool> {
    mounts::folder(etc)?;
    let layers: Vec<_> = layers.iter().map(Path::new).collect();
    let outcome = accounts::complete(&etc.join("upper"), &layers, etc);
    if !outcome.refused.is_empty() {
        console::log(&format!("accounts left out: {}", outcome.refused.join(", ")));
    }
    outcome.failed.iter().for_each(|error| console::log(&format!("accounts: {error:#}")));
    Ok(outcome.failed.is_empty())
}

/// The image's own /etc, the upper layer first.
fn layers_of_etc() -> Vec<String> {
    let lowers = [root::SITE, root::SYSTEM].map(|layer| format!("{layer}/etc"));
    lowers.into_iter().filter(|etc| Path::new(etc).is_dir()).collect()
}

fn etc(data: &Path, sysroot: &Path) -> Result<()> {
    let (upper, work) = (data.join("etc/upper"), data.join("etc/work"));
    mounts::folder(&data.join("etc"))?;
    folder_like(&upper, &sysroot.join("etc"))?;
    mounts::folder(&work)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={},{}",
        layers_of_etc().join(":"),
        upper.display(),
        work.display(),
        root::OVERLAY
    );
    let at = sysroot.join("etc");
    mounts::at("etc", "overlay", &at.to_string_lossy(), MountFlags::empty(), &options)
}

/// A folder that the image has not is none that anything looks for.
fn bind(from: &Path, to: &Path) -> Result<()> {
    if !to.exists() || !from.exists() {
        return Ok(());
    }
    mount_bind_recursive(from, to)
        .with_context(|| format!("mounting {} at {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_did_not_come_are_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let [image, layer, data] = ["image", "layer", "data"].map(|name| place.path().join(name));
        for folder in [&image, &layer, &data.join("etc/upper"), &data.join("etc/passwd")] {
            fs::create_dir_all(folder).unwrap();
        }
        let own = data.join("etc/upper/passwd");
        fs::write(&own, "me:x:1000:1000:::\n").unwrap();
        fs::write(layer.join("passwd"), "svc:x:1:1:::\n").unwrap();
        let layers = [layer.to_string_lossy().into_owned()];
        bring(&image, &data, &layers, "1").unwrap();
        assert!(!seed::is_done("1", &data), "a folder was in the way of the new file");
        fs::remove_dir(data.join("etc/passwd")).unwrap();
        bring(&image, &data, &layers, "1").unwrap();
        assert!(seed::is_done("1", &data));
        assert_eq!(fs::read_to_string(own).unwrap(), "me:x:1000:1000:::\nsvc:x:1:1:::\n");
    }
}
