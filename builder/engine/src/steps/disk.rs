//! How the partitions of an image follow each other, and what its kernel is told of them.
//!
//! ```text
//! plain    BIOS boot, ESP, root-a (ext4), data (ext4: /var)
//! sealed   BIOS boot, ESP, root-a, root-a-verity, root-b, root-b-verity (both empty), data
//! ```

use std::{fs, path::PathBuf};

use anyhow::Result;
use coremax_disk::{
    Bytes,
    gpt::{Attributes, Partition, Type},
};

use super::{filesystem, root};
use crate::{identity::Identity, run::Outputs};

/// Names that the partitions' UUIDs are made of.
pub(crate) const ROOT_PARTITION: &str = "root partition";
pub(crate) const DATA_PARTITION: &str = "data partition";
/// The places of partitions that a loader must know, from 1.
pub(crate) const BIOS_PARTITION: usize = 1;
pub(crate) const ESP_PARTITION: u32 = 2;
/// Room for GRUB's core image, which takes some 100 KiB.
const BIOS_SIZE: Bytes = Bytes::mib(1);
/// Distributions have the kernel test its ciphers against known answers at every boot, which the kernel's own
/// configuration leaves out: a tenth of a boot's instructions. A recipe's `cryptomgr.notests=0` brings it back.
const NO_TESTS: &str = "cryptomgr.notests=1";

/// What the image step knows of the disk before it makes the ESP.
pub(crate) struct Disk {
    /// The kernel's arguments that lead it to its root.
    pub(crate) root: Vec<String>,
    /// The partitions behind the ESP.
    partitions: Vec<Partition>,
}

impl Disk {
    /// A plain disk: one root, which the distribution's initramfs mounts.
    pub(crate) fn plain(identity: &Identity, needed: &Outputs) -> Result<Self> {
        let guid = identity.of(ROOT_PARTITION);
        let image = needed.path("root", filesystem::IMAGE);
        let size = Bytes(fs::metadata(&image)?.len());
        Ok(Self {
            root: vec![format!("root=PARTUUID={guid}"), "ro".to_owned()],
            partitions: vec![
                Partition {
                    guid,
                    content: Some(image),
                    ..partition("root-a", Type::RootX86_64, identity, size)
                },
                data(identity, needed)?,
            ],
        })
    }

    /// A sealed disk: two slots, of which the first is filled. The partitions of a filled slot have
    /// the two halves of its root hash for UUIDs, as the Discoverable Partitions Specification says.
    pub(crate) fn sealed(identity: &Identity, needed: &Outputs) -> Result<Self> {
        let root = root::Sealed::load(needed)?;
        let [root_guid, verity_guid] = root.hash.partition_guids();
        let read_only = Attributes::READ_ONLY;
        let of = |name: &str, kind, size| partition(name, kind, identity, size);
        let partitions = vec![
            Partition {
                guid: root_guid,
                attributes: read_only,
                content: Some(needed.path("root", root::LAYERS)),
                ..of("root-a", Type::RootX86_64, root.slot_size)
            },
            Partition {
                guid: verity_guid,
                attributes: read_only,
                content: Some(needed.path("root", root::TREE)),
                ..of("root-a-verity", Type::RootVerityX86_64, root.tree_size)
            },
            // Nothing may take an empty slot for a root.
            Partition {
                attributes: read_only | Attributes::NO_AUTO,
                ..of("root-b", Type::RootX86_64, root.slot_size)
            },
            Partition {
                attributes: read_only | Attributes::NO_AUTO,
                ..of("root-b-verity", Type::RootVerityX86_64, root.tree_size)
            },
            data(identity, needed)?,
        ];
        // A panic is a failed boot, which the loader counts; nobody is there to read it.
        let root =
            vec![format!("coremax.root={}", root.hash), "panic=10".to_owned(), NO_TESTS.to_owned()];
        Ok(Self { root, partitions })
    }

    /// All partitions, with the ESP that `esp` holds, and room for GRUB where a BIOS is to start it.
    pub(crate) fn with_esp(
        self,
        identity: &Identity,
        esp: PathBuf,
        by_bios: bool,
    ) -> Result<Vec<Partition>> {
        let size = Bytes(fs::metadata(&esp)?.len());
        let bios = partition("bios", Type::BiosBoot, identity, BIOS_SIZE);
        let esp = Partition { content: Some(esp), ..partition("esp", Type::Esp, identity, size) };
        let bios = by_bios.then_some(bios);
        Ok(bios.into_iter().chain([esp]).chain(self.partitions).collect())
    }
}

fn data(identity: &Identity, needed: &Outputs) -> Result<Partition> {
    let image = needed.path("data", filesystem::IMAGE);
    let size = Bytes(fs::metadata(&image)?.len());
    Ok(Partition {
        guid: identity.of(DATA_PARTITION),
        content: Some(image),
        ..partition("data", Type::LinuxGeneric, identity, size)
    })
}

/// An empty partition with a UUID that its name gives.
fn partition(name: &str, kind: Type, identity: &Identity, size: Bytes) -> Partition {
    Partition {
        name: name.to_owned(),
        kind,
        guid: identity.of(&format!("{name} partition")),
        attributes: Attributes::default(),
        size,
        content: None,
    }
}
