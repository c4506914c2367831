//! Which slot systemd-boot took. The command line in a signed image is the same in either slot, so that it cannot
//! say; the loader does, in a variable of the firmware.
//!
//! `LoaderEntrySelected` holds the entry's name without its count, in UTF-16, behind four bytes of attributes.
//! <https://systemd.io/BOOT_LOADER_INTERFACE/>

use std::{fs, path::Path};

use coremax_node_api::slot::entries::Entry;
use rustix::mount::MountFlags;

use super::{
    cmdline::CommandLine,
    console,
    modules::Modules,
    mounts::{self, FIRMWARE, VARIABLES},
};

const SELECTED: &str = "LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The command line with the slot that was taken, where it does not say so itself.
pub(crate) fn slot(line: &CommandLine, modules: &Modules) -> CommandLine {
    let mut line = line.clone();
    if line.slot.is_none() && Path::new(FIRMWARE).is_dir() {
        line.slot = read(modules);
    }
    line
}

fn read(modules: &Modules) -> Option<String> {
    modules.need(&["efivarfs"]);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    if let Err(error) = mounts::at("efivarfs", "efivarfs", VARIABLES, flags, "") {
        console::log(&format!("which slot was taken is not known: {error:#}"));
        return None;
    }
    let slot =
        fs::read(Path::new(VARIABLES).join(SELECTED)).ok().and_then(|variable| parse(&variable));
    // The root's is mounted later, to be written to.
    let _ = rustix::mount::unmount(VARIABLES, rustix::mount::UnmountFlags::empty());
    slot
}

fn parse(variable: &[u8]) -> Option<String> {
    let (units, _) = variable.get(4..)?.as_chunks::<2>();
    let units: Vec<u16> =
        units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|&unit| unit != 0).collect();
    let name = String::from_utf16(&units).ok()?;
    Some(name.parse::<Entry>().ok()?.slot.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str) -> Vec<u8> {
        let name = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        [6, 0, 0, 0].into_iter().chain(name).collect()
    }

    #[test]
    fn the_entry_names_the_slot() {
        for (name, slot) in [
            ("coremax-7-b.conf", Some("b")),
            ("coremax-7-a+2-1.conf", Some("a")),
            ("auto-windows", None),
            ("", None),
        ] {
            assert_eq!(parse(&variable(name)).as_deref(), slot, "{name}");
        }
        assert_eq!(parse(&[6, 0]), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            parse(&bytes);
        }
    }
}
