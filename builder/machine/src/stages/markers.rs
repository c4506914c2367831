//! Texts that tell how far a boot is, and those after which nothing more will come.
//!
//! Each is a part of a line as the program prints it: SeaBIOS on its debug port, EDK II, GRUB, the
//! kernel, initramfs-tools and systemd on the console.

use super::Stage;

/// A text that ends a boot.
pub(super) struct End {
    text: &'static str,
    pub(super) what: &'static str,
    pub(super) hint: &'static str,
    /// The stages in which the text means this.
    stages: std::ops::RangeInclusive<Stage>,
}

/// The stage that a line is a sign of.
pub(super) fn stage(line: &str) -> Option<Stage> {
    let seen = |texts: &[&str]| texts.iter().all(|text| line.contains(text));
    SIGNS.iter().find(|(texts, _)| seen(texts)).map(|(_, stage)| *stage)
}

/// Whether a line is a prompt: a program waits at its end, and no line feed comes.
pub(super) fn is_prompt(line: &str) -> bool {
    PROMPTS.iter().any(|prompt| line.contains(prompt))
}

/// What a line means that ends a boot in this stage.
pub(super) fn end(line: &str, stage: Stage) -> Option<&'static End> {
    ENDS.iter().find(|end| end.stages.contains(&stage) && line.contains(end.text))
}

/// What may be looked at when a stage stalls.
pub(super) fn stalled(stage: Stage) -> &'static str {
    match stage {
        Stage::Firmware => "the firmware found nothing to start; firmware.log has what it said",
        Stage::Loader => {
            "the boot loader started and no kernel spoke on the serial line: look at the \
             screenshot, and for console=ttyS0 in the kernel's command line"
        }
        Stage::Kernel => "the kernel started and no program did; serial.log ends where it hangs",
        Stage::Init => {
            "the initial RAM disk did not hand over to systemd; it may wait for its root"
        }
        Stage::Systemd => {
            "systemd did not start coremax-boot-test.service: a unit before it may never get done \
             (serial.log ends with its name), or the image lacks udev or the module virtio_console, \
             or an overlay of its recipe takes the place of the unit"
        }
        Stage::Node => "a unit is slow to start; a higher --patience gives it more time",
    }
}

/// For a machine that resets itself.
pub(super) const RESET: &str =
    "a kernel that panics with panic=10 on its command line does so, and so does a triple fault";

/// For a machine that found no room for its guest's writes.
pub(super) const DISK_FULL: &str =
    "free some space where the cache is, or keep the cache elsewhere with --cache";

/// For a machine whose CPUs stop.
pub(super) const STOPPED: &str =
    "qemu.log has their state; under KVM, it gave up on an instruction";

/// The first of which all texts are in the line counts. EDK II starts its own shell in the same
/// words as a disk, but from its own volume.
const SIGNS: [(&[&str], Stage); 14] = [
    (&["Welcome to GRUB"], Stage::Loader),
    (&["systemd[1]: "], Stage::Systemd),
    (&["Welcome to "], Stage::Systemd),
    (&["Run /sbin/init as init process"], Stage::Systemd),
    (&["Run /init as init process"], Stage::Init),
    (&["Loading, please wait..."], Stage::Init),
    (&["Linux version "], Stage::Kernel),
    (&["EFI stub: "], Stage::Kernel),
    (&["Kernel panic - not syncing"], Stage::Kernel),
    (&["coremax: loading"], Stage::Loader),
    (&["grub rescue>"], Stage::Loader),
    (&["Booting from Hard Disk"], Stage::Loader),
    (&["BdsDxe: starting Boot", " from PciRoot("], Stage::Loader),
    (&["BdsDxe: starting Boot", " from HD("], Stage::Loader),
];

const PROMPTS: [&str; 2] = ["grub rescue>", "(initramfs)"];

const ENDS: [End; 12] = [
    End {
        text: "No bootable device",
        what: "the firmware found no bootable device",
        hint: NOT_BOOTABLE,
        stages: Stage::Firmware..=Stage::Loader,
    },
    End {
        text: "BdsDxe: No bootable option",
        what: "the firmware found no bootable device",
        hint: NOT_BOOTABLE,
        stages: Stage::Firmware..=Stage::Loader,
    },
    End {
        text: "UEFI Interactive Shell",
        what: "the firmware found no bootable device and started its shell",
        hint: NOT_BOOTABLE,
        stages: Stage::Firmware..=Stage::Loader,
    },
    End {
        text: "grub rescue>",
        what: "GRUB did not find its own files",
        hint: "its prefix names no file system that is there",
        stages: Stage::Firmware..=Stage::Loader,
    },
    End {
        text: "Kernel panic - not syncing: VFS: Unable to mount root",
        what: "the kernel panicked: it could not mount its root",
        hint: "without an initial RAM disk, or without the disk's driver in it, there is no root",
        stages: Stage::Firmware..=Stage::Node,
    },
    End {
        text: "Kernel panic - not syncing: No working init found",
        what: "the kernel panicked: it found no init",
        hint: "the root has no /sbin/init, or one for another machine",
        stages: Stage::Firmware..=Stage::Node,
    },
    End {
        text: "Kernel panic - not syncing",
        what: "the kernel panicked",
        hint: "serial.log has its last words",
        stages: Stage::Firmware..=Stage::Node,
    },
    End {
        text: "(initramfs)",
        what: "the initial RAM disk gave up on the root file system and opened a shell",
        hint: "root= names no file system that is there, or its driver is missing",
        stages: Stage::Firmware..=Stage::Init,
    },
    End {
        text: "You are in emergency mode",
        what: "systemd went into emergency mode",
        hint: EMERGENCY,
        stages: Stage::Init..=Stage::Node,
    },
    End {
        text: "Cannot open access to console",
        what: "systemd went into emergency mode",
        hint: EMERGENCY,
        stages: Stage::Init..=Stage::Node,
    },
    End {
        text: "You are in rescue mode",
        what: "systemd went into rescue mode",
        hint: "the kernel's command line asks for it",
        stages: Stage::Init..=Stage::Node,
    },
    End {
        text: "Freezing execution",
        what: "systemd froze",
        hint: "serial.log has the reason in the line before",
        stages: Stage::Init..=Stage::Node,
    },
];

const NOT_BOOTABLE: &str =
    "BIOS wants boot code in the disk's first sector, UEFI an ESP with EFI/BOOT/BOOTX64.EFI";

const EMERGENCY: &str = "a mount of /etc/fstab or a unit of local-fs.target failed: serial.log has \
                         its name in a line with FAILED or DEPEND";
