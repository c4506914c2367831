//! What is said in clear before the handshake.

use super::{Error, HEAD, VERSION, field, head};
use crate::{guid::Guid, identity::KeyId, join::cluster_hash};

const HELLO_WHAT: &str = "hello";
const REPLY_WHAT: &str = "reply";
const HELLO_MAGIC: [u8; 8] = *b"coremaxH";
const REPLY_MAGIC: [u8; 8] = *b"coremaxR";
/// Bytes of a hello.
pub const HELLO: usize = 50;
/// Bytes of a reply.
pub const REPLY: usize = 11;

/// What a node says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// [`cluster_hash`].
    pub cluster: [u8; 32],
    /// The key that it has.
    pub key_id: KeyId,
}

/// What a seed says first. Proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The version that it speaks.
    pub version: u16,
    /// What it thinks of the hello.
    pub word: Word,
}

/// What a seed thinks of a hello: a hint for people, but for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Word {
    /// The second message follows.
    #[error("go on")]
    GoOn,
    /// It does not speak this version.
    #[error("other-version: it speaks another version of the protocol")]
    OtherVersion,
    /// It is of another cluster.
    #[error("other-cluster: it is the seed of another cluster")]
    OtherCluster,
    /// It has no key of this id.
    #[error("unknown-key: it has no key of this id; was the medium made for another cluster?")]
    UnknownKey,
    /// The first message does not hold.
    #[error("bad-key: it has another key of this id")]
    BadKey,
}

impl Word {
    const ALL: [Self; 5] =
        [Self::GoOn, Self::OtherVersion, Self::OtherCluster, Self::UnknownKey, Self::BadKey];
}

impl Hello {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HELLO] {
        let mut bytes = [0; HELLO];
        bytes[..8].copy_from_slice(&HELLO_MAGIC);
        bytes[8..HEAD].copy_from_slice(&VERSION.to_be_bytes());
        bytes[HEAD..42].copy_from_slice(&self.cluster);
        bytes[42..].copy_from_slice(&self.key_id.0);
        bytes
    }

    /// The hello that `bytes` begin with; nothing yet where there are too few.
    ///
    /// # Errors
    /// [`Error::NotOurs`] and [`Error::OtherVersion`], as soon as that can be seen.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        head(bytes, HELLO_MAGIC, HELLO_WHAT)?;
        let whole = |bytes| Self { cluster: field(bytes, HEAD), key_id: KeyId(field(bytes, 42)) };
        Ok(bytes.get(..HELLO).map(whole))
    }
}

impl Reply {
    /// The reply of this program.
    pub const fn of(word: Word) -> Self {
        Self { version: VERSION, word }
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; REPLY] {
        let mut bytes = [0; REPLY];
        bytes[..8].copy_from_slice(&REPLY_MAGIC);
        bytes[8..HEAD].copy_from_slice(&self.version.to_be_bytes());
        bytes[HEAD] = self.word as u8;
        bytes
    }

    /// The reply that `bytes` begin with; nothing yet where there are too few.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::OtherVersion`], and [`Error::Value`] for a word that nobody knows.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        head(bytes, REPLY_MAGIC, REPLY_WHAT)?;
        let Some(word) = bytes.get(HEAD) else { return Ok(None) };
        let known = Word::ALL.into_iter().find(|known| *known as u8 == *word);
        let word = known.ok_or(Error::Value { what: REPLY_WHAT, value: u64::from(*word) })?;
        Ok(Some(Self::of(word)))
    }
}

/// What both ends of a handshake must agree on: all that was said in clear before it, and the cluster's name.
pub fn prologue(cluster: Guid, key_id: KeyId) -> [u8; HELLO + 16] {
    let mut bytes = [0; HELLO + 16];
    let hello = Hello { cluster: cluster_hash(cluster), key_id };
    bytes[..HELLO].copy_from_slice(&hello.encode());
    bytes[HELLO..].copy_from_slice(cluster.as_bytes());
    bytes
}
