//! Ed25519 keys (RFC 8032) of nodes and authorities.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hex;

/// How OpenSSH calls such a key.
const SSH: &str = "ssh-ed25519";
/// The longest line of a public key in OpenSSH's form, in bytes: its comment is a person's.
const SSH_LINE_MAX: usize = 4096;

/// PKCS#8 of a [`Secret`] up to its 32 bytes: RFC 8410, 7.
pub const PKCS8: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A text that is no usable Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a usable Ed25519 key")]
pub struct NotAKey;

/// A public key that is none of the few that anybody can sign for. Displays, parses and serialises as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Public([u8; 32]);

/// A secret key. Wiped from memory when it goes; there is no way to show it.
pub struct Secret(SigningKey);

impl Secret {
    /// A key out of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Those bytes, for its file alone.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The other half.
    pub fn public(&self) -> Public {
        Public(self.0.verifying_key().to_bytes())
    }

    /// Signs. One key and one message have one signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl Public {
    /// The key of these bytes.
    ///
    /// # Errors
    /// Where it is none, or a weak one.
    pub fn new(bytes: [u8; 32]) -> Result<Self, NotAKey> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NotAKey)?;
        if key.is_weak() { Err(NotAKey) } else { Ok(Self(bytes)) }
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` is this key's for `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        let key = VerifyingKey::from_bytes(&self.0);
        key.is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    /// As OpenSSH has it in a file, without a comment: RFC 8709, 4.
    pub fn to_ssh(&self) -> String {
        format!("{SSH} {}", STANDARD.encode([&SSH_HEAD[..], &self.0].concat()))
    }

    /// The key in a file of OpenSSH's, such as `ssh_host_ed25519_key.pub`.
    ///
    /// # Errors
    /// Where it is another kind of key, or none.
    pub fn parse_ssh(text: &str) -> Result<Self, NotAKey> {
        if text.len() > SSH_LINE_MAX {
            return Err(NotAKey);
        }
        let mut words = text.split_ascii_whitespace();
        let (Some(SSH), Some(blob)) = (words.next(), words.next()) else { return Err(NotAKey) };
        let blob = STANDARD.decode(blob).map_err(|_| NotAKey)?;
        let key = blob.strip_prefix(&SSH_HEAD).ok_or(NotAKey)?;
        Self::new(key.try_into().map_err(|_| NotAKey)?)
    }
}

/// What stands before the key: RFC 4253, 6.6. Strings have their length before them, big-endian.
const SSH_HEAD: [u8; 19] = *b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

impl FromStr for Public {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        Self::new(hex::decode_32(text).ok_or(NotAKey)?)
    }
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl Serialize for Public {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Public {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}
