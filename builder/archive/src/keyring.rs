//! The OpenPGP keys that an archive's signatures are checked with.
//!
//! A key counts by its primary fingerprint; its signing subkeys count with it. What a key says of itself (that
//! it expires, was revoked, has this subkey) is believed only where it signed that itself. As with gpgv, the
//! present time decides whether a key has expired, not the signature's date, which a thief could choose.
//! See <https://www.rfc-editor.org/rfc/rfc9580>.

use std::{fs, path::Path, sync::Arc};

use jiff::Timestamp;
use pgp::{
    composed::{Deserializable as _, SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType},
    types::{KeyDetails, Tag},
};

use crate::Error;

/// A file of keys is not longer; ours. Debian's whole keyring has 60 kB.
const MAX_KEYRING: u64 = 4 << 20;

/// A set of keys, any of which may sign. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Arc<[SignedPublicKey]>,
}

impl Keyring {
    /// Reads keys, armored (also several blocks) or binary. `name` is for messages.
    ///
    /// # Errors
    /// Where there is no key in it, or a broken one.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let failed = |source| Error::Key { name: name.to_owned(), source: Box::new(source) };
        let mut keys = Vec::new();
        for block in blocks(bytes) {
            let (found, _) = SignedPublicKey::from_reader_many(block).map_err(failed)?;
            for key in found {
                keys.push(key.map_err(failed)?);
            }
        }
        match keys.is_empty() {
            true => Err(Error::NoKey { name: name.to_owned() }),
            false => Ok(Self { keys: keys.into() }),
        }
    }

    /// Reads a file of keys.
    ///
    /// # Errors
    /// As for [`Keyring::parse`], and where it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(failed)?.len() > MAX_KEYRING {
            return Err(Error::NoKey { name: path.display().to_string() });
        }
        Self::parse(&fs::read(path).map_err(failed)?, &path.display().to_string())
    }

    /// The same, with only the keys of these fingerprints (40 or 64 hex digits, spaces ignored).
    ///
    /// # Errors
    /// Where one of them is missing.
    pub fn pinned(self, fingerprints: &[&str], name: &str) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for pin in fingerprints {
            let pin = pin.replace(' ', "").to_ascii_uppercase();
            let key = self.keys.iter().find(|key| fingerprint(*key) == pin);
            let missing = || Error::Fingerprint { name: name.to_owned(), fingerprint: pin.clone() };
            keys.push(key.cloned().ok_or_else(missing)?);
        }
        Ok(Self { keys: keys.into() })
    }

    /// These keys and `other`'s.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self { keys: self.keys.iter().chain(other.keys.iter()).cloned().collect() }
    }

    /// The primary keys' fingerprints, in upper-case hex digits.
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(fingerprint).collect()
    }

    /// Whether a key or subkey has this fingerprint (hex digits of either case).
    pub fn holds(&self, wanted: &str) -> bool {
        self.keys.iter().any(|key| {
            let subkeys = key.public_subkeys.iter().map(|subkey| fingerprint(&subkey.key));
            subkeys.chain([fingerprint(key)]).any(|own| own.eq_ignore_ascii_case(wanted))
        })
    }

    /// Whether `signature` over `data` is by one of the keys, which must be in force at `now`.
    ///
    /// # Errors
    /// Says why not, in half a sentence.
    pub(crate) fn check(
        &self,
        signature: &Signature,
        data: &[u8],
        now: Timestamp,
    ) -> Result<(), String> {
        for key in self.keys.iter() {
            if let Some(made_by) = Signer::find(key, signature) {
                key_in_force(key, signature, now)?;
                return made_by.check(key, signature, data, now);
            }
        }
        let issuers = signature.issuer_fingerprint().into_iter().map(|f| format!("{f:X}"));
        let issuers = issuers.chain(
            signature.issuer_key_id().into_iter().map(|id| id.to_string().to_ascii_uppercase()),
        );
        Err(format!(
            "{} is not one of the keys",
            issuers.last().unwrap_or_else(|| "its key".into())
        ))
    }
}

fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

/// An armored file may hold several blocks, of which the parser reads the first.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    let Ok(text) = std::str::from_utf8(bytes) else { return vec![bytes] };
    let mut starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    starts.push(text.len());
    starts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// The part of a key that made a signature.
enum Signer<'a> {
    Primary,
    Subkey(&'a SignedPublicSubKey),
}

