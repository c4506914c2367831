//! The signed form of a roster, the only one that a node reads.
//!
//! ```text
//! offset   bytes
//! 0        16    magic: `coremax-roster`, a line feed, NUL
//! 16       4     version of this format, 1
//! 20       4     m, the length of the roster
//! 24       8     id of the key: the first 8 bytes of the public key's SHA-256
//! 32       m     the roster, JSON
//! 32 + m   64    Ed25519 signature over DOMAIN, and all that stands before it
//! ```
//!
//! Numbers are little-endian. Nothing of the roster is looked at before the signature holds, and
//! nothing stands behind it. The keys are those of [`crate::update::key`].

use std::io::{self, Read};

use super::{Fault, Roster};
use crate::update::key::{KeyId, PublicKey, SecretKey};

/// How the name of a signed roster ends.
pub const EXTENSION: &str = "coremax-roster";
/// The longest roster, in bytes of JSON. Set by this format: 250 nodes take half of it.
pub const LENGTH_MAX: usize = 256 << 10;

/// Bytes that a signed roster has beside the roster's own.
pub const AROUND: usize = HEADER + SIGNATURE;

const MAGIC: [u8; 16] = *b"coremax-roster\n\0";
const FORMAT: u32 = 1;
const HEADER: usize = 32;
const SIGNATURE: usize = 64;
/// Keeps a signature of a roster from being one of anything else, and the other way round.
const DOMAIN: &[u8] = b"coremax roster\0";

/// Why a signed roster is refused, or none could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin as one does, or its length is another than it says.
    #[error("this is not a signed roster")]
    NotARoster,
    /// It is of a version of the format that this program does not read.
    #[error("the signed roster is of format {theirs}, and this program reads format {FORMAT}")]
    OtherFormat {
        /// The roster's.
        theirs: u32,
    },
    /// It is longer than any is.
    #[error("the roster has {length} bytes, where {LENGTH_MAX} are allowed")]
    TooLong {
        /// In bytes.
        length: usize,
    },
    /// It is signed with a key that is not known here.
    #[error("the roster is signed with key {id}, which is not known here")]
    UnknownKey {
        /// The key.
        id: KeyId,
    },
    /// It was changed, or never signed with the key that it names.
    #[error("the signature of the roster does not hold: it was damaged or changed")]
    BadSignature,
    /// It is signed and yet not of the documented form.
    #[error("reading the signed roster")]
    Malformed(#[source] serde_json::Error),
    /// It is signed, and no cluster can be made of it.
    #[error("the roster cannot be used")]
    Faulty(#[source] Fault),
}

/// Signs a roster.
///
/// # Errors
/// [`Error::Faulty`] and [`Error::TooLong`]: what every node would refuse.
pub fn sign(roster: &Roster, key: &SecretKey) -> Result<Vec<u8>, Error> {
    whole(roster)?;
    let json = serde_json::to_vec(roster).map_err(Error::Malformed)?;
    let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= LENGTH_MAX);
    let length = length.ok_or(Error::TooLong { length: json.len() })?.to_le_bytes();
    let id = key.public().id().0;
    let mut signed = [&MAGIC[..], &FORMAT.to_le_bytes(), &length, &id, &json].concat();
    let signature = key.sign(&[DOMAIN, &signed].concat());
    signed.extend(signature);
    Ok(signed)
}

/// The roster in `signed`, if one of `keys` signed it. Never panics.
///
/// # Errors
/// Every [`Error`].
pub fn open(signed: &[u8], keys: &[PublicKey]) -> Result<Roster, Error> {
    let (header, rest) = signed.split_first_chunk::<HEADER>().ok_or(Error::NotARoster)?;
    let number = |at: usize| header[at..at + 4].iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
    if header[..16] != MAGIC {
        return Err(Error::NotARoster);
    }
    if number(16) != FORMAT {
        return Err(Error::OtherFormat { theirs: number(16) });
    }
    let length = usize::try_from(number(20)).unwrap_or(usize::MAX);
    if length > LENGTH_MAX {
        return Err(Error::TooLong { length });
    }
    let (json, signature) = rest.split_at_checked(length).ok_or(Error::NotARoster)?;
    let signature: &[u8; SIGNATURE] = signature.try_into().map_err(|_| Error::NotARoster)?;
    let mut id = [0; 8];
    id.copy_from_slice(&header[24..]);
    let id = KeyId(id);
    let key = keys.iter().find(|key| key.id() == id).ok_or(Error::UnknownKey { id })?;
    if !key.verifies(&[DOMAIN, header, json].concat(), signature) {
        return Err(Error::BadSignature);
    }
    let roster: Roster = serde_json::from_slice(json).map_err(Error::Malformed)?;
    whole(&roster)?;
    Ok(roster)
}

/// The bytes of a signed roster, and one more where there are too many: [`open`] says so.
///
/// # Errors
/// The reader's.
pub fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take((LENGTH_MAX + AROUND + 1) as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether these bytes hold this very roster. Who signed it is not looked at.
pub fn holds(signed: &[u8], roster: &Roster) -> bool {
    let end = signed.len().saturating_sub(SIGNATURE);
    let json = serde_json::to_vec(roster).unwrap_or_default();
    signed.starts_with(&MAGIC) && signed.get(HEADER..end) == Some(&*json)
}

fn whole(roster: &Roster) -> Result<(), Error> {
    roster.faults().into_iter().next().map_or(Ok(()), |fault| Err(Error::Faulty(fault)))
}
