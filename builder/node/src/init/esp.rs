//! The ESP of the root's disk at /efi, and links to the partitions of both slots: what the verbs of
//! the slots work with.
//!
//! Without them the machine runs as well, but cannot be updated; so nothing here keeps it from booting.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result};
use rustix::mount::MountFlags;

use super::{choose::Disk, console, disks, modules::Modules, mounts};
use crate::gpt::{Guid, Partition, Table};

/// Type of an EFI system partition, UEFI 2.10, chapter 5.3.3.
const ESP: Guid = Guid::literal(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
/// Where it is seen.
pub(crate) const AT: &str = "/sysroot/efi";
/// What the kernel (Debian's, Ubuntu's) mounts FAT with, which it could not load itself.
const MODULES: [&str; 4] = ["nls_cp437", "nls_ascii", "nls_iso8859_1", "vfat"];
const LINKS: &str = "/run/coremax/partitions";
/// Partitions by their names, and what their links are called.
const SLOTS: [(&str, &str); 4] = [
    ("root-a", "root-a"),
    ("root-a-verity", "verity-a"),
    ("root-b", "root-b"),
    ("root-b-verity", "verity-b"),
];

/// Mounts the ESP and makes the links; what cannot be had is said in the kernel's log.
pub(crate) fn mount(disk: &Disk, modules: &Modules) {
    for result in [mount_esp(disk, modules), link(disk)] {
        if let Err(error) = result {
            console::log(&format!("no updates: {error:#}"));
        }
    }
}

fn mount_esp(disk: &Disk, modules: &Modules) -> Result<()> {
    if !Path::new(AT).is_dir() {
        return Ok(()); // an image that is not to be updated
    }
    let is_esp = |partition: &&Partition| partition.kind == ESP;
    let esp = partitions(disk).iter().find(is_esp).context("the root's disk has no ESP")?;
    let node = disks::node(&disk.name, esp)?;
    modules.need(&MODULES);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    mounts::at(&node.to_string_lossy(), "vfat", AT, flags, "umask=0077")
}

fn link(disk: &Disk) -> Result<()> {
    mounts::folder(Path::new(LINKS))?;
    for (name, link) in SLOTS {
        let Some(partition) = partitions(disk).iter().find(|found| found.name == name) else {
            continue;
        };
        let (node, link) = (disks::node(&disk.name, partition)?, Path::new(LINKS).join(link));
        let _ = fs::remove_file(&link);
        symlink(&node, &link).with_context(|| format!("making {}", link.display()))?;
    }
    Ok(())
}

fn partitions(disk: &Disk) -> &[Partition] {
    disk.table.as_ref().map_or(&[], Table::partitions)
}
