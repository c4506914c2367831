//! The machine's state: the data partition, grown, repaired and mounted, and what of it is laid over
//! the root.
//!
//! Whatever is wrong with it, the machine still boots: to a root with memory in its place, and to
//! consoles that say so.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use anyhow::{Context, Result, bail};
use coremax_node_api::early_boot::Data;
use coremax_sandbox::{Cmd, Output, Sandbox, block};
use rustix::mount::{MountFlags, UnmountFlags, unmount};

use super::{
    choose::Disk,
    console, disks, esp,
    ext4::{Ext4, LENGTH},
    furnish, grow, mounts, reset,
};
use crate::gpt::Partition;

/// Where the data partition is seen.
pub(crate) const AT: &str = "/run/coremax/data";
const CHECKER: &str = "/sbin/e2fsck";
/// How e2fsck(8) ends where it cannot begin; 0 and 1 are a file system that is whole again.
const NO_SUPERBLOCK: i32 = 8;
/// What is left when a file system counts as full: less cannot hold a boot's logs.
const LEAST_FREE: u64 = 8 << 20;

/// Mounts the data partition, or memory in its place, and lays it over the root with this hash at
/// /sysroot.
pub(crate) fn mount(found: Option<(&Disk, &Partition)>, wanted: bool, hash: &str) -> Result<Data> {
    let kept = match found {
        Some((disk, partition)) => keep(disk, partition),
        None => Err(anyhow::anyhow!("there is none on the root's disk")),
    };
    let ready = kept.and_then(|data| {
        reset::if_marked(Path::new(esp::AT), Path::new(AT))?;
        furnish::root(Path::new(AT), hash).map(|()| data)
    });
    match ready {
        Ok(data) => {
            data.problem.iter().for_each(|problem| warn(problem, "Free some space in /var."));
            Ok(data)
        }
        Err(error) => {
            let problem = format!("{error:#}");
            if wanted {
                let advice = "This boot keeps its state in memory and forgets it. Look at the disk, or \
                              make its data partition anew (coremax-node reset).";
                warn(&problem, advice);
            }
            forget(hash)?;
            Ok(Data { problem: Some(problem).filter(|_| wanted), ..Data::default() })
        }
    }
}

fn warn(problem: &str, advice: &str) {
    console::log(&format!("data: {problem}"));
    console::tell(&format!("The data partition: {problem}.\n{advice}"));
}

/// Memory in place of the partition.
fn forget(hash: &str) -> Result<()> {
    while unmount(AT, UnmountFlags::DETACH).is_ok() {}
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mounts::at("tmpfs", "tmpfs", AT, flags, "mode=0755")?;
    furnish::root(Path::new(AT), hash)
}

/// Grows, repairs and mounts the partition.
fn keep(disk: &Disk, partition: &Partition) -> Result<Data> {
    let node = disks::node(&disk.name, partition)?;
    let grown = grow::partition(disk, partition).unwrap_or_else(|error| {
        console::log(&format!("data: not grown: {error:#}")); // it is as good as it was
        None
    });
    let length = grown.unwrap_or(partition.length);
    let repaired = mount_repaired(&node)?;
    let grown = grow_ext4(&node, length).unwrap_or_else(|error| {
        console::log(&format!("data: {error:#}"));
        false
    });
    let free =
        rustix::fs::statvfs(AT).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    let problem = (free < LEAST_FREE).then(|| format!("it is full ({} MiB free)", free >> 20));
    let words = [("", true), (", repaired", repaired), (", grown", grown)];
    let words: String = words.iter().filter(|(_, said)| *said).map(|(word, _)| *word).collect();
    console::log(&format!("data: {}{words}", node.display()));
    Ok(Data { kept: true, problem, grown, repaired })
}

/// Mounts it, repaired before where that is needed; whether it was.
fn mount_repaired(node: &Path) -> Result<bool> {
    let clean = superblock(node).is_ok_and(|ext4| ext4.clean);
    if clean && mount_ext4(node).is_ok() {
        return Ok(false);
    }
    repair(node)?;
    mount_ext4(node).map(|()| true)
}

fn mount_ext4(node: &Path) -> Result<()> {
    mounts::at(&node.to_string_lossy(), "ext4", AT, MountFlags::empty(), "")
}

fn superblock(node: &Path) -> Result<Ext4> {
    let mut bytes = vec![0; LENGTH];
    File::open(node)
        .and_then(|file| file.read_exact_at(&mut bytes, 0))
        .with_context(|| format!("reading {}", node.display()))?;
    Ok(Ext4::parse(&bytes)?)
}

/// Mends what can be mended without asking. Where the superblock itself is gone nothing is left to
/// ask about, and one of its copies is taken.
fn repair(node: &Path) -> Result<()> {
    if !Path::new(CHECKER).exists() {
        bail!("its file system is damaged, and there is no e2fsck in the initrd");
    }
    console::log(&format!("data: repairing {}", node.display()));
    let careful = check(node, "-p")?;
    let last =
        if careful.status.code() == Some(NO_SUPERBLOCK) { check(node, "-y")? } else { careful };
    match last.status.code() {
        Some(0 | 1) => Ok(()),
        _ => {
            bail!("its file system is damaged and e2fsck could not repair it: {}", complaint(&last))
        }
    }
}

fn check(node: &Path, how: &str) -> Result<Output> {
    let checker = Cmd::new(CHECKER, &Sandbox::host()).arg(how).arg(node);
    checker.output().context("repairing its file system")
}

/// The last line that it said of the error, or said at all.
fn complaint(output: &Output) -> String {
    let texts = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
    let mut lines =
        texts.iter().filter_map(|text| text.lines().rfind(|line| !line.trim().is_empty()));
    lines.next().unwrap_or("it did not say why").trim().to_owned()
}

/// Lets the mounted file system fill its partition.
fn grow_ext4(node: &Path, length: u64) -> Result<bool> {
    let Some(blocks) = superblock(node)?.grown(length) else { return Ok(false) };
    let folder = File::open(AT).context("opening its folder")?;
    block::grow_ext4(&folder, &node.to_string_lossy(), blocks)?;
    Ok(true)
}
