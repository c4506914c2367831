//! Which machine this is.

use std::{collections::BTreeSet, fs, path::Path};

use coremax_node_api::{
    join::{Hardware, is_serial, is_uuid},
    roster::Mac,
    wire::{MACS_MAX, SERIAL_MAX},
};

use super::{links::Link, tpm};

/// What cards, firmware and the TPM at this device tell.
pub(super) fn read(dmi: &Path, tpm: &Path, links: &[Link]) -> Hardware {
    let text = |name: &str| fs::read_to_string(dmi.join(name)).ok();
    let serial = text("product_serial").map(|serial| serial.trim().to_owned());
    let uuid = text("product_uuid").and_then(|uuid| uuid.trim().to_lowercase().parse().ok());
    Hardware {
        macs: macs(links),
        serial: serial.filter(|serial| is_serial(serial) && serial.len() <= SERIAL_MAX),
        uuid: uuid.filter(is_uuid),
        endorsement: tpm::endorsement(tpm),
    }
}

/// The addresses that cards were made with. Where nothing is hardware, as in a container, those that are set: they are all
/// that such a machine is told by. The lowest, where there are more than a report has.
fn macs(links: &[Link]) -> BTreeSet<Mac> {
    let made: BTreeSet<_> = links.iter().filter_map(|link| link.permanent).collect();
    let set = || links.iter().filter_map(|link| link.address).collect();
    let all = if made.is_empty() { set() } else { made };
    all.into_iter().take(MACS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(permanent: u8, address: u8) -> Link {
        let mac = |last| if last == 0 { None } else { Mac::new([2, 0, 0, 0, 0, last]) };
        Link {
            index: 1,
            name: "e".into(),
            address: mac(address),
            permanent: mac(permanent),
            is_multicast: true,
        }
    }

    #[test]
    fn hardware_counts_before_what_is_set() {
        let macs =
            |links: &[Link]| macs(links).iter().map(|mac| mac.as_bytes()[5]).collect::<Vec<_>>();
        assert_eq!(macs(&[card(2, 9), card(1, 1), card(0, 7)]), [1, 2], "a bridge has 7");
        assert_eq!(macs(&[card(0, 7), card(0, 0)]), [7]);
        assert_eq!(macs(&[]), [0; 0]);
    }

    #[test]
    fn what_vendors_leave_empty_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let told = |serial: &str, uuid: &str| {
            fs::write(folder.path().join("product_serial"), serial).unwrap();
            fs::write(folder.path().join("product_uuid"), uuid).unwrap();
            let hardware = read(folder.path(), Path::new("/nowhere"), &[]);
            (hardware.serial, hardware.uuid.is_some())
        };
        let uuid = "4C4C4544-0000-2010-8020-80C04F202020\n";
        assert_eq!(told("A1\n", uuid), (Some("A1".into()), true));
        assert_eq!(told("Default string\n", &uuid.replace(|c: char| c != '-', "0")), (None, false));
        assert_eq!(
            told(&"x1".repeat(SERIAL_MAX), "ffffffff-ffff-ffff-ffff-ffffffffffff"),
            (None, false)
        );
        assert_eq!(read(Path::new("/nowhere"), Path::new("/nowhere"), &[]), Hardware::default());
    }
}
