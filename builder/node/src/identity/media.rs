//! Volumes: sticks, CDs, config drives, and whatever else is a block device.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use coremax_node_api::{
    identity::{FILE, LABEL, LONGEST, Place, ROSTER, Reading},
    roster::signed,
};
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen,
    },
};
use zeroize::Zeroizing;

use super::{
    openstack,
    places::{Found, reading, secret, there},
    volume::{HEAD, Label},
};

/// Volumes by label, upper and lower case being one, and what kind of place each is.
const VOLUMES: [(&str, Place); 3] =
    [(LABEL, Place::Volume), ("cidata", Place::Cidata), ("config-2", Place::ConfigDrive)];
/// Block devices that sticks, CDs and config drives are: what a network brings is somebody else's.
const KINDS: [&str; 7] = ["sd", "sr", "vd", "nvme", "mmcblk", "xvd", "hd"];
/// Those of them that may be a disk for good, or be brought by a network after all (iSCSI, Fibre Channel, NVMe over fabrics).
const DISKS: [&str; 3] = ["sd", "nvme", "hd"];

/// What every volume has that may tell this machine something.
///
/// # Errors
/// Where the block devices cannot be listed.
pub(super) fn all() -> Result<Vec<Found>> {
    let devices = Devices::default();
    Ok(devices.names()?.filter_map(|name| devices.volume(&name, &|_| true)).collect())
}

/// What is on volumes labelled COREMAX once a machine has its identity: sticks and CDs alone are looked into, for disks are
/// others' by then, who may write onto them what they like.
///
/// # Errors
/// As [`all`].
pub(super) fn seen_again() -> Result<Vec<Reading>> {
    let devices = Devices::default();
    let media = devices.names()?.filter(|name| devices.is_medium(name));
    let found = media.filter_map(|name| devices.volume(&name, &|place| place == Place::Volume));
    Ok(found.map(|found| found.reading).collect())
}

/// Where the kernel has them.
struct Devices {
    sys: PathBuf,
    dev: PathBuf,
}

impl Default for Devices {
    fn default() -> Self {
        Self { sys: "/sys/class/block".into(), dev: "/dev".into() }
    }
}

impl Devices {
    fn names(&self) -> Result<impl Iterator<Item = String>> {
        let entries = fs::read_dir(&self.sys).context("listing the block devices")?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| KINDS.iter().any(|kind| name.starts_with(kind))))
    }

    /// Whether it is a stick, a CD or a drive that a hypervisor gives, as far as the kernel tells.
    fn is_medium(&self, name: &str) -> bool {
        !DISKS.iter().any(|kind| name.starts_with(kind)) || self.is_removable(name)
    }

    fn is_removable(&self, name: &str) -> bool {
        if name.starts_with("sr") {
            return true;
        }
        // A partition's is its disk's, which is the folder around it.
        let Ok(device) = self.sys.join(name).canonicalize() else { return false };
        let says = |folder: &Path| fs::read_to_string(folder.join("removable")).ok();
        let removable = says(&device).or_else(|| says(device.parent()?));
        let is_usb = device.iter().any(|part| part.to_string_lossy().starts_with("usb"));
        is_usb || removable.is_some_and(|text| text.trim() == "1")
    }

    /// What a volume tells, if it is one of the places that are wanted. One labelled COREMAX is there for nothing else: without
    /// our file it is broken, and so is a medium of which nobody can read what it is.
    fn volume(&self, name: &str, wants: &dyn Fn(Place) -> bool) -> Option<Found> {
        let device = self.dev.join(name);
        let at = device.display().to_string();
        let head = match head(&device) {
            Ok(head) => head,
            // A disk that cannot be read may be a dead one, a locked one, or a path to storage that sleeps; a server's volume
            // may be another's.
            Err(error) if is_empty(&error) || !self.is_removable(name) => return None,
            Err(error) => {
                return broken(
                    Place::Volume,
                    at,
                    format!("its first sectors cannot be read: {error}"),
                );
            }
        };
        let label = Label::parse(&head)?;
        let is_ours = |(text, _): &&(&str, Place)| text.eq_ignore_ascii_case(&label.text);
        let (_, place) = *VOLUMES.iter().find(is_ours).filter(|(_, place)| wants(*place))?;
        let at = format!("{at} ({})", label.text);
        let root = match mounted(&device, &label) {
            Ok(root) => root,
            Err(error) if is_empty(&error) => return None,
            Err(error) => return broken(place, at, error.to_string()),
        };
        held(&root, place, at)
    }
}

