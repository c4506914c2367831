//! GRUB for BIOS, installed into a raw disk.
//!
//! A BIOS runs the first sector, GRUB's boot.img, which lies around the MBR's table: code in bytes
//! 0 to 439 with, at 0x5c, the sector (64 bits) where core.img begins. core.img lies in the BIOS
//! boot partition; the last 12 bytes of its first sector say which sectors hold the rest of it:
//! first sector (64 bits), number of sectors and real-mode segment (16 bits each), all
//! little-endian. grub-bios-setup writes the same, but wants a device.
//! <https://www.gnu.org/software/grub/manual/grub/html_node/BIOS-installation.html>; the fields are
//! in GRUB's include/grub/i386/pc/boot.h.

use std::{fs::OpenOptions, os::unix::fs::FileExt, path::Path};

use coremax_sandbox::Sandbox;

use super::{CONFIG_PATH, make_image, read};
use crate::{Bytes, Error, Result, Sectors, error::During, gpt::Span};

/// Code in the first sector; then come the disk's signature and the partition table.
const BOOT_CODE: usize = 440;
/// Where boot.img has core.img's first sector.
const KERNEL_SECTOR: usize = 0x5c;
/// Where boot.img has the jump that skips a work-around: some BIOSes give a wrong drive number for
/// a hard disk. Two no-operations in its place put the work-around in, as grub-bios-setup does.
const DRIVE_CHECK: usize = 0x66;
const JUMP: u8 = 0xeb;
const NO_OPERATIONS: [u8; 2] = [0x90; 2];
/// Where core.img's first sector has its list of blocks.
const BLOCK_LIST: usize = 0x1f4;
/// Where the second sector of core.img is loaded, as a real-mode segment: 0x8000 and one sector.
const SEGMENT: u16 = 0x820;
const SECTOR: usize = 512;
/// What only an image for BIOS needs beside the common modules: the disks of a BIOS.
const BIOS_MODULES: [&str; 1] = ["biosdisk"];

/// GRUB's two images for BIOS, not yet installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    boot: Vec<u8>,
    core: Vec<u8>,
}

/// Makes GRUB's images for a disk whose ESP is partition `esp`, counted from 1.
///
/// # Errors
/// A failing grub-mkimage; `tools` needs grub-common, grub-pc-bin and coreutils.
pub fn images(tools: &Sandbox, esp: u32) -> Result<Images> {
    let (folder, _) = CONFIG_PATH.rsplit_once('/').unwrap_or_default();
    // A prefix without a disk means the disk that was booted.
    let prefix = format!("(,gpt{esp})/{folder}");
    let core = make_image(tools, "i386-pc", &prefix, &BIOS_MODULES)?;
    Ok(Images { boot: read(tools, "/usr/lib/grub/i386-pc/boot.img")?, core })
}

/// Installs `images` in the raw disk `disk`, whose BIOS boot partition lies at `partition`.
///
/// # Errors
/// Images that do not fit or are not of the form described above, and failing I/O.
pub fn install(images: &Images, disk: &Path, partition: Span) -> Result<()> {
    let code = boot_code(&images.boot, partition.start)?;
    let core = core_image(&images.core, partition)?;
    let file = OpenOptions::new().write(true).open(disk).during("opening", disk)?;
    file.write_all_at(&code, 0)
        .and_then(|()| file.write_all_at(&core, partition.start.bytes().0))
        .during("installing GRUB in", disk)
}

/// The code of boot.img, pointing to core.img's first sector.
fn boot_code(boot: &[u8], core: Sectors) -> Result<Vec<u8>> {
    let refuse = |why: &str| Error::GrubImage { image: "boot.img", why: why.into() };
    if boot.len() != SECTOR || boot[DRIVE_CHECK] != JUMP {
        return Err(refuse("it is not the boot sector that this program knows"));
    }
    let mut code = boot[..BOOT_CODE].to_vec();
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core.0.to_le_bytes());
    code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&NO_OPERATIONS);
    Ok(code)
}

/// core.img, with the list of its blocks for a partition that it fills from the start.
fn core_image(core: &[u8], partition: Span) -> Result<Vec<u8>> {
    let refuse = |why: String| Error::GrubImage { image: "core.img", why };
    let length = Bytes(core.len() as u64);
    if length > partition.length.bytes() {
        let space = partition.length.bytes();
        return Err(refuse(format!("its {length} do not fit a BIOS boot partition of {space}")));
    }
    let rest = u16::try_from(length.sectors().0.saturating_sub(1)).unwrap_or(0);
    // grub-mkimage has filled in all but the place; anything else is another format.
    let made = [&rest.to_le_bytes()[..], &SEGMENT.to_le_bytes()].concat();
    if rest == 0 || core[BLOCK_LIST + 8..SECTOR] != made {
        return Err(refuse("its list of blocks is not the one that this program knows".into()));
    }
    let mut image = core.to_vec();
    let second = partition.start.0 + 1;
    image[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&second.to_le_bytes());
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: Span = Span { start: Sectors(2048), length: Sectors(2048) };

    fn core(length: usize, sectors: u16, segment: u16) -> Vec<u8> {
        let mut core = vec![0; length];
        let list =
            [&2_u64.to_le_bytes()[..], &sectors.to_le_bytes(), &segment.to_le_bytes()].concat();
        core[BLOCK_LIST..SECTOR].copy_from_slice(&list);
        core
    }

    #[test]
    fn boot_code_points_to_core() {
        let mut boot = vec![7; SECTOR];
        boot[DRIVE_CHECK] = JUMP;
        let code = boot_code(&boot, Sectors(0x0102_0304_0506)).unwrap();
        assert_eq!(code.len(), 440);
        assert_eq!(code[0x5c..0x64], [6, 5, 4, 3, 2, 1, 0, 0]);
        assert_eq!(code[0x66..0x68], [0x90, 0x90]);
        assert_eq!(code[0x5b], 7);
        assert!(boot_code(&boot[..511], Sectors(1)).is_err());
        assert!(boot_code(&[0; SECTOR], Sectors(1)).is_err());
    }

    #[test]
    fn core_image_knows_its_place() {
        let image = core_image(&core(1025, 2, SEGMENT), PARTITION).unwrap();
        assert_eq!(image[BLOCK_LIST..SECTOR], [1, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 8]);
        for (bad, expected) in [
            (core(1025, 3, SEGMENT), "list of blocks"),
            (core(1025, 2, 0), "list of blocks"),
            (core(512, 0, SEGMENT), "list of blocks"),
            (vec![0; 10], "list of blocks"),
            (core((1 << 20) + 1, 2048, SEGMENT), "do not fit"),
        ] {
            let error = core_image(&bad, PARTITION).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
