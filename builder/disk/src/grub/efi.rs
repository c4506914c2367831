//! The files that UEFI firmware starts from the ESP of a disk it does not know yet.
//!
//! Firmware runs `\EFI\BOOT\BOOTX64.EFI` from a removable or unknown disk. With Secure Boot that is
//! the distribution's shim, which runs `grubx64.efi` beside it when that is signed by the
//! distribution or by a key of the machine's owner; `mmx64.efi` lets the owner enrol one.
//! UEFI 2.10, 3.5.1.1: <https://uefi.org/specs/UEFI/2.10/03_Boot_Manager.html>.

use coremax_sandbox::Sandbox;

use super::{CONFIG_PATH, EFI_LOADER, make_image, read};
use crate::{Result, fat::File};

/// Where the packages shim-signed and grub-efi-amd64-signed put their files. Ubuntu's add `.latest`
/// and have their postinst link to it; Debian's mmx64.efi is signed only where its name says so.
const SIGNED: [(&str, [&str; 2]); 3] = [
    (EFI_LOADER, ["/usr/lib/shim/shimx64.efi.signed", "/usr/lib/shim/shimx64.efi.signed.latest"]),
    (
        "EFI/BOOT/grubx64.efi",
        [
            "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed.latest",
        ],
    ),
    ("EFI/BOOT/mmx64.efi", ["/usr/lib/shim/mmx64.efi.signed", "/usr/lib/shim/mmx64.efi"]),
];
/// The folders in which signed images look for their configuration: the prefix set when they were
/// built. Debian's falls back to the folder it was started from, Ubuntu's does not.
const SIGNED_PREFIXES: [&str; 2] = ["debian", "ubuntu"];
/// What only an image for UEFI needs beside the common modules: a screen for the kernel.
const EFI_MODULES: [&str; 1] = ["all_video"];

/// The distribution's signed shim and GRUB out of `tools`, with the configuration.
///
/// # Errors
/// Files that are not in `tools`, which needs shim-signed, grub-efi-amd64-signed and coreutils.
pub fn signed(tools: &Sandbox, config: &str) -> Result<Vec<File>> {
    let mut files = vec![File::bytes(CONFIG_PATH, config)];
    for (path, [source, other]) in SIGNED {
        let image = read(tools, source).or_else(|first| read(tools, other).map_err(|_| first))?;
        files.push(File::bytes(path, image));
    }
    for folder in SIGNED_PREFIXES {
        files.push(File::bytes(format!("EFI/{folder}/grub.cfg"), forward()));
    }
    Ok(files)
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
