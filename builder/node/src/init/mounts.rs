//! Mounts: what the kernel shows of itself, and small words for the others.

use std::{ffi::CString, fs, io, os::unix::fs::DirBuilderExt, path::Path};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};

use super::console;

/// Everything of ours that outlives early boot is below this.
pub(crate) const OURS: &str = "/run/coremax";
/// Where the root is put together.
pub(crate) const ROOT: &str = "/sysroot";

/// What Linux shows of UEFI, and its variables; nothing where a BIOS started it.
pub(crate) const FIRMWARE: &str = "/sys/firmware/efi";
pub(crate) const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// Mounts /proc, /sys, /dev and /run, and opens the console.
pub(crate) fn kernel() -> Result<()> {
    let (plain, no_exec) =
        (MountFlags::NOSUID, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC);
    at("proc", "proc", "/proc", no_exec, "")?;
    at("sysfs", "sysfs", "/sys", no_exec, "")?;
    at("devtmpfs", "devtmpfs", "/dev", plain, "mode=0755")?;
    at("tmpfs", "tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV, "mode=0755")?;
    console::attach();
    folder(Path::new(OURS))
}

/// Mounts what systemd has units for, each of which would start a program. Where one cannot be mounted here, that
/// unit says so.
pub(crate) fn for_systemd() {
    let no_exec = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for (kind, folder, flags) in [
        ("debugfs", "/sys/kernel/debug", no_exec),
        ("tracefs", "/sys/kernel/tracing", no_exec),
        ("efivarfs", VARIABLES, no_exec),
        ("mqueue", "/dev/mqueue", no_exec),
        ("hugetlbfs", "/dev/hugepages", MountFlags::empty()),
    ] {
        let _ = at(kind, kind, folder, flags, "");
    }
}

/// Mounts `source` at a folder, which is made where it is missing. What is mounted there already, as
/// the kernel does with /dev, is as good.
pub(crate) fn at(
    source: &str,
    kind: &str,
    folder_path: &str,
    flags: MountFlags,
    options: &str,
) -> Result<()> {
    folder(Path::new(folder_path))?;
    let options = CString::new(options).context("options with a NUL")?;
    match mount(source, folder_path, kind, flags, options.as_c_str()) {
        Err(rustix::io::Errno::BUSY) => Ok(()),
        other => other.with_context(|| format!("mounting {source} ({kind}) at {folder_path}")),
    }
}

/// The folder and those above it.
pub(crate) fn folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("making {}", path.display()))
}

/// Whether an error says that nothing is there.
pub(crate) fn is_missing<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
