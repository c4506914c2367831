//! Which machine it is: never told by one field, for every one of them is doubled somewhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    guid::Guid,
    hex,
    roster::{Mac, Match},
};

/// What a machine is told by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// The permanent MACs of its cards.
    pub macs: BTreeSet<Mac>,
    /// DMI's serial number, if the vendor wrote one.
    pub serial: Option<String>,
    /// DMI's UUID. Boards of one series share it too often for it to tell anything alone.
    pub uuid: Option<Guid>,
    /// The SHA-256 of the TPM's endorsement key.
    #[serde(with = "hex::digest::option", default)]
    pub endorsement: Option<[u8; 32]>,
}

/// What vendors leave in a serial number that they do not fill in: letters, in lower case, and digits alone.
const NO_SERIALS: [&str; 28] = [
    "0123456789",
    "01234567890",
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "baseboardserialnumber",
    "chassisserialnumber",
    "default",
    "defaultstring",
    "empty",
    "invalid",
    "na",
    "none",
    "noserial",
    "notapplicable",
    "notavailable",
    "notpresent",
    "notset",
    "notspecified",
    "null",
    "oem",
    "serial",
    "serialnumber",
    "systemserialnumber",
    "tobefilledbyoem",
    "unknown",
];
/// UUIDs that makers of firmware gave to all boards alike, the first also with its bytes as old tables have them.
const NO_UUIDS: [u128; 4] = [
    0x0300_0200_0400_0500_0006_0007_0008_0009,
    0x0002_0003_0004_0005_0006_0007_0008_0009,
    0x1234_5678_1234_5678_90ab_cdde_efaa_bbcc,
    0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
];

/// Whether a serial number tells anything: vendors leave it empty, or all of one character, or with a word that says so. How
/// that is written, in upper or lower case and with which marks in between, differs from board to board.
pub fn is_serial(serial: &str) -> bool {
    let bare: String = serial.chars().filter(|c| c.is_alphanumeric()).collect();
    let bare = bare.to_lowercase();
    let is_one_character = bare.chars().all(|c| bare.starts_with(c)); // 00000000, FFFF-FFFF
    !is_one_character && !NO_SERIALS.contains(&bare.as_str())
}

/// Whether a UUID of DMI's tells anything: all of one byte are what a board has that nobody gave one.
pub fn is_uuid(uuid: &Guid) -> bool {
    let bytes = uuid.as_bytes();
    let is_one_byte = bytes.iter().all(|byte| *byte == bytes[0]);
    !is_one_byte && !NO_UUIDS.map(Guid::literal).contains(uuid)
}

impl Hardware {
    /// Whether both are one machine, perhaps with another card in it. Of what both have:
    ///
    /// | | |
    /// |---|---|
    /// | the same TPM | one machine, if a MAC, the serial number or the UUID is the same too: a TPM of software is copied with its machine's disk |
    /// | two TPMs | two machines, unless MAC, serial number and UUID all are the same: firmware makes itself a new one |
    /// | a MAC in common | one machine, unless serial numbers and UUIDs both differ: then the card was moved |
    /// | the same serial number | one machine, unless UUIDs differ |
    /// | the same UUID | nothing: boards of one series share it |
    pub fn is_same_machine(&self, other: &Self) -> bool {
        let serial = both_same(self.serial(), other.serial());
        let uuid = both_same(self.uuid(), other.uuid());
        let has_card = !self.macs.is_disjoint(&other.macs);
        match both_same(self.endorsement, other.endorsement) {
            Some(true) => has_card || serial == Some(true) || uuid == Some(true),
            Some(false) => has_card && serial == Some(true) && uuid == Some(true),
            None => {
                let is_moved = serial == Some(false) && uuid == Some(false);
                (has_card && !is_moved) || (serial == Some(true) && uuid != Some(false))
            }
        }
    }

    /// Whether there is anything that the machine can be told by: whoever says nothing is not the same as itself
    /// ([`Self::is_same_machine`]), and no row means it.
    pub fn tells_anything(&self) -> bool {
        !self.macs.is_empty() || self.serial().is_some()
    }

    /// Whether a row means this machine.
    pub fn is_meant_by(&self, row: &Match) -> bool {
        match row {
            Match::Mac(mac) => self.macs.contains(mac),
            Match::Serial(serial) => self.serial() == Some(serial.trim()),
        }
    }

    fn serial(&self) -> Option<&str> {
        self.serial.as_deref().map(str::trim).filter(|serial| is_serial(serial))
    }

    fn uuid(&self) -> Option<Guid> {
        self.uuid.filter(is_uuid)
    }
}

