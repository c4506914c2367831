//! Giving the machine to the system in /sysroot: its kernel file systems follow, the initrd's files
//! are freed, /sysroot becomes `/`, and this process becomes its init.

use std::{
    convert::Infallible,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, Result, bail};
use coremax_sandbox::exec;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2, statfs},
    mount::mount_move,
    process::{chdir, chroot},
    time::{ClockId, clock_gettime},
};

use super::{console, mounts};

/// What statfs(2) says of an initrd's file system: ramfs and tmpfs.
const IN_MEMORY: [i64; 2] = [0x8584_58f6, 0x0102_1994];

/// Becomes `init` in /sysroot; returns only when that fails.
pub(crate) fn to(init: &str, arguments: &[&str]) -> Result<Infallible> {
    check(init)?;
    for name in ["dev", "proc", "sys", "run"] {
        let (from, to) = (format!("/{name}"), format!("{}/{name}", mounts::ROOT));
        mount_move(&from, &to).with_context(|| format!("moving {from} to {to}"))?;
    }
    free_initrd();
    enter().context("making /sysroot the root")?;
    let since = clock_gettime(ClockId::Boottime);
    let hundredths = since.tv_nsec / 10_000_000;
    console::log(&format!("handing over to {init} after {}.{hundredths:02} s", since.tv_sec));
    Err(exec(Path::new(init), arguments).into())
}

/// Whether the root has this program, its links followed inside it.
fn check(init: &str) -> Result<()> {
    let root = File::open(mounts::ROOT).context("opening /sysroot")?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(&root, init, flags, Mode::empty(), ResolveFlags::IN_ROOT)
        .map(drop)
        .with_context(|| format!("looking for {init} in the root"))
}

fn enter() -> rustix::io::Result<()> {
    chdir(mounts::ROOT)?;
    mount_move(".", "/")?;
    chroot(".")?;
    chdir("/")
}

/// Removes everything from the first root, which would keep its memory for ever. What cannot be
/// removed is no reason not to boot.
fn free_initrd() {
    let kind = statfs("/").map(|found| found.f_type);
    let device = fs::metadata("/").map(|root| root.dev());
    if let (Ok(kind), Ok(device)) = (kind, device)
        && IN_MEMORY.contains(&kind)
    {
        let _ = remove_below(Path::new("/"), device);
    }
}

fn remove_below(folder: &Path, device: u64) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        if metadata.dev() != device {
            continue; // a mount of ours
        }
        if metadata.is_dir() {
            let _ = remove_below(&path, device);
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Refuses to run but as the first process, which alone may do all this.
pub(crate) fn guard() -> Result<()> {
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        bail!("init is early boot, and runs as the first process of a machine alone");
    }
    Ok(())
}
