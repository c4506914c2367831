//! GUIDs as partition tables and file systems hold them.
//!
//! A GUID is 128 bits, written as 32 hex digits in groups of 8-4-4-4-12. In memory here, and in
//! ext4, its bytes stand in the order of the text; on a GPT disk the first three groups are
//! little-endian. RFC 9562, <https://www.rfc-editor.org/rfc/rfc9562>.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};
use sha2::{Digest as _, Sha256};

/// A GUID (UUID). Displays, parses and serialises as lower-case text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

/// What was offered as a GUID is not 32 hex digits in groups of 8-4-4-4-12.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a GUID (32 hex digits in groups of 8-4-4-4-12)")]
pub struct NotAGuid(String);

/// Where the text has its hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Guid {
    /// The GUID with these bytes, in the order of its text: a half of a verity root hash is one.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The GUID that `name` has in `namespace`: the same pair gives the same GUID, for ever.
    ///
    /// This is version 8 from SHA-256 over the namespace's bytes and the name, as appendix B.2 of
    /// RFC 9562 describes it.
    pub fn from_name(namespace: Self, name: &str) -> Self {
        let hash = Sha256::new().chain_update(namespace.0).chain_update(name).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80; // version 8
        bytes[8] = bytes[8] & 0x3f | 0x80; // variant of RFC 9562
        Self(bytes)
    }

    /// The bytes in the order of the text.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The GUID with these bytes, as a GPT holds them.
    pub fn from_gpt(bytes: [u8; 16]) -> Self {
        Self(Self(bytes).to_gpt()) // each turn is its own way back
    }

    /// The bytes as a GPT holds them.
    pub fn to_gpt(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    /// The GUID whose digits are those of this number, for literals.
    pub const fn literal(number: u128) -> Self {
        Self(number.to_be_bytes())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, byte)| {
            let hyphen = if [4, 6, 8, 10].contains(&i) { "-" } else { "" };
            write!(f, "{hyphen}{byte:02x}")
        })
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let refuse = || NotAGuid(text.chars().take(80).collect());
        let shaped = text.len() == 36
            && text.bytes().enumerate().all(|(i, byte)| match HYPHENS.contains(&i) {
                true => byte == b'-',
                false => byte.is_ascii_hexdigit(),
            });
        if !shaped {
            return Err(refuse());
        }
        let digits: String = text.chars().filter(|&c| c != '-').collect();
        u128::from_str_radix(&digits, 16).map(Self::literal).map_err(|_| refuse())
    }
}

impl Serialize for Guid {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DNS: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

    #[test]
    fn text_and_back() {
        let guid: Guid = DNS.parse().unwrap();
        assert_eq!(guid.to_string(), DNS);
        assert_eq!(guid, DNS.to_uppercase().parse().unwrap());
        assert_eq!(guid, Guid::literal(0x6ba7b810_9dad_11d1_80b4_00c04fd430c8));
        let plus = DNS.replace('6', "+");
        for bad in
            ["", "6ba7b810", &DNS[1..], &DNS.replace('-', ""), "é".repeat(18).as_str(), &plus]
        {
            assert!(bad.parse::<Guid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn gpt_swaps_the_first_three_groups() {
        let guid: Guid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let expected = [
            0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
            0xff,
        ];
        assert_eq!(guid.to_gpt(), expected);
        assert_eq!(Guid::from_gpt(expected), guid);
    }

    #[test]
    fn names_give_the_guid_of_the_rfc() {
        let guid = Guid::from_name(DNS.parse().unwrap(), "www.example.com");
        assert_eq!(guid.to_string(), "5c146b14-3c52-8afd-938a-375d0df1fbf6");
    }

    proptest! {
        #[test]
        fn every_guid_is_a_text_and_a_partition_s(bytes in any::<[u8; 16]>()) {
            let guid = Guid::from_gpt(bytes);
            prop_assert_eq!(guid.to_gpt(), bytes);
            prop_assert_eq!(guid.to_string().parse::<Guid>().unwrap(), guid);
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,40}") {
            drop(text.parse::<Guid>());
        }
    }
}