/// The first sectors, as many as there are.
fn head(device: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(device)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// A drive without a medium, or one that was just taken out.
fn is_empty(error: &io::Error) -> bool {
    let gone = [Errno::NOMEDIUM, Errno::NXIO, Errno::NOENT].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

fn broken(place: Place, at: String, why: String) -> Option<Found> {
    Some(Found { reading: Reading { place, at, document: Err(why) }, roster: None })
}

fn held(root: &OwnedFd, place: Place, at: String) -> Option<Found> {
    let told = match told(root, place) {
        Err(error) if error.kind() == ErrorKind::NotFound && place == Place::Volume => {
            Err(io::Error::other(format!("it has no {FILE}")))
        }
        told => told,
    };
    let roster = there(plain(root, ROSTER).and_then(signed::read));
    reading(place, at, told).map(|reading| Found { reading, roster })
}

/// Our file; on a config drive without it, what is in OpenStack's.
fn told(root: &OwnedFd, place: Place) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut read = |path: &str, most| secret(&mut plain(root, path)?, most);
    match read(FILE, LONGEST) {
        Err(error) if error.kind() == ErrorKind::NotFound && place == Place::ConfigDrive => {
            openstack::told(&mut read)
        }
        told => told,
    }
}

/// A volume, mounted where nobody else sees it.
fn mounted(device: &Path, label: &Label) -> io::Result<OwnedFd> {
    let volume = fsopen(label.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&volume, "source", device)?;
    fsconfig_set_flag(&volume, "ro")?;
    fsconfig_create(&volume)?;
    let bare = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&volume, FsMountFlags::FSMOUNT_CLOEXEC, bare)?)
}

/// A file in it. Whatever lies there, a plain file alone is opened.
fn plain(root: &OwnedFd, path: &str) -> io::Result<File> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat2(root, path, flags, Mode::empty(), within)?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other(format!("{path} is no plain file")));
    }
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Devices as the kernel tells of them, in a folder: name, where it hangs, and whether its medium can be taken out.
    fn devices(folder: &Path, all: &[(&str, &str, &str)]) -> Devices {
        let devices = Devices { sys: folder.join("class"), dev: folder.join("dev") };
        fs::create_dir(&devices.sys).unwrap();
        fs::create_dir(&devices.dev).unwrap();
        for (name, hangs, removable) in all {
            let device = folder.join("devices").join(hangs).join(name);
            fs::create_dir_all(&device).unwrap();
            if !removable.is_empty() {
                fs::write(device.join("removable"), format!("{removable}\n")).unwrap();
            }
            symlink(&device, devices.sys.join(name)).unwrap();
        }
        devices
    }

    #[test]
    fn a_medium_whose_first_sectors_cannot_be_read_is_broken_and_a_dead_disk_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let all = [
            ("sda", "pci0/ata1/block", "0"),
            ("sdb", "pci0/usb1/1-2/block", "0"),
            ("sdc", "pci0/ata2/block", "1"),
            ("sdc1", "pci0/ata2/block/sdc", ""),
            ("sdd", "platform/host3/session1/block", "0"),
            ("nvme0n1", "pci0/nvme/nvme0", "0"),
            ("vdb", "pci0/virtio1/block", "0"),
            ("sr0", "pci0/ata3/block", "1"),
            ("sr1", "pci0/ata4/block", "1"),
            ("dm-0", "virtual/block", "0"),
        ];
        let devices = devices(folder.path(), &all);
        // A folder is a device that opens and cannot be read; sr1 is an empty drive.
        for (name, ..) in all.iter().filter(|(name, ..)| *name != "sr1") {
            fs::create_dir(devices.dev.join(name)).unwrap();
        }
        let names = devices.names().unwrap();
        let found = names.filter_map(|name| devices.volume(&name, &|_| true));
        let mut found: Vec<_> = found.map(|found| found.reading).collect();
        found.sort_by(|one, other| one.at.cmp(&other.at));
        let broken = found.iter().map(|reading| {
            let why = reading.document.as_ref().unwrap_err();
            assert!(why.starts_with("its first sectors cannot be read: "), "{why}");
            reading.at.rsplit('/').next().unwrap()
        });
        assert_eq!(broken.collect::<Vec<_>>(), ["sdb", "sdc", "sdc1", "sr0"]);
    }

    #[test]
    fn drives_without_a_medium_are_empty() {
        for (code, want) in
            [(123, true), (6, true), (2, true), (5, false), (13, false), (16, false)]
        {
            assert_eq!(is_empty(&io::Error::from_raw_os_error(code)), want, "{code}");
        }
    }

    #[test]
    fn a_volume_of_ours_has_our_file_and_another_s_may_have_it() {
        let document = |key: u8| {
            use coremax_node_api::identity::{Document, Key, KeyId};
            let cluster = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10".parse().unwrap();
            Document::new(cluster, KeyId([1; 8]), Key::new([key; 32]), Vec::new())
        };
        let folder = tempfile::tempdir().unwrap();
        let held = |place| {
            let root = OwnedFd::from(File::open(folder.path()).unwrap());
            held(&root, place, "sdb".to_owned()).map(|found| found.reading.document)
        };
        let none = Some(Err("it has no coremax/identity.json".to_owned()));
        assert_eq!(held(Place::Volume), none);
        assert_eq!((held(Place::Cidata), held(Place::ConfigDrive)), (None, None));
        fs::create_dir_all(folder.path().join(FILE)).unwrap();
        let why = held(Place::Cidata).unwrap().unwrap_err();
        assert!(why.contains("is no plain file"), "{why}");
        fs::remove_dir(folder.path().join(FILE)).unwrap();
        fs::write(folder.path().join(FILE), document(7).to_text().as_bytes()).unwrap();
        for place in [Place::Volume, Place::Cidata, Place::ConfigDrive] {
            assert_eq!(held(place), Some(Ok(document(7))), "{place}");
        }
    }
}
