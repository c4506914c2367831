//! Which modules an initrd has: what its root always needs, and the drivers of the machines that it
//! may find itself on.
//!
//! A set names modules and patterns of paths (as [`crate::matches`] has them, over the path without
//! compression). What a kernel has not, because it is built in or unknown there, is left out; only
//! what is `required` must be there.

use std::collections::BTreeSet;

use crate::{Compression, Error, Index, Name, glob, name};

/// Modules by name and by path.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// Names without which there is no booting: an error where the kernel has them in no form.
    pub required: &'static [&'static str],
    /// Other names.
    pub names: &'static [&'static str],
    /// Patterns of paths.
    pub paths: &'static [&'static str],
    /// Patterns of paths that are left out again.
    pub except: &'static [&'static str],
}

/// What early boot loads at once, whatever the machine: its root stands on these.
pub const ROOT: Set = Set {
    required: &["dm_mod", "dm_verity", "squashfs", "overlay", "ext4"],
    // Without these dm-verity and ext4 compute in C what the processor has instructions for.
    names: &["sha256_ssse3", "crc32c_intel", "crc32c_generic"],
    paths: &[],
    except: &[],
};

/// What is there to be loaded when it is asked for: the ESP, ISO images, and what a boot test needs.
const COMMON: Set = Set {
    required: &[],
    names: &[
        "vfat",
        "nls_cp437",
        "nls_ascii",
        "nls_iso8859_1",
        "nls_utf8",
        "loop",
        "isofs",
        "i6300esb",
        "sd_mod",
        "sr_mod",
        "ahci",
        "ata_piix",
        "ata_generic",
        "nvme",
        "usb_storage",
        "uas",
        "xhci_pci",
        "ehci_pci",
        "uhci_hcd",
        "ohci_pci",
        "usbhid",
        "hid_generic",
        "efivarfs",
        "crct10dif_pclmul",
        "crc32_pclmul",
    ],
    paths: &[],
    except: &[],
};

/// virtio and what hypervisors emulate.
const HYPERVISORS: Set = Set {
    required: &[],
    names: &[
        "virtio_pci",
        "virtio_mmio",
        "virtio_blk",
        "virtio_scsi",
        "virtio_console",
        "virtio_rng",
        "virtio_net",
        "hv_vmbus",
        "hv_storvsc",
        "hv_netvsc",
        "hyperv_keyboard",
        "hv_utils",
        "vmw_pvscsi",
        "vmxnet3",
        "mptspi",
        "mptsas",
        "xen_blkfront",
        "xen_netfront",
        "xen_scsifront",
        "sym53c8xx",
        "e1000",
        "e1000e",
        "8139cp",
        "ena",
        "gve",
    ],
    paths: &[],
    except: &[],
};

/// Storage, USB and network of servers.
const SERVERS: Set = Set {
    required: &[],
    names: &[
        "3w_9xxx",
        "3w_sas",
        "hpsa",
        "hptiop",
        "ipr",
        "ips",
        "megaraid",
        "mvumi",
        "pmcraid",
        "smartpqi",
        "stex",
        "ses",
        "wd719x",
        "mtip32xx",
        "mmc_block",
        "sdhci_pci",
        "sdhci_acpi",
        "intel_lpss_pci",
        "vmd",
        "hid_logitech_dj",
        "phy_generic",
        "usb_common",
        "bonding",
        "8021q",
        "virtio_input",
    ],
    paths: &[
        "kernel/drivers/ata/*",
        "kernel/drivers/nvme/host/*",
        "kernel/drivers/nvme/common/*",
        "kernel/drivers/message/fusion/*",
        "kernel/drivers/scsi/aacraid/*",
        "kernel/drivers/scsi/aic7xxx/*",
        "kernel/drivers/scsi/aic94xx/*",
        "kernel/drivers/scsi/arcmsr/*",
        "kernel/drivers/scsi/be2iscsi/*",
        "kernel/drivers/scsi/bfa/*",
        "kernel/drivers/scsi/device_handler/*",
        "kernel/drivers/scsi/esas2r/*",
        "kernel/drivers/scsi/isci/*",
        "kernel/drivers/scsi/lpfc/*",
        "kernel/drivers/scsi/megaraid/*",
        "kernel/drivers/scsi/mpi3mr/*",
        "kernel/drivers/scsi/mpt3sas/*",
        "kernel/drivers/scsi/mvsas/*",
        "kernel/drivers/scsi/pm8001/*",
        "kernel/drivers/scsi/qla2xxx/*",
        "kernel/drivers/usb/host/*",
        "kernel/drivers/usb/storage/*",
        "kernel/drivers/net/ethernet/*",
        "kernel/drivers/net/phy/*",
        "kernel/drivers/net/mdio*",
        "kernel/drivers/net/usb/*",
    ],
    except: &[
        "kernel/drivers/ata/pata_*",
        "kernel/drivers/nvme/host/nvme-rdma.ko",
        "*pcmcia*",
        "*_cs.ko",
        "kernel/drivers/net/ethernet/mellanox/mlxsw/*",
        "kernel/drivers/net/ethernet/intel/fm10k/*",
        // Serving disks to others, and ciphers by the network card: nothing that leads to a root.
        "kernel/drivers/scsi/qla2xxx/tcm_qla2xxx.ko",
        "kernel/drivers/net/ethernet/chelsio/inline_crypto/*",
    ],
};

