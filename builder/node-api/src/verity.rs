//! dm-verity: the superblock of a hash tree, and the hash at its root.
//!
//! A tree hashes the blocks of a device, then the blocks of hashes, until one hash is left. Its
//! first block begins with a superblock of 512 bytes, all little-endian: `verity\0\0`, version (1)
//! and type of hash (1: the salt before the block), UUID, algorithm, sizes of data and hash blocks,
//! number of data blocks, length of the salt, and the salt. The kernel does not read it: a program
//! hands it over as text, with the root hash, which comes from elsewhere.
//! <https://docs.kernel.org/admin-guide/device-mapper/verity.html>,
//! <https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity>

mod superblock;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{guid::Guid, hex};

pub use superblock::{NotASuperblock, Superblock};

/// Bytes in a block, of data and of hashes: the only size used here.
pub const BLOCK: u64 = 4096;
/// Bytes of salt that a superblock has room for.
pub const SALT_MAX: usize = 256;

/// The SHA-256 at the root of a tree: whoever trusts it can trust each block. Displays, parses and
/// serialises as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RootHash([u8; 32]);

/// What is hashed before each block, at most [`SALT_MAX`] bytes. Displays and parses as hexadecimal
/// digits, or `-` where there is none, as the kernel writes it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt(Vec<u8>);

/// A text that is neither a root hash nor a salt, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHex {
    /// Not a root hash.
    #[error("{0:?} is not a root hash (64 hexadecimal digits)")]
    RootHash(String),
    /// Not a salt.
    #[error("{0:?} is not a salt (two hexadecimal digits for each byte, at most 256 bytes, or -)")]
    Salt(String),
}

/// More than [`SALT_MAX`] bytes of salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a salt of {0} bytes, where {SALT_MAX} are allowed")]
pub struct SaltTooLong(pub usize);

impl RootHash {
    /// The root hash of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The GUIDs that the Discoverable Partitions Specification gives to the partitions: the first
    /// half is the data's, the last half the tree's.
    /// <https://uapi-group.org/specifications/specs/discoverable_partitions_specification/>
    pub fn partition_guids(&self) -> [Guid; 2] {
        let mut halves = [[0; 16]; 2];
        halves.iter_mut().zip(self.0.chunks(16)).for_each(|(half, own)| half.copy_from_slice(own));
        halves.map(Guid::from_bytes)
    }
}

impl Salt {
    /// The salt of these bytes.
    ///
    /// # Errors
    /// [`SaltTooLong`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SaltTooLong> {
        let bytes = bytes.into();
        if bytes.len() > SALT_MAX { Err(SaltTooLong(bytes.len())) } else { Ok(Self(bytes)) }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("-") } else { f.write_str(&hex::encode(&self.0)) }
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RootHash {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        let bytes = hex::decode_32(text);
        bytes.map(Self).ok_or_else(|| NotHex::RootHash(shortened(text)))
    }
}

impl FromStr for Salt {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        let bytes = if text == "-" { Some(Vec::new()) } else { hex::decode(text) };
        let salt = bytes.filter(|_| !text.is_empty()).and_then(|bytes| Self::new(bytes).ok());
        salt.ok_or_else(|| NotHex::Salt(shortened(text)))
    }
}

impl TryFrom<String> for RootHash {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        text.parse()
    }
}

impl TryFrom<String> for Salt {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        text.parse()
    }
}

impl From<RootHash> for String {
    fn from(hash: RootHash) -> Self {
        hash.to_string()
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.to_string()
    }
}

/// As much of a text as an error should quote.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What systemd-repart 252 reported of a `root` and a `root-verity` partition that it made.
    const HASH: &str = "a3d47192d48b4dff3cb00d8a658b6ff0a98a5ffe5751c9fff77a2701c8487675";
    const UUIDS: [&str; 2] =
        ["a3d47192-d48b-4dff-3cb0-0d8a658b6ff0", "a98a5ffe-5751-c9ff-f77a-2701c8487675"];

    #[test]
    fn a_root_hash_is_text_and_two_uuids() {
        let hash: RootHash = HASH.parse().unwrap();
        assert_eq!(hash.to_string(), HASH);
        assert_eq!(HASH.to_uppercase().parse(), Ok(hash));
        let guids = hash.partition_guids();
        assert_eq!(guids.map(|guid| guid.to_string()), UUIDS);
        assert_eq!(guids.map(|guid| *guid.as_bytes()).concat(), hash.as_bytes());
        for bad in
            ["", "-", &HASH[2..], &HASH[1..], &HASH.replace('f', "+"), &HASH.replace('f', "ß")]
        {
            assert!(bad.parse::<RootHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn salts() {
        let long = "ab".repeat(256);
        for (text, length) in [("-", 0), ("00", 1), ("00ff", 2), (&long, 256)] {
            let salt: Salt = text.parse().unwrap();
            assert_eq!((salt.as_bytes().len(), salt.to_string()), (length, text.to_owned()));
        }
        for bad in ["", "0", "0x00", "--", &format!("{long}00")] {
            assert!(bad.parse::<Salt>().is_err(), "{bad}");
        }
        assert_eq!(Salt::new([0; 257]), Err(SaltTooLong(257)));
    }

    #[test]
    fn both_are_texts_in_json() {
        let pair: (RootHash, Salt) = (HASH.parse().unwrap(), Salt::default());
        let json = serde_json::to_string(&pair).unwrap();
        assert_eq!(json, format!("[\"{HASH}\",\"-\"]"));
        assert_eq!(serde_json::from_str::<(RootHash, Salt)>(&json).unwrap(), pair);
    }

    proptest! {
        #[test]
        fn every_salt_is_a_text(bytes in prop::collection::vec(any::<u8>(), 0..=256)) {
            let salt = Salt::new(bytes).unwrap();
            prop_assert_eq!(salt.to_string().parse::<Salt>(), Ok(salt));
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,70}") {
            drop((text.parse::<RootHash>(), text.parse::<Salt>()));
        }
    }
}
