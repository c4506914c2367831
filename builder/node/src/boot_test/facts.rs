//! What a guest says about itself. A fact that cannot be had is left out: none decides a test.

use std::{collections::BTreeMap, fs, path::Path};

use coremax_node_api::boot_test::{Facts, Firmware, Root, Times};

use super::systemd;

const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const TIMESTAMPS: &str = "FirmwareTimestampMonotonic,LoaderTimestampMonotonic,\
InitRDTimestampMonotonic,UserspaceTimestampMonotonic,FinishTimestampMonotonic";

/// Gathers all facts; `packages` is how many are installed.
pub(crate) fn gather(packages: u64) -> Facts {
    Facts {
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        os_release: os_release(&read("/etc/os-release")),
        firmware: firmware(),
        secure_boot: fs::read(SECURE_BOOT).ok().and_then(|bytes| Some(*bytes.get(4)? == 1)),
        machine_id: is_machine_id(&read("/etc/machine-id")),
        memory: memory(&read("/proc/meminfo")),
        packages,
        root: root(),
        times: systemd::manager(TIMESTAMPS).map(|found| times(&found)).unwrap_or_default(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `NAME=value` lines, the value perhaps in quotes.
fn os_release(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

fn firmware() -> Firmware {
    if Path::new("/sys/firmware/efi").exists() { Firmware::Efi } else { Firmware::Bios }
}

fn is_machine_id(text: &str) -> bool {
    let id = text.trim();
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `MemTotal`, which is in KiB, as bytes.
fn memory(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn root() -> Root {
    let mut root = root_mount(&read("/proc/self/mountinfo")).unwrap_or_default();
    if let Ok(found) = rustix::fs::statvfs("/var") {
        root.size = found.f_blocks.saturating_mul(found.f_frsize);
        root.free = found.f_bfree.saturating_mul(found.f_frsize);
    }
    root
}

/// The last mount at `/`: `id parent dev root / options [tags] - kind source superoptions`.
fn root_mount(mountinfo: &str) -> Option<Root> {
    let line = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    let (mount, file_system) = line.split_once(" - ")?;
    let mut words = file_system.split(' ');
    let read_only = mount.split(' ').nth(5)?.split(',').any(|option| option == "ro");
    let (kind, source) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Root { source, kind, read_only, ..Root::default() })
}

/// Firmware's and loader's stamps count back from the kernel's start, the others forward; 0 is
/// "not known".
fn times(stamps: &BTreeMap<String, String>) -> Times {
    let stamp = |name: &str| {
        let text = stamps.get(&format!("{name}TimestampMonotonic"))?;
        text.parse::<u64>().ok().filter(|&us| us > 0)
    };
    let between = |from: Option<u64>, to: Option<u64>| to?.checked_sub(from?);
    let (initrd, userspace) = (stamp("InitRD"), stamp("Userspace"));
    Times {
        firmware_us: between(stamp("Loader"), stamp("Firmware")),
        loader_us: stamp("Loader"),
        kernel_us: initrd.or(userspace),
        initrd_us: between(initrd, userspace),
        userspace_us: between(userspace, stamp("Finish")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_of_the_kernel_and_of_systemd() {
        assert_eq!(memory("MemTotal:        1000 kB\nMemFree: 1 kB\n"), 1_024_000);
        let root = root_mount(
            "1 0 254:1 / / ro shared:1 - rootfs rootfs rw\n\
             2 1 254:1 / /boot rw - vfat /dev/vda2 rw\n\
             3 1 254:3 / / rw,relatime shared:1 - ext4 /dev/vda3 rw\n",
        );
        let want = Root { source: "/dev/vda3".into(), kind: "ext4".into(), ..Root::default() };
        assert_eq!(root, Some(want));
        let os = os_release("# a\nID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
        assert_eq!(os["PRETTY_NAME"], "Debian GNU/Linux 12");
        assert!(
            is_machine_id("0123456789abcdef0123456789abcdef\n") && !is_machine_id("uninitialized")
        );
    }

    #[test]
    fn times_from_timestamps() {
        let stamps = |pairs: &[(&str, &str)]| {
            let named =
                |(name, us): &(&str, &str)| (format!("{name}TimestampMonotonic"), (*us).to_owned());
            times(&pairs.iter().map(named).collect())
        };
        let efi = stamps(&[
            ("Firmware", "9"),
            ("Loader", "4"),
            ("InitRD", "0"),
            ("Userspace", "10"),
            ("Finish", "30"),
        ]);
        assert_eq!((efi.firmware_us, efi.loader_us), (Some(5), Some(4)));
        assert_eq!((efi.kernel_us, efi.initrd_us, efi.userspace_us), (Some(10), None, Some(20)));
        assert_eq!(stamps(&[("Finish", "0")]), Times::default());
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in any::<String>()) {
            let _ = (os_release(&text), memory(&text), root_mount(&text), is_machine_id(&text));
        }
    }
}
