//! What this machine is made of, for people: its image and its disks.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use coremax_node_api::{
    join::{Build, Disk},
    slot,
    update::Version,
    wire::{DISKS_MAX, PATH_MAX},
};

use crate::{os_release, prepare::within};

/// Beginnings of what the kernel calls disks and are none: memory, files, CDs, floppies, network, and what stacks upon others.
const NO_DISKS: [&str; 9] = ["dm-", "fd", "loop", "md", "nbd", "ram", "rbd", "sr", "zram"];
/// Where udev has paths that stay, the first that there is counts: the slot, which an operator can see, before the disk in
/// it.
const PATHS: [&str; 2] = ["dev/disk/by-path", "dev/disk/by-id"];
/// Bytes of what /sys calls a sector, whatever the disk does.
const SECTOR: u64 = 512;

/// Reads it below `root`. What cannot be read is not there.
pub(super) fn read(root: &Path) -> Build {
    Build { image: image(root), disks: disks(root) }
}

/// A sealed image's stands on the kernel's command line, so that two versions of one root have the same bytes; another one
/// may say it of itself.
fn image(root: &Path) -> Option<Version> {
    let read = |path: &str| fs::read_to_string(within(root, path)).ok();
    let of_slot = read("/proc/cmdline").and_then(|line| slot::version_of_command_line(&line));
    of_slot.or_else(|| os_release::field(&read(os_release::PATH)?, "IMAGE_VERSION")?.parse().ok())
}

/// The first by their paths, where there are more than a report has. Some come, and have a path that stays, after the join has
/// begun.
pub(super) fn disks(root: &Path) -> Vec<Disk> {
    let paths = paths(root);
    let entries = fs::read_dir(root.join("sys/block")).into_iter().flatten().flatten();
    let disk = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let size = fs::read_to_string(entry.path().join("size")).ok()?;
        let bytes = size.trim().parse::<u64>().ok()?.saturating_mul(SECTOR);
        // One path of several to the same disk is hidden: there is no device of that name.
        let is_hidden =
            fs::read_to_string(entry.path().join("hidden")).is_ok_and(|it| it.trim() == "1");
        let is_disk =
            bytes > 0 && !is_hidden && !NO_DISKS.iter().any(|begin| name.starts_with(begin));
        let path = paths.get(&name).cloned().unwrap_or_else(|| format!("/dev/{name}"));
        (is_disk && path.len() <= PATH_MAX).then_some(Disk { path, bytes })
    };
    let mut disks: Vec<_> = entries.filter_map(disk).collect();
    disks.sort();
    disks.truncate(DISKS_MAX);
    disks
}

/// The path that stays of each disk that has one, by its name.
fn paths(root: &Path) -> BTreeMap<String, String> {
    let mut paths = BTreeMap::new();
    for folder in PATHS {
        let links = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        let mut links: Vec<PathBuf> = links.map(|link| link.path()).collect();
        links.sort();
        for link in links {
            let device = fs::read_link(&link).ok();
            let device = device.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
            let path = link.file_name().and_then(|name| name.to_str());
            // In JSON the others are longer than they are here.
            let is_plain =
                |path: &&str| path.bytes().all(|b| b.is_ascii_graphic() && !b"\\\"".contains(&b));
            if let (Some(device), Some(path)) = (device, path.filter(is_plain)) {
                paths.entry(device.to_owned()).or_insert_with(|| format!("/{folder}/{path}"));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LINE: &str = "BOOT_IMAGE=/vmlinuz coremax.slot=a coremax.version=2026.11.23 quiet\n";

    fn machine(blocks: &[(&str, &str)], links: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, size) in blocks {
            fs::create_dir_all(root.path().join("sys/block").join(name)).unwrap();
            fs::write(root.path().join("sys/block").join(name).join("size"), size).unwrap();
        }
        for (link, name) in links {
            let link = root.path().join("dev/disk").join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(format!("../../{name}"), link).unwrap();
        }
        root
    }

    #[test]
    fn disks_have_paths_that_stay() {
        let root = machine(
            &[
                ("sda", "937703088\n"),
                ("vdb", "8\n"),
                ("nvme0n1", "2\n"),
                ("sdz", "0\n"),
                ("sdy", "many\n"),
                ("loop0", "8\n"),
                ("dm-0", "8\n"),
                ("sr0", "8\n"),
            ],
            &[
                ("by-id/ata-1", "sda"),
                ("by-path/pci-2", "sda"),
                ("by-path/a\"b", "sda"),
                ("by-path/pci-1", "sda"),
                ("by-path/pci-1-part1", "sda1"),
                ("by-id/nvme-1", "nvme0n1"),
            ],
        );
        let hidden = root.path().join("sys/block/nvme0c0n1");
        fs::create_dir(&hidden).unwrap();
        fs::write(hidden.join("size"), "2\n").unwrap();
        fs::write(hidden.join("hidden"), "1\n").unwrap();
        let found = read(root.path()).disks;
        let found: Vec<_> = found.iter().map(|disk| (disk.path.as_str(), disk.bytes)).collect();
        assert_eq!(
            found,
            [
                ("/dev/disk/by-id/nvme-1", 1024),
                ("/dev/disk/by-path/pci-1", 480_103_981_056),
                ("/dev/vdb", 4096),
            ]
        );
    }

    #[test]
    fn no_more_is_said_than_a_report_takes() {
        let names: Vec<_> = (0..100).map(|number| format!("vd{number}")).collect();
        let blocks: Vec<_> = names.iter().map(|name| (name.as_str(), "8")).collect();
        let long = format!("by-id/{}", "x".repeat(PATH_MAX));
        let root = machine(&[&blocks[..], &[("sda", "8")]].concat(), &[(&long, "sda")]);
        let found = read(root.path()).disks;
        assert_eq!(found.len(), DISKS_MAX);
        assert!(found.iter().all(|disk| disk.path.starts_with("/dev/vd")));
    }

    #[test]
    fn the_image_has_a_version_or_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()), Build::default());
        fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        for (text, want) in [
            ("IMAGE_VERSION=2026.11.22\n", Some("2026.11.22")),
            ("IMAGE_VERSION='a b'\n", None),
            ("NAME=Debian\n", None),
        ] {
            fs::write(root.path().join("usr/lib/os-release"), text).unwrap();
            assert_eq!(read(root.path()).image, want.and_then(|text| text.parse().ok()), "{text}");
        }
        // As a sealed image has it, and what else stands there.
        fs::write(root.path().join("proc/cmdline"), LINE).unwrap();
        assert_eq!(read(root.path()).image, "2026.11.23".parse().ok());
    }
}