/// Nothing where one has none.
fn both_same<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<bool> {
    Some(one? == other?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `MAC,MAC SERIAL UUID TPM` by numbers, `-` for what it has not; `_` is a blank in the serial number.
    fn machine(text: &str) -> Hardware {
        let words: Vec<_> = text.split_whitespace().collect();
        let said = |word: usize| Some(words[word]).filter(|word| *word != "-");
        let macs = said(0).into_iter().flat_map(|macs| macs.split(','));
        Hardware {
            macs: macs.filter_map(|mac| Mac::new([2, 0, 0, 0, 0, mac.parse().unwrap()])).collect(),
            serial: said(1).map(|serial| serial.replace('_', " ")),
            uuid: said(2).map(|uuid| uuid.parse().unwrap_or_else(|_| literal(uuid))),
            endorsement: said(3).map(|number| [number.parse().unwrap(); 32]),
        }
    }

    fn literal(number: &str) -> Guid {
        Guid::literal(number.parse().unwrap())
    }

    #[test]
    fn machines_are_told_apart() {
        let junk = "03000200-0400-0500-0006-000700080009";
        for (one, other, same) in [
            // A card.
            ("1 A1 - -", "1 B2 - -", true),
            ("1 - 1 -", "1 - 2 -", true),
            ("1 A1 1 -", "1 A1 2 -", true),
            ("1 A1 1 -", "1 B2 1 -", true),
            ("1,2 A1 1 -", "2,3 B2 - -", true),
            ("1 A1 1 -", "1 B2 2 -", false),
            ("1,2 A1 1 -", "2,3 B2 2 -", false),
            (&format!("1 A1 {junk} -"), "1 B2 2 -", true),
            ("1 A1 1 -", "1 invalid 2 -", true),
            // A serial number.
            ("1 A1 - -", "2 A1 - -", true),
            ("1 A1 1 -", "2 A1 - -", true),
            ("1 A1 1 -", "2 A1 1 -", true),
            ("1 A1 1 -", "2 A1 2 -", false),
            ("- A1 1 -", "- A1 2 -", false),
            (&format!("1 A1 {junk} -"), "2 A1 2 -", true),
            ("1 A1 ffffffff-ffff-ffff-ffff-ffffffffffff -", "2 A1 2 -", true),
            ("1 A1 0 -", "2 A1 2 -", true),
            ("1 A1 - -", "2 B2 - -", false),
            ("1 00000000 - -", "2 00000000 - -", false),
            ("1 To_Be_Filled_By_O.E.M. 1 -", "2 To_Be_Filled_By_O.E.M. 1 -", false),
            ("1 123456789 - -", "2 123456789 - -", false),
            // A UUID alone, and nothing at all.
            ("1 - 1 -", "2 - 1 -", false),
            ("- - - -", "- - - -", false),
            // A TPM.
            ("1 A1 1 1", "1 A1 1 2", true),
            ("1 A1 1 1", "2 A1 1 2", false),
            ("1 A1 1 1", "1 B2 1 2", false),
            ("1 A1 1 1", "1 A1 - 2", false),
            ("1 A1 1 1", "2 B2 2 1", false),
            ("1 A1 1 1", "1 B2 2 1", true),
            ("1 A1 1 1", "2 A1 2 1", true),
            ("1 A1 1 1", "2 B2 1 1", true),
            ("1 A1 1 1", "1 A1 1 -", true),
            ("1 A1 1 1", "1 B2 2 -", false),
        ] {
            let (first, second) = (machine(one), machine(other));
            assert_eq!(first.is_same_machine(&second), same, "{one} and {other}");
            assert_eq!(second.is_same_machine(&first), same, "{other} and {one}");
        }
        assert!(machine("1 A1 - -").is_meant_by(&Match::Serial("A1".into())));
        assert!(!machine("1 none - -").is_meant_by(&Match::Serial("none".into())));
    }

    #[test]
    fn what_a_machine_can_be_told_by() {
        for (one, want) in [
            ("1 - - -", true),
            ("- A1 - -", true),
            ("- - - 1", false),
            ("- - 1 -", false),
            ("- none 1 -", false),
            ("- - - -", false),
        ] {
            let machine = machine(one);
            assert_eq!(machine.tells_anything(), want, "{one}");
            assert!(!want || machine.is_same_machine(&machine), "{one}");
        }
    }

    #[test]
    fn what_vendors_leave_tells_nothing() {
        let left = "123456789;Not Applicable;INVALID;None;To be filled by O.E.M.;TO BE FILLED BY OEM;Default string;\
                    System Serial Number;0123456789;Not Specified;N/A;unknown;Chassis-Serial-Number; ;;.;\
                    00000000;FFFFFFFF;xxxx;0000-0000-00;0;..........";
        for serial in left.split(';') {
            for serial in [serial.to_owned(), serial.to_uppercase(), format!(" {serial}\n")] {
                assert!(!is_serial(&serial), "{serial:?}");
            }
        }
        for serial in ["A1", "7J2K3Z1", "12345678901", "S123456789", "None1", "CZ-0000-1", "é1"] {
            assert!(is_serial(serial), "{serial:?}");
        }
        for (uuid, want) in [
            ("00000000-0000-0000-0000-000000000000", false),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", false),
            ("fefefefe-fefe-fefe-fefe-fefefefefefe", false),
            ("03000200-0400-0500-0006-000700080009", false),
            ("00020003-0004-0005-0006-000700080009", false),
            ("12345678-1234-5678-90ab-cddeefaabbcc", false),
            ("4c4c4544-0000-2010-8020-80c04f202020", true),
            ("00000000-0000-0000-0000-ac1f6b000001", true),
        ] {
            assert_eq!(is_uuid(&uuid.parse().unwrap()), want, "{uuid}");
        }
    }
}
