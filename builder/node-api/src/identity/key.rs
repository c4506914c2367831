//! The cluster's key, and its name.

use std::{fmt, str::FromStr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::hex;

/// Keeps what is derived from a cluster's key from being anything else.
const DOMAIN: &[u8] = b"coremax machine's key\0";

/// A text that is not so many hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not {0} hex digits")]
pub struct NotHex(usize);

/// A pre-shared key of 256 bits, the psk of the handshake. It is cleared when it is dropped, compared in constant
/// time, and never shown.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// The name of a key, random, said in clear before the first message that the key protects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl Key {
    /// The key of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the handshake alone.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for the medium of one machine, with its name; `random` tells those of one cluster apart. Who has this key, the
    /// cluster's, has all of them ([`Self::of_machine`]); who has one of them has neither this one nor another.
    pub fn for_machine(&self, random: [u8; 4]) -> (KeyId, Self) {
        let id = self.id_of(random);
        (id, self.derived(b"key", id))
    }

    /// The key that has this name, where it is one of [`Self::for_machine`]'s.
    pub fn of_machine(&self, id: KeyId) -> Option<Self> {
        let [a, b, c, d, ..] = id.0;
        (self.id_of([a, b, c, d]) == id).then(|| self.derived(b"key", id))
    }

    /// Four random bytes, and four by which the cluster's key knows its own: they protect nothing.
    fn id_of(&self, [a, b, c, d]: [u8; 4]) -> KeyId {
        let Self([e, f, g, h, ..]) = self.derived(b"id", KeyId([a, b, c, d, 0, 0, 0, 0]));
        KeyId([a, b, c, d, e, f, g, h])
    }

    /// HMAC-SHA256 (RFC 2104) of what it is for and a name.
    fn derived(&self, purpose: &[u8], id: KeyId) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        let mac =
            mac.chain_update(DOMAIN).chain_update(purpose).chain_update([0]).chain_update(id.0);
        Self(mac.finalize().into_bytes().into())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        decode(text).map(Self)
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    hex::decode_secret(text).map(|bytes| *bytes).ok_or(NotHex(2 * N))
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode_secret(&self.0))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(from)?);
        decode(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_s_key_knows_those_of_its_machines() {
        let (cluster, other) = (Key::new([1; 32]), Key::new([2; 32]));
        let (id, key) = cluster.for_machine([7; 4]);
        assert_eq!(cluster.of_machine(id), Some(key.clone()));
        assert_ne!(cluster.for_machine([8; 4]), (id, key.clone()));
        assert_ne!(key, cluster);
        for wrong in [&other, &key] {
            assert_eq!(wrong.of_machine(id), None);
            assert_ne!(wrong.for_machine([7; 4]), (id, key.clone()));
        }
        for bit in 0..64 {
            let mut changed = id;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cluster.of_machine(changed), None, "bit {bit}");
        }
    }

    /// Computed by another program: a medium made by one version is known to the next.
    #[test]
    fn they_are_what_they_were() {
        let (id, key) = Key::new([1; 32]).for_machine([7; 4]);
        assert_eq!(id.to_string(), "070707073aa88bbb");
        assert_eq!(
            crate::hex::encode(key.expose()),
            "b6b9344887ea70e8e76da824fdaf679786f11d2dcf6638b252b36d92489901cb"
        );
    }
}