impl<'a> Signer<'a> {
    fn find(key: &'a SignedPublicKey, signature: &Signature) -> Option<Self> {
        if names(signature, &key.primary_key) {
            return Some(Self::Primary);
        }
        let mut subkeys = key.public_subkeys.iter();
        subkeys.find(|subkey| names(signature, &subkey.key)).map(Self::Subkey)
    }

    fn check(
        &self,
        key: &SignedPublicKey,
        signature: &Signature,
        data: &[u8],
        now: Timestamp,
    ) -> Result<(), String> {
        let good = match self {
            Self::Primary => signature.verify(&key.primary_key, data),
            Self::Subkey(subkey) => {
                subkey_in_force(key, subkey, now)?;
                signature.verify(&subkey.key, data)
            }
        };
        let by = fingerprint(key);
        good.map_err(|_| format!("the text is not what {by} signed"))
    }
}

/// Whether `signature` says that it was made by `key`.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    match fingerprints.is_empty() {
        true => signature.issuer_key_id().contains(&&key.legacy_key_id()),
        false => fingerprints.contains(&&key.fingerprint()),
    }
}

/// The primary key: not revoked, not expired, and older than what it signed.
fn key_in_force(
    key: &SignedPublicKey,
    signature: &Signature,
    now: Timestamp,
) -> Result<(), String> {
    let primary = &key.primary_key;
    let by = fingerprint(key);
    if key.details.revocation_signatures.iter().any(|s| s.verify_key(primary).is_ok()) {
        return Err(format!("the key {by} is revoked"));
    }
    if signature.created().is_none_or(|created| created < primary.created_at()) {
        return Err(format!("the key {by} is younger than its signature"));
    }
    let users = key.details.users.iter().flat_map(|user| {
        let certifies = |s: &&Signature| {
            s.typ() != Some(SignatureType::CertRevocation)
                && s.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(certifies)
    });
    let direct = key.details.direct_signatures.iter().filter(|s| s.verify_key(primary).is_ok());
    // The newest statement of a key on itself is the one that holds.
    let newest = users.chain(direct).filter(|s| is_believed(s)).max_by_key(|s| s.created());
    let newest = newest.ok_or_else(|| format!("the key {by} does not vouch for itself"))?;
    expiry_in_future(primary, newest, now)
}

/// A subkey: bound to its key as a signing one, by both, and neither revoked nor expired.
fn subkey_in_force(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    now: Timestamp,
) -> Result<(), String> {
    let primary = &key.primary_key;
    let by = fingerprint(&subkey.key);
    let valid = |typ: SignatureType| {
        subkey.signatures.iter().filter(move |s| {
            s.typ() == Some(typ) && s.verify_subkey_binding(primary, &subkey.key).is_ok()
        })
    };
    if valid(SignatureType::SubkeyRevocation).next().is_some() {
        return Err(format!("the key {by} is revoked"));
    }
    let binding = valid(SignatureType::SubkeyBinding)
        .filter(|s| is_believed(s))
        .max_by_key(|s| s.created())
        .ok_or_else(|| format!("the key {by} is not bound to its primary key"))?;
    let back = binding.embedded_signature().filter(|_| binding.key_flags().sign());
    // Both must say so, or a key could claim another's signatures as its own.
    match back.map(|s| s.verify_primary_key_binding(&subkey.key, primary)) {
        Some(Ok(())) => expiry_in_future(&subkey.key, binding, now),
        _ => Err(format!("the key {by} is not a signing key")),
    }
}

fn expiry_in_future(key: &impl KeyDetails, own: &Signature, now: Timestamp) -> Result<(), String> {
    let lasts = own.key_expiration_time().map_or(0, pgp::types::Duration::as_secs);
    let created = i64::from(key.created_at().as_secs());
    let expires = created + i64::from(lasts);
    if lasts == 0 || now.as_second() < expires {
        return Ok(());
    }
    let expires = Timestamp::from_second(expires).unwrap_or(Timestamp::MAX);
    Err(format!("the key {} expired on {expires}", fingerprint(key)))
}

/// Whether a key's statement on itself is made with a hash that is hard to collide. SHA-1 still is, for what
/// the key's own holder wrote, and old keys in use have nothing else; gpgv thinks so too.
fn is_believed(own: &Signature) -> bool {
    !matches!(own.hash_alg(), None | Some(HashAlgorithm::None | HashAlgorithm::Md5))
}
