//! Reading every place that may tell a machine its cluster.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use coremax_node_api::identity::{FILE, FW_CFG, LABEL, LONGEST, Place, Reading};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{
    smbios,
    volume::{HEAD, Label},
};
use crate::init::mounts;

/// What is said where none of them has anything.
pub(crate) const TRIED: &str = "no SMBIOS string of type 11, no fw_cfg file, no volume labelled COREMAX, cidata or \
    config-2 has an identity; `coremax cluster seed-medium` makes one";
const STRINGS: &str = "/sys/firmware/dmi/entries";
const QEMU: &str = "/sys/firmware/qemu_fw_cfg/by_name";
/// Where a volume is looked into.
const AT: &str = "/run/coremax/medium";
/// Volumes by label, upper and lower case being one, and what kind of place each is.
const VOLUMES: [(&str, Place); 3] =
    [(LABEL, Place::Volume), ("cidata", Place::Cidata), ("config-2", Place::ConfigDrive)];
/// Block devices that hold no medium.
const NO_MEDIA: [&str; 6] = ["loop", "ram", "zram", "dm-", "fd", "md"];

/// What every place has, those that have nothing left out.
///
/// # Errors
/// Where this machine cannot be looked at, which says nothing of any place.
pub(crate) fn read(kept: &Path) -> Result<Vec<Reading>> {
    let kept = file(Place::Kept, kept);
    let fw_cfg = file(Place::FwCfg, &Path::new(QEMU).join(FW_CFG).join("raw"));
    let told = kept.into_iter().chain(fw_cfg).chain(strings(Path::new(STRINGS)));
    Ok(told.chain(volumes()?).collect())
}

/// A file that is the document; nothing where it is not there.
fn file(place: Place, path: &Path) -> Option<Reading> {
    let at = path.display().to_string();
    match bounded(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Reading { place, at, document: Err(error.to_string()) }),
        Ok(bytes) => Some(Reading::of(place, at, &bytes)),
    }
}

/// One byte more than a document has at most, so that a longer one is seen to be.
fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The structures of type 11: folders `11-0`, `11-1` and so on.
fn strings(entries: &Path) -> Vec<Reading> {
    let names = fs::read_dir(entries).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_strings = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("11-"))
    };
    names.filter(is_strings).filter_map(|path| string(&path.join("raw"))).collect()
}

fn string(path: &Path) -> Option<Reading> {
    let (place, at) = (Place::Smbios, path.display().to_string());
    // A machine without strings of ours is no worse for one that cannot be read.
    Some(match smbios::document(&fs::read(path).ok()?)? {
        Ok(bytes) => Reading::of(place, at, &bytes),
        Err(why) => Reading { place, at, document: Err(why) },
    })
}

/// Every labelled volume that has our file.
fn volumes() -> Result<Vec<Reading>> {
    let devices = fs::read_dir("/sys/class/block").context("listing the block devices")?;
    let names = devices.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let media = names.filter(|name| !NO_MEDIA.iter().any(|prefix| name.starts_with(prefix)));
    Ok(media.filter_map(|name| volume(&Path::new("/dev").join(name))).collect())
}

fn volume(device: &Path) -> Option<Reading> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(device).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    let label = Label::parse(&head)?;
    let is_ours = |(text, _): &&(&str, Place)| text.eq_ignore_ascii_case(&label.text);
    let (_, place) = *VOLUMES.iter().find(is_ours)?;
    let at = format!("{} ({})", device.display(), label.text);
    match within(device, &label) {
        Ok(None) => None,
        Ok(Some(bytes)) => Some(Reading::of(place, at, &bytes)),
        Err(error) => Some(Reading { place, at, document: Err(format!("{error:#}")) }),
    }
}

/// Our file in a volume, if it has one.
fn within(device: &Path, label: &Label) -> Result<Option<Vec<u8>>> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mounts::folder(Path::new(AT))?;
    mount(device, AT, label.kind, flags, None)
        .with_context(|| format!("mounting it as {}", label.kind))?;
    let read = bounded(&Path::new(AT).join(FILE));
    unmount(AT, UnmountFlags::DETACH).with_context(|| format!("unmounting {AT}"))?;
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).with_context(|| format!("reading {FILE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_from_every_structure() {
        let folder = tempfile::tempdir().unwrap();
        let structure = |text: &str| [&[11, 5, 0, 0, 1][..], text.as_bytes(), &[0, 0]].concat();
        for (name, bytes) in [
            ("11-0", structure("of another program")),
            ("11-1", structure("coremax-identity:e30=")),
            ("1-0", structure("coremax-identity:e30=")),
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("raw"), bytes).unwrap();
        }
        let readings = strings(folder.path());
        assert_eq!(readings.len(), 1);
        assert!(readings[0].at.ends_with("11-1/raw") && readings[0].document.is_err());
        assert_eq!(strings(&folder.path().join("none")), []);
    }

    #[test]
    fn a_file_that_is_too_long_is_broken_and_one_that_is_not_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.json");
        assert_eq!(file(Place::FwCfg, &path), None);
        fs::write(&path, " ".repeat(LONGEST + 1)).unwrap();
        let why = file(Place::FwCfg, &path).unwrap().document.unwrap_err();
        assert!(why.contains("longer"), "{why}");
    }
}
