//! The files that UEFI firmware starts from the ESP of a disk it does not know yet.
//!
//! Firmware runs `\EFI\BOOT\BOOTX64.EFI` from a removable or unknown disk. With Secure Boot that is
//! the distribution's shim, which runs `grubx64.efi` beside it when that is signed by the
//! distribution or by a key of the machine's owner; `mmx64.efi` lets the owner enrol one.
//! UEFI 2.10, 3.5.1.1: <https://uefi.org/specs/UEFI/2.10/03_Boot_Manager.html>.

use coremax_sandbox::Sandbox;

use super::{CONFIG_PATH, EFI_LOADER, make_image, read};
use crate::{Result, fat::File};

/// Where a distribution's packages shim-signed and grub-efi-amd64-signed put their files. Of several paths the first
/// that there is counts.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The shim.
    pub shim: &'a [&'a str],
    /// GRUB.
    pub grub: &'a [&'a str],
    /// MokManager, by which a machine's owner enrols keys.
    pub manager: &'a [&'a str],
    /// The folder below `EFI/` in which GRUB looks for its configuration: the prefix set when it was built. Debian's
    /// falls back to the folder it was started from, Ubuntu's does not.
    pub folder: &'a str,
}

/// What only an image for UEFI needs beside the common modules: a screen for the kernel.
const EFI_MODULES: [&str; 1] = ["all_video"];

/// The distribution's signed shim and GRUB out of `tools`, with the configuration.
///
/// # Errors
/// Files that are not in `tools`, which needs shim-signed, grub-efi-amd64-signed and coreutils.
pub fn signed(tools: &Sandbox, signed: &Signed<'_>, config: &str) -> Result<Vec<File>> {
    let mut files = vec![
        File::bytes(CONFIG_PATH, config),
        File::bytes(format!("EFI/{}/grub.cfg", signed.folder), forward()),
    ];
    for (path, sources) in [
        (EFI_LOADER, signed.shim),
        ("EFI/BOOT/grubx64.efi", signed.grub),
        ("EFI/BOOT/mmx64.efi", signed.manager),
    ] {
        files.push(File::bytes(path, read_first(tools, sources)?));
    }
    Ok(files)
}

/// The first of these files that there is; what is wrong with the first where there is none.
fn read_first(tools: &Sandbox, paths: &[&str]) -> Result<Vec<u8>> {
    let (first, others) = paths.split_first().unwrap_or((&"", &[]));
    read(tools, first)
        .or_else(|error| others.iter().find_map(|path| read(tools, path).ok()).ok_or(error))
}

/// A GRUB made by `tools`' grub-mkimage, unsigned, with the configuration.
///
/// # Errors
/// A failing grub-mkimage; `tools` needs grub-common and grub-efi-amd64-bin.
pub fn unsigned(tools: &Sandbox, config: &str) -> Result<Vec<File>> {
    let (folder, _) = CONFIG_PATH.rsplit_once('/').unwrap_or_default();
    let image = make_image(tools, "x86_64-efi", &format!("/{folder}"), &EFI_MODULES)?;
    Ok(vec![File::bytes(CONFIG_PATH, config), File::bytes(EFI_LOADER, image)])
}

/// A configuration that goes on with the one both firmwares use.
fn forward() -> String {
    let (folder, _) = CONFIG_PATH.rsplit_once('/').unwrap_or_default();
    format!("set prefix=($root)/{folder}\nconfigfile $prefix/grub.cfg\n")
}
