//! A chain that one key signs to its end: systemd-boot, and kernel, initrd and command line with the root's hash in one
//! image.
//!
//! ```text
//! EFI/BOOT/BOOTX64.EFI              systemd-boot, signed
//! loader/loader.conf                no editor, and nothing but our entries
//! loader/entries/coremax-1-a.conf   what starts slot a; its name says whether it is good, and how often it may boot
//! coremax/a/vmlinuz                 the unified kernel image, signed
//! ```
//!
//! Whatever else on the ESP is changed: firmware starts only what is signed, and the stub in the image takes no command
//! line but the signed one when Secure Boot is on.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use coremax_disk::fat;
use coremax_node_api::slot::{
    FOLDER, KERNEL, Slot,
    entries::{self, ENTRIES, Entry, SETTINGS},
    grub::{Description, SLOT},
};
use coremax_secure_boot::{
    Signer,
    uki::{self, Section},
};

/// Where systemd's package puts what is signed here.
const FROM: &str = "usr/lib/systemd/boot/efi";
const LOADER: &str = "systemd-bootx64.efi";
const STUB: &str = "linuxx64.efi.stub";
/// What firmware starts on a disk that it does not know.
const STARTED: &str = "EFI/BOOT/BOOTX64.EFI";

/// What signs an image, with the certificate by which firmware believes it.
#[derive(Clone)]
pub(crate) struct Signature {
    /// The key.
    pub(crate) signer: Arc<Signer>,
    /// The certificate, as DER.
    pub(crate) certificate: Vec<u8>,
}

/// What goes into a unified image.
pub(crate) struct Parts<'a> {
    /// The tree that has systemd's stub and loader.
    pub(crate) tools: &'a Path,
    /// The kernel's file.
    pub(crate) kernel: &'a Path,
    /// The initrd's.
    pub(crate) initrd: &'a Path,
    /// Title and command line.
    pub(crate) description: &'a Description,
}

impl Signature {
    /// The unified image of these parts, signed.
    pub(crate) fn image(&self, parts: &Parts<'_>) -> Result<Vec<u8>> {
        let [kernel, initrd] = [read(parts.kernel)?, read(parts.initrd)?];
        let stub = read(&parts.tools.join(FROM).join(STUB))?;
        let Description { title, command_line, .. } = parts.description;
        let os_release = format!("ID=coremax\nPRETTY_NAME={title:?}\n");
        let release = release(&kernel).unwrap_or_default();
        let sections = [
            (".osrel", os_release.as_bytes()),
            (".cmdline", command_line.as_bytes()),
            (".uname", release.as_bytes()),
            (".initrd", initrd.as_slice()),
            (".linux", kernel.as_slice()),
        ];
        let sections = sections.map(|(name, content)| Section { name, content });
        let image =
            uki::assemble(&stub, &sections).context("putting the unified kernel image together")?;
        self.signer.sign(&image).context("signing the unified kernel image")
    }

    /// The files of an ESP whose slot a holds `image`.
    pub(crate) fn files(
        &self,
        tools: &Path,
        timeout: u32,
        image: Vec<u8>,
        description: &Description,
    ) -> Result<Vec<fat::File>> {
        let loader = self
            .signer
            .sign(&read(&tools.join(FROM).join(LOADER))?)
            .context("signing systemd-boot")?;
        let settings = format!("timeout {timeout}\neditor no\nauto-entries no\nauto-firmware no\n");
        let entry = entries::content(Slot::A, &description.title);
        let slot = |name: &str| format!("{FOLDER}/{}/{name}", Slot::A);
        Ok(vec![
            fat::File::bytes(STARTED, loader),
            fat::File::bytes(SETTINGS, settings),
            fat::File::bytes(format!("{ENTRIES}/{}", Entry::NEW), entry),
            fat::File::bytes(slot(KERNEL), image),
            fat::File::bytes(slot(SLOT), description.encode()?),
        ])
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// The release in a kernel's header: 0x20e says where it stands, from 0x200 on.
/// <https://docs.kernel.org/arch/x86/boot.html>
fn release(kernel: &[u8]) -> Option<String> {
    let at = kernel.get(0x20e..0x210)?.try_into().ok().map(u16::from_le_bytes)?;
    let text = kernel
        .get(usize::from(at) + 0x200..)?
        .split(|byte| byte.is_ascii_whitespace() || *byte == 0)
        .next()?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_release() {
        let mut kernel = vec![0; 0x400];
        kernel[0x20e..0x210].copy_from_slice(&[0x80, 0x00]);
        kernel[0x280..0x28e].copy_from_slice(b"6.1.0-9 (x@y) ");
        assert_eq!(release(&kernel).as_deref(), Some("6.1.0-9"));
        assert_eq!(release(&kernel[..0x20f]), None);
    }
}
