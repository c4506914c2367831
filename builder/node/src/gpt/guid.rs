//! GUIDs, whose first three groups are little-endian on a disk.

use std::{fmt, str::FromStr};

/// A GUID, its bytes in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Guid([u8; 16]);

impl Guid {
    /// From bytes in the order of the text, such as a half of a root hash.
    pub(crate) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From bytes as a table has them.
    pub(crate) fn from_disk(mut bytes: [u8; 16]) -> Self {
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(bytes)
    }

    /// The bytes as a table has them.
    pub(crate) fn to_disk(self) -> [u8; 16] {
        Self::from_disk(self.0).0 // each turn is its own way back
    }
}

impl FromStr for Guid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits: String = text.chars().filter(|&c| c != '-').collect();
        let plain = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| plain).ok_or(())?;
        let guid = Self(number.to_be_bytes());
        if guid.to_string().eq_ignore_ascii_case(text) { Ok(guid) } else { Err(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        let disk = [
            0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
            0xff,
        ];
        assert_eq!(Guid::from_disk(disk), guid);
        assert_eq!(guid.to_disk(), disk);
        for bad in [
            "",
            "0011",
            &text[1..],
            "00112233445566778899aabbccddeeff",
            "+0112233-4455-6677-8899-aabbccddeeff",
        ] {
            assert!(bad.parse::<Guid>().is_err(), "{bad}");
        }
    }
}
