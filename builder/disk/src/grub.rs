//! GRUB for BIOS and UEFI, from one configuration on the ESP.
//!
//! - [`config`] renders `EFI/BOOT/grub.cfg`, which both read; [`slots`] that of an image that can
//!   be updated.
//! - [`efi`] gives the files that UEFI firmware starts from a disk's ESP.
//! - [`bios`] makes the image that a BIOS starts, and installs it in a raw disk.

pub mod bios;
pub mod config;
pub mod efi;
pub mod slots;

use std::io::{Read, Seek};

use coremax_sandbox::{Cmd, Sandbox};

use crate::{Error, Result};

/// Where GRUB's configuration lies on the ESP, for BIOS and UEFI.
pub const CONFIG_PATH: &str = "EFI/BOOT/grub.cfg";

/// What UEFI firmware starts on the ESP of a disk that it does not know.
const EFI_LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// What our own images hold, beside what is asked for by firmware. GRUB adds what these depend on.
const MODULES: [&str; 14] = [
    // to find and read the ESP
    "part_gpt",
    "fat",
    // to read and run the configuration
    "normal",
    "configfile",
    "echo",
    "test",
    // to remember across boots which entry is good
    "loadenv",
    // to talk over a serial line
    "serial",
    "terminal",
    // to load a kernel, to unload it again, or to stop
    "linux",
    "chain",
    "sleep",
    "halt",
    "reboot",
];

/// Makes an image of GRUB's with [`MODULES`] and `more`, which looks for its configuration at
/// `prefix`.
fn make_image(tools: &Sandbox, format: &str, prefix: &str, more: &[&str]) -> Result<Vec<u8>> {
    let what = || format!("GRUB's image for {format}");
    // grub-mkimage syncs what it writes, which a pipe refuses.
    let mut image =
        tempfile::tempfile().map_err(|source| Error::Scratch { what: what(), source })?;
    let out = image.try_clone().map_err(|source| Error::Scratch { what: what(), source })?;
    Cmd::new("grub-mkimage", tools)
        .args(["-O", format, "-d", &format!("/usr/lib/grub/{format}"), "-p", prefix])
        .args(MODULES)
        .args(more)
        .stdout_file(out)
        .run()
        .map_err(|source| Error::Program { what: what(), source })?;
    let mut bytes = Vec::new();
    image
        .rewind()
        .and_then(|()| image.read_to_end(&mut bytes))
        .map_err(|source| Error::Scratch { what: what(), source })?;
    Ok(bytes)
}

/// The bytes of a file of the tools tree.
fn read(tools: &Sandbox, path: &str) -> Result<Vec<u8>> {
    let output = Cmd::new("cat", tools).arg(path).run();
    let what = || format!("a copy of the tools' {path}");
    output.map(|o| o.stdout).map_err(|source| Error::Program { what: what(), source })
}
