//! The keys that sign updates, and their text.
//!
//! ```text
//! # a line that begins so, and an empty one, mean nothing
//! coremax-public-1 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= operator of example.org
//! coremax-secret-1 nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A= operator of example.org
//! ```
//!
//! A word that says what it is, the key in base64 (RFC 4648), and a comment to the end of the line.
//! A public key is the 32 bytes of RFC 8032, a secret one its 32 bytes of seed. A file of public
//! keys may have several, so that a new one can be there before the old one goes; a file of a
//! secret key has one.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::Digest;

/// Where a node has the public keys of its operator.
pub const ON_NODE: &str = "/usr/lib/coremax/update-keys";

const PUBLIC: &str = "coremax-public-1";
const SECRET: &str = "coremax-secret-1";

/// A line or file that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// The first word is another one.
    #[error("a line does not begin with {wanted}")]
    Kind {
        /// The word it should begin with.
        wanted: &'static str,
    },
    /// The second word is not a key.
    #[error("a line with {wanted} does not go on with a key: 32 bytes in base64")]
    Base64 {
        /// The word it begins with.
        wanted: &'static str,
    },
    /// The bytes are no key of Ed25519, or one that anybody can sign for.
    #[error("the key in base64 is not a usable Ed25519 key")]
    Weak,
    /// A file of a secret key holds another number of them.
    #[error("there are {0} secret keys in the file, where one is expected")]
    Number(usize),
    /// A file of public keys holds none.
    #[error("there is no public key in the file")]
    None,
}

impl NotAKey {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kind { wanted: PUBLIC } => {
                Some("give the file with the public key, not the secret one".into())
            }
            Self::Kind { .. } => Some("give the file with the secret key".into()),
            _ => None,
        }
    }
}

/// Names a public key: the first 8 bytes of its SHA-256, 16 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(crate) [u8; 8]);

/// What updates are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    /// For people.
    pub comment: String,
}

/// What updates are signed with. Wiped from memory when it goes, and never shown.
pub struct SecretKey {
    key: SigningKey,
    /// For people.
    pub comment: String,
}

/// The public keys in a file.
///
/// # Errors
/// A line that is no public key, or none at all.
pub fn parse_public(text: &str) -> Result<Vec<PublicKey>, NotAKey> {
    let keys: Vec<_> = lines(text).map(str::parse).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(NotAKey::None) } else { Ok(keys) }
}

/// The secret key in a file.
///
/// # Errors
/// A line that is no secret key, and any other number than one.
pub fn parse_secret(text: &str) -> Result<SecretKey, NotAKey> {
    let found: Vec<_> = lines(text).collect();
    let [line] = found[..] else { return Err(NotAKey::Number(found.len())) };
    let (seed, comment) = parse_line(line, SECRET)?;
    Ok(SecretKey::from_seed(seed, comment))
}

impl SecretKey {
    /// A key out of 32 random bytes.
    pub fn from_seed(seed: [u8; 32], comment: impl Into<String>) -> Self {
        Self { key: SigningKey::from_bytes(&seed), comment: comment.into() }
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey { key: self.key.verifying_key(), comment: self.comment.clone() }
    }

    /// The line for a file, which nobody else may read.
    pub fn to_line(&self) -> String {
        line(SECRET, self.key.as_bytes(), &self.comment)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl PublicKey {
    /// The key's name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&Digest::of(self.key.as_bytes()).as_bytes()[..8]);
        KeyId(id)
    }

    /// The line for a file.
    pub fn to_line(&self) -> String {
        line(PUBLIC, self.key.as_bytes(), &self.comment)
    }

    /// Whether `signature` is this key's for `message`. One key and one message have one signature.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let (bytes, comment) = parse_line(text, PUBLIC)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NotAKey::Weak)?;
        if key.is_weak() {
            return Err(NotAKey::Weak);
        }
        Ok(Self { key, comment })
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn parse_line(line: &str, wanted: &'static str) -> Result<([u8; 32], String), NotAKey> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    if kind != wanted {
        return Err(NotAKey::Kind { wanted });
    }
    let (key, comment) = rest.split_once(' ').unwrap_or((rest, ""));
    let bytes = STANDARD.decode(key).ok().and_then(|bytes| bytes.try_into().ok());
    Ok((bytes.ok_or(NotAKey::Base64 { wanted })?, comment.trim().to_owned()))
}

/// A comment's line feeds would make another line of it.
fn line(kind: &str, key: &[u8; 32], comment: &str) -> String {
    let comment = comment.replace(char::is_control, " ");
    let text = format!("{kind} {} {}", STANDARD.encode(key), comment.trim());
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 8032, 7.1, test 1.
    const SECRET_LINE: &str =
        "coremax-secret-1 nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A= an operator\n";
    const PUBLIC_LINE: &str =
        "coremax-public-1 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= an operator\n";

    #[test]
    fn keys_of_the_specification() {
        let secret = parse_secret(&format!("# mine\n\n{SECRET_LINE}")).unwrap();
        assert_eq!(secret.to_line(), SECRET_LINE);
        assert_eq!(secret.public().to_line(), PUBLIC_LINE);
        assert_eq!(parse_public(PUBLIC_LINE).unwrap(), [secret.public()]);
        assert_eq!(parse_public(&PUBLIC_LINE.repeat(2)).unwrap().len(), 2);
        assert_eq!(secret.sign(b"")[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(secret.public().verifies(b"", &secret.sign(b"")));
        assert_eq!(format!("{secret:?}"), "SecretKey(21fe31dfa154a261)");
    }

    #[test]
    fn what_is_no_key() {
        let zeros = STANDARD.encode([0; 32]);
        let weak = format!("coremax-public-1 {zeros}");
        for (text, want) in [
            ("", NotAKey::None),
            ("# nothing", NotAKey::None),
            (SECRET_LINE, NotAKey::Kind { wanted: PUBLIC }),
            ("coremax-public-1", NotAKey::Base64 { wanted: PUBLIC }),
            ("coremax-public-1 AAAA", NotAKey::Base64 { wanted: PUBLIC }),
            ("coremax-public-1 !", NotAKey::Base64 { wanted: PUBLIC }),
            (&weak, NotAKey::Weak),
        ] {
            assert_eq!(parse_public(text), Err(want), "{text}");
        }
        assert_eq!(parse_secret("").unwrap_err(), NotAKey::Number(0));
        assert_eq!(parse_secret(&SECRET_LINE.repeat(2)).unwrap_err(), NotAKey::Number(2));
        assert!(parse_secret(PUBLIC_LINE).unwrap_err().hint().is_some());
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_written(seed: [u8; 32], comment in "\\PC*") {
            let key = SecretKey::from_seed(seed, comment);
            prop_assert_eq!(parse_secret(&key.to_line()).unwrap().key.to_bytes(), seed);
            prop_assert_eq!(parse_public(&key.public().to_line()).unwrap()[0].id(), key.public().id());
        }

        #[test]
        fn foreign_text_never_panics(text in "(coremax-public-1 )?\\PC*") {
            let _ = parse_public(&text);
            let _ = parse_secret(&text);
        }
    }
}