/// What systemd and udev load by themselves nearly everywhere.
const RUNNING: Set = Set {
    required: &[],
    names: &[
        "autofs4",
        "ip_tables",
        "efi_pstore",
        "button",
        "evdev",
        "serio_raw",
        "lpc_ich",
        "iTCO_wdt",
        "qemu_fw_cfg",
    ],
    paths: &[],
    except: &[],
};

/// An image for virtual machines.
pub const CLOUD: &[Set] = &[ROOT, COMMON, HYPERVISORS];
/// An image for servers, which also boots in virtual machines.
pub const METAL: &[Set] = &[ROOT, COMMON, HYPERVISORS, SERVERS];
/// What a virtual machine reads while it boots, from the initrd or later, and a server in part.
pub const AT_BOOT: &[Set] = &[ROOT, COMMON, HYPERVISORS, RUNNING];

impl Set {
    fn takes(&self, path: &str) -> bool {
        let any = |patterns: &[&str]| patterns.iter().any(|pattern| glob::matches(pattern, path));
        any(self.paths) && !any(self.except)
    }
}

impl Index {
    /// The modules of these sets that this kernel has, with all that they need and want.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a required module, and [`Error::Missing`].
    pub fn select(&self, sets: &[Set]) -> Result<BTreeSet<Name>, Error> {
        let mut chosen = BTreeSet::new();
        for set in sets {
            let required = set.required.iter().map(|name| Name::new(name));
            let optional = set.names.iter().map(|name| Name::new(name));
            chosen.extend(required);
            chosen.extend(optional.filter(|name| self.path(name).is_some()));
            let by_path = self
                .modules
                .iter()
                .filter(|(_, m)| set.takes(&name::packed(&m.path, Compression::Plain)));
            chosen.extend(by_path.map(|(name, _)| name.clone()));
        }
        self.closure(&chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Files;

    const DEP: &str = "kernel/drivers/md/dm-mod.ko.zst:\n\
        kernel/drivers/md/dm-verity.ko.zst: kernel/drivers/md/dm-mod.ko.zst\n\
        kernel/fs/overlayfs/overlay.ko.zst:\nkernel/fs/ext4/ext4.ko.zst:\n\
        kernel/drivers/scsi/mpt3sas/mpt3sas.ko.zst: kernel/drivers/scsi/raid_class.ko.zst\n\
        kernel/drivers/scsi/raid_class.ko.zst:\nkernel/drivers/scsi/scsi_debug.ko.zst:\n\
        kernel/drivers/ata/pata_ali.ko.zst:\n";

    fn selected(sets: &[Set], dep: &str) -> Result<String, Error> {
        let builtin = "kernel/fs/squashfs/squashfs.ko\n";
        let index = Index::parse(Files { dep, builtin, ..Files::default() })?;
        let names = index.select(sets)?;
        Ok(names.iter().map(Name::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn by_name_and_by_path() {
        assert_eq!(selected(CLOUD, DEP).unwrap(), "dm_mod dm_verity ext4 overlay");
        let metal = "dm_mod dm_verity ext4 mpt3sas overlay raid_class";
        assert_eq!(selected(METAL, DEP).unwrap(), metal);
    }

    #[test]
    fn what_is_required_must_be_there() {
        let error = selected(CLOUD, "kernel/drivers/md/dm-mod.ko:\n").unwrap_err();
        assert!(matches!(error, Error::Unknown(_)) && error.hint().is_some(), "{error}");
    }
}
