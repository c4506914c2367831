//! What the tests that boot disks share: firmware, patience, and a disk that GRUB starts from.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use coremax_disk::{
    Bytes, Guid,
    gpt::{Attributes, Layout, Partition, Type},
    grub::efi::Signed,
};

/// A machine that says nothing for so long has failed, on the slowest host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Where Debian's package ovmf has the firmware, and variables that begin empty.
pub(crate) const OVMF: [&str; 2] =
    ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];
/// The same with Microsoft's keys in it: Secure Boot is on.
pub(crate) const OVMF_SECURE: [&str; 2] =
    ["/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"];
/// Where Debian's packages have what Debian signed.
pub(crate) const DEBIAN: Signed<'static> = Signed {
    shim: &["/usr/lib/shim/shimx64.efi.signed"],
    grub: &["/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"],
    manager: &["/usr/lib/shim/mmx64.efi.signed"],
    folder: "debian",
};

/// A disk with a BIOS boot partition, the ESP in the file `esp`, and `more` behind it.
pub(crate) fn layout(esp: &Path, size: Bytes, more: Option<Partition>) -> Layout {
    let loader = [
        partition("bios", Type::BiosBoot, 1, Bytes::mib(1), None),
        partition("esp", Type::Esp, 2, size, Some(esp.to_owned())),
    ];
    Layout {
        disk_guid: Guid::from_bytes([9; 16]),
        partitions: loader.into_iter().chain(more).collect(),
    }
}

/// A partition whose GUID is made of its number.
pub(crate) fn partition(
    name: &str,
    kind: Type,
    number: u8,
    size: Bytes,
    content: Option<PathBuf>,
) -> Partition {
    Partition {
        name: name.into(),
        kind,
        guid: Guid::from_bytes([number; 16]),
        attributes: Attributes::default(),
        size,
        content,
    }
}
