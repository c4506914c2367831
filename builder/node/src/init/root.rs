//! The verified root: dm-verity over the partition, dm-linear for each of its two layers, and an
//! overlay of them at /sysroot.
//!
//! <https://docs.kernel.org/admin-guide/device-mapper/verity.html>,
//! <https://docs.kernel.org/filesystems/overlayfs.html>

use std::{fs::File, os::unix::fs::FileExt, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use coremax_node_api::{
    squashfs,
    verity::{self, RootHash},
};
use coremax_sandbox::dm::{Device, DeviceMapper, Target};
use rustix::mount::MountFlags;

use super::{console, mounts};

/// dm's unit.
const SECTOR: u64 = 512;
/// Neither the layers' order nor their inodes must be remembered anywhere: an update changes them.
pub(crate) const OVERLAY: &str = "index=off,redirect_dir=off,metacopy=off,xino=off";
pub(crate) const SYSTEM: &str = "/run/coremax/system";
pub(crate) const SITE: &str = "/run/coremax/site";

/// Mounts the root of these two partitions at /sysroot.
pub(crate) fn mount(hash: RootHash, root: &Path, verity: &Path) -> Result<()> {
    let mapper = DeviceMapper::open()?;
    let superblock = verity::Superblock::parse(&read::<{ verity::Superblock::LENGTH }>(verity, 0)?)
        .with_context(|| format!("reading {}", verity.display()))?;
    let table = verity_table(hash, &superblock, &number(root)?, &number(verity)?);
    let size = table.length.saturating_mul(SECTOR);
    let uuid = format!("CRYPT-VERITY-{}-coremax-root", &hash.to_string()[..32]);
    let whole = mapper.create("coremax-root", &uuid, &[table]).with_context(corrupt)?;
    let node = format!("/dev/dm-{}", whole.minor);
    let [system, site] =
        layers(size, |offset| read(Path::new(&node), offset)).with_context(corrupt)?;
    for (name, at, layer) in [("coremax-system", SYSTEM, system), ("coremax-site", SITE, site)] {
        let device = mapper.create(name, &format!("COREMAX-{name}"), &[linear(whole, layer)])?;
        let source = format!("/dev/dm-{}", device.minor);
        mounts::at(&source, "squashfs", at, MountFlags::RDONLY, "").with_context(corrupt)?;
    }
    let (system_mib, site_mib) = (system.length >> 20, site.length >> 20);
    console::log(&format!("root verified: system {system_mib} MiB, site {site_mib} MiB"));
    let options = format!("lowerdir={SITE}:{SYSTEM},{OVERLAY}");
    mounts::at("overlay", "overlay", mounts::ROOT, MountFlags::RDONLY, &options)
}

fn corrupt() -> String {
    "opening the root: its data may not be what its hash says, see the kernel's log".into()
}

fn read<const N: usize>(device: &Path, offset: u64) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open(device)
        .and_then(|file| file.read_exact_at(&mut bytes, offset))
        .with_context(|| format!("reading {} at {offset}", device.display()))?;
    Ok(bytes)
}

/// A device as device-mapper names it.
fn number(device: &Path) -> Result<String> {
    let number = device.metadata().with_context(|| format!("reading {}", device.display()))?.rdev();
    Ok(format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)))
}

fn verity_table(hash: RootHash, tree: &verity::Superblock, data: &str, hashes: &str) -> Target {
    Target {
        start: 0,
        length: tree.sectors(),
        kind: "verity",
        parameters: tree.target(data, hashes, hash),
    }
}

fn linear(whole: Device, layer: Layer) -> Target {
    Target {
        start: 0,
        length: layer.length / SECTOR,
        kind: "linear",
        parameters: format!("{}:{} {}", whole.major, whole.minor, layer.start / SECTOR),
    }
}

/// Where a layer lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layer {
    start: u64,
    length: u64,
}

/// The two layers in a root of `size` bytes, one behind the other.
fn layers(
    size: u64,
    mut read: impl FnMut(u64) -> Result<[u8; squashfs::Superblock::LENGTH]>,
) -> Result<[Layer; 2]> {
    let mut layer = |start: u64, name: &str| -> Result<Layer> {
        let context = || format!("reading the layer {name}");
        let bytes = read(start).with_context(context)?;
        let length = squashfs::Superblock::parse(&bytes).with_context(context)?.layer_length();
        let end = start.checked_add(length).ok_or_else(|| anyhow!("{name} has no end"))?;
        ensure!(end <= size, "the layer {name} ends behind the root's end");
        Ok(Layer { start, length })
    };
    let system = layer(0, "system")?;
    Ok([system, layer(system.length, "site")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [u8; squashfs::Superblock::LENGTH] = [0; squashfs::Superblock::LENGTH];

    /// Version 4.0, zstd, blocks of 128 KiB.
    fn squashfs(used: u64) -> [u8; squashfs::Superblock::LENGTH] {
        let mut bytes = NOTHING;
        bytes[..4].copy_from_slice(b"hsqs");
        for (place, value) in [(14, 2), (20, 6), (22, 17), (28, 4)] {
            bytes[place] = value;
        }
        bytes[40..48].copy_from_slice(&used.to_le_bytes());
        bytes
    }

    #[test]
    fn layers_lie_one_behind_the_other() {
        let disk = |offset| match offset {
            0 => Ok(squashfs(5000)),
            8192 => Ok(squashfs(100)),
            _ => Ok(NOTHING),
        };
        let expected = [Layer { start: 0, length: 8192 }, Layer { start: 8192, length: 4096 }];
        assert_eq!(layers(12288, disk).unwrap(), expected);
        assert!(layers(12287, disk).unwrap_err().to_string().contains("site ends behind"));
        let error = layers(1 << 30, |_| Ok(squashfs(u64::MAX / 4))).unwrap_err();
        assert!(error.to_string().contains("system ends behind"), "{error:#}");
        let error = layers(1 << 30, |at| if at == 0 { disk(0) } else { Ok(NOTHING) }).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "reading the layer site: no squashfs superblock: the magic number is missing"
        );
    }

    #[test]
    fn tables_are_the_kernel_s() {
        let hash: RootHash = "ab".repeat(32).parse().unwrap();
        let tree = |salt: &str| verity::Superblock {
            uuid: [0; 16],
            data_blocks: 3,
            salt: salt.parse().unwrap(),
        };
        let target = verity_table(hash, &tree("01ff"), "254:3", "254:4");
        assert_eq!(target.length, 24);
        assert_eq!(target.parameters, format!("1 254:3 254:4 4096 4096 3 1 sha256 {hash} 01ff"));
        let unsalted = verity_table(hash, &tree("-"), "254:3", "254:4");
        assert!(unsalted.parameters.ends_with(" -"));
        let device = Device { major: 253, minor: 0 };
        let target = linear(device, Layer { start: 8192, length: 4096 });
        assert_eq!((target.length, &*target.parameters), (8, "253:0 16"));
    }
}
