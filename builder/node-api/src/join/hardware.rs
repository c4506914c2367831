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

/// What vendors leave in a serial number that they do not fill in, in lower case.
const PLACEHOLDERS: [&str; 8] = [
    "",
    "none",
    "default string",
    "to be filled by o.e.m.",
    "not specified",
    "system serial number",
    "0123456789",
    "n/a",
];

/// Whether a serial number tells anything: vendors leave it empty, or all zeros, or with a word that says so.
pub fn is_serial(serial: &str) -> bool {
    let serial = serial.trim();
    let is_one_character = serial.chars().all(|c| serial.starts_with(c)); // 00000000, FFFFFFFF
    !is_one_character && !PLACEHOLDERS.contains(&serial.to_lowercase().as_str())
}

impl Hardware {
    /// Whether both are one machine, perhaps with another card in it: they share a TPM, a MAC, or a serial number. Two
    /// TPMs are two machines.
    pub fn is_same_machine(&self, other: &Self) -> bool {
        if let (Some(own), Some(others)) = (self.endorsement, other.endorsement) {
            return own == others;
        }
        !self.macs.is_disjoint(&other.macs)
            || (self.serial().is_some() && self.serial() == other.serial())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(mac: u8, serial: &str) -> Hardware {
        let macs = Mac::new([2, 0, 0, 0, 0, mac]).into_iter().collect();
        Hardware { macs, serial: Some(serial.into()), uuid: None, endorsement: None }
    }

    #[test]
    fn machines_are_told_apart() {
        let tpm = |number| Some([number; 32]);
        for (one, other, same) in [
            (machine(1, "A1"), machine(1, "B2"), true),
            (machine(1, "A1"), machine(2, "A1"), true),
            (machine(1, "A1"), machine(2, "B2"), false),
            (machine(1, "00000000"), machine(2, "00000000"), false),
            (machine(1, "To Be Filled By O.E.M."), machine(2, "To Be Filled By O.E.M."), false),
            (machine(1, ""), machine(2, ""), false),
            (
                Hardware { uuid: Some(Guid::literal(1)), ..machine(1, "") },
                Hardware { uuid: Some(Guid::literal(1)), ..machine(2, "") },
                false,
            ),
            (
                Hardware { endorsement: tpm(1), ..machine(1, "A1") },
                Hardware { endorsement: tpm(2), ..machine(1, "A1") },
                false,
            ),
            (
                Hardware { endorsement: tpm(1), ..machine(1, "A1") },
                Hardware { endorsement: tpm(1), ..machine(2, "B2") },
                true,
            ),
        ] {
            assert_eq!(one.is_same_machine(&other), same, "{one:?} {other:?}");
            assert_eq!(other.is_same_machine(&one), same);
        }
        assert!(machine(1, "A1").is_meant_by(&Match::Serial("A1".into())));
        assert!(!machine(1, "none").is_meant_by(&Match::Serial("none".into())));
    }
}
