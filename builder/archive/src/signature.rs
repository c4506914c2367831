//! Signed Release files: nothing in one can be read before its signature holds.
//!
//! ```text
//! -----BEGIN PGP SIGNED MESSAGE-----
//! Hash: SHA256
//!                                     (an empty line)
//! Origin: Debian ...                  (the text; a line that begins with - gets "- " before it)
//! -----BEGIN PGP SIGNATURE-----
//! ... -----END PGP SIGNATURE-----
//! ```
//! See <https://www.rfc-editor.org/rfc/rfc9580#name-cleartext-signature-framewo>. The framework's freedoms are not
//! granted: one message, nothing before or after it, so that what was signed is all that there is.

use std::io::BufReader;

use jiff::Timestamp;
use pgp::{
    armor::Dearmor,
    crypto::hash::HashAlgorithm,
    packet::{Packet, PacketParser, Signature, SignatureType},
};

use crate::{Error, Keyring, Release};

/// A Release file is not longer; ours. Debian's has 150 kB, Ubuntu's 270 kB.
pub(crate) const MAX_RELEASE: u64 = 16 << 20;
/// More signatures than this on one file are an attempt to keep us busy; ours.
const MAX_SIGNATURES: usize = 32;

/// A Release file whose signature was not checked yet.
#[derive(Debug, Clone)]
pub struct SignedRelease {
    name: String,
    text: String,
    signatures: Vec<Signature>,
}

impl SignedRelease {
    /// Takes an `InRelease` file apart. `name` is for messages: where it comes from.
    ///
    /// # Errors
    /// Where it is not exactly one signed message.
    pub fn inline(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let refuse = |what: &str| Error::Unsigned { name: name.to_owned(), what: what.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is not text"))?;
        let (text, armor) = split(text).map_err(refuse)?;
        Ok(Self { name: name.to_owned(), text, signatures: signatures(armor.as_bytes(), name)? })
    }

    /// A `Release` file and its `Release.gpg`, for mirrors without `InRelease`.
    ///
    /// # Errors
    /// Where the one is not text or the other no signature.
    pub fn detached(bytes: &[u8], signature: &[u8], name: &str) -> Result<Self, Error> {
        let refuse = |what: &str| Error::Unsigned { name: name.to_owned(), what: what.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is not text"))?;
        let text = text.to_owned();
        Ok(Self { name: name.to_owned(), text, signatures: signatures(signature, name)? })
    }

    /// Checks the signatures, of which one must hold at `now` by a key of `keyring`, and reads the file.
    ///
    /// # Errors
    /// Says of each signature why it does not hold; or where the file is malformed.
    pub fn verify(&self, keyring: &Keyring, now: Timestamp) -> Result<Release, Error> {
        let mut reasons = Vec::new();
        for signature in &self.signatures {
            match self.check(signature, keyring, now) {
                Ok(()) => return Release::parse(&self.text, &self.name),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(Error::Signature { name: self.name.clone(), reasons })
    }

    fn check(
        &self,
        signature: &Signature,
        keyring: &Keyring,
        now: Timestamp,
    ) -> Result<(), String> {
        if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
            return Err("it is not a signature of a file".to_owned());
        }
        match signature.hash_alg() {
            Some(
                HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512,
            ) => {}
            weak => {
                let weak =
                    weak.map_or_else(|| "an unknown hash".to_owned(), |hash| hash.to_string());
                return Err(format!("it is made with {weak}, which is too weak"));
            }
        }
        keyring.check(signature, self.text.as_bytes(), now)?;
        let lasts = signature.signature_expiration_time().map_or(0, |time| time.as_secs());
        let created = signature.created().map_or(0, |created| created.as_secs());
        match lasts == 0 || now.as_second() < i64::from(created) + i64::from(lasts) {
            true => Ok(()),
            false => Err("it has expired".to_owned()),
        }
    }
}

/// The text as it was signed, and the armored signatures.
fn split(message: &str) -> Result<(String, &str), &'static str> {
    const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----\n";
    const SIGNATURE: &str = "\n-----BEGIN PGP SIGNATURE-----\n";
    const END: &str = "\n-----END PGP SIGNATURE-----";
    if message.contains('\r') {
        return Err("it holds carriage returns");
    }
    let rest = message.strip_prefix(BEGIN).ok_or("it does not begin with a signed message")?;
    let (headers, rest) = rest.split_once("\n\n").ok_or("the signed message has no text")?;
    if !headers.lines().all(|line| line.starts_with("Hash: ")) {
        return Err("the signed message has unknown headers");
    }
    let at = rest.find(SIGNATURE).ok_or("it has no signature")?;
    let (body, armor) = (&rest[..at], &rest[at + 1..]);
    let end = armor.find(END).ok_or("its signature is cut short")? + END.len();
    if !armor[end..].trim_ascii().is_empty() {
        return Err("something follows the signature");
    }
    let mut text = String::with_capacity(body.len() + 1);
    for line in body.split('\n') {
        let line = match line.strip_prefix('-') {
            Some(rest) => rest.strip_prefix(' ').ok_or("a line of the text is not escaped")?,
            None => line,
        };
        text.push_str(line.trim_end_matches([' ', '\t']));
        text.push('\n');
    }
    // The last line break belongs to the framework, not to the text.
    text.pop();
    Ok((text, &armor[..end]))
}

fn signatures(armor: &[u8], name: &str) -> Result<Vec<Signature>, Error> {
    let failed =
        |source| Error::BrokenSignature { name: name.to_owned(), source: Box::new(source) };
    let binary = armor.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut signatures = Vec::new();
    let mut add = |packet| {
        if let Packet::Signature(signature) = packet {
            signatures.push(signature);
        }
    };
    if binary {
        let packets = PacketParser::new(armor).take(MAX_SIGNATURES);
        packets
            .filter_map(supported)
            .try_for_each(|packet| packet.map(&mut add))
            .map_err(failed)?;
    } else {
        let packets = PacketParser::new(BufReader::new(Dearmor::new(armor))).take(MAX_SIGNATURES);
        packets
            .filter_map(supported)
            .try_for_each(|packet| packet.map(&mut add))
            .map_err(failed)?;
    }
    Ok(signatures)
}

/// A signature of a kind that is not known here does not stand in the way of the others.
fn supported(packet: pgp::errors::Result<Packet>) -> Option<pgp::errors::Result<Packet>> {
    match packet {
        Err(pgp::errors::Error::Unsupported { .. }) => None,
        packet => Some(packet),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARMOR: &str = "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn only_the_signed_text_counts() {
        let head = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n";
        let message = format!("{head}A: 1 \t\n- -B\n\n{ARMOR}");
        let (text, armor) = split(&message).unwrap();
        assert_eq!(text, "A: 1\n-B\n");
        assert_eq!(armor, ARMOR.trim_end());
        for (message, why) in [
            (format!("A: 2\n{head}A: 1\n{ARMOR}"), "does not begin"),
            (format!("{head}A: 1\n{ARMOR}A: 2\n"), "follows"),
            (format!("{head}A: 1\n{ARMOR}{head}A: 1\n{ARMOR}"), "follows"),
            (format!("{head}-A: 1\n{ARMOR}"), "not escaped"),
            (format!("{head}A: 1\r\n{ARMOR}"), "carriage"),
            (format!("{head}A: 1\n"), "no signature"),
            (format!("-----BEGIN PGP SIGNED MESSAGE-----\nA: 2\n\nA: 1\n{ARMOR}"), "headers"),
            ("A: 1\n".to_owned(), "does not begin"),
        ] {
            assert!(split(&message).unwrap_err().contains(why), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(-----(BEGIN|END) PGP (SIGNED MESSAGE|SIGNATURE)-----|Hash: |[A-Za-z:+/= -]|\n){0,40}", bytes: Vec<u8>) {
            let _ = SignedRelease::inline(text.as_bytes(), "x");
            let _ = SignedRelease::inline(&bytes, "x");
            let _ = SignedRelease::detached(text.as_bytes(), &bytes, "x");
            let _ = Keyring::parse(&bytes, "x");
        }

        #[test]
        fn the_text_is_what_was_framed(lines in prop::collection::vec("-{0,2}[!-~]{0,9}", 0..9)) {
            let text = lines.join("\n");
            let framed: Vec<_> = lines.iter().map(|line| match line.starts_with('-') {
                true => format!("- {line}"),
                false => line.clone(),
            }).collect();
            let head = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n";
            let message = format!("{head}{}\n{ARMOR}", framed.join("\n"));
            prop_assert_eq!(split(&message), Ok((text, ARMOR.trim_end())));
        }

        #[test]
        fn a_damaged_key_never_panics_and_is_never_another(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let key = &crate::distribution("debian-12").unwrap().keys[2];
            let mut armored = key.armored.as_bytes().to_vec();
            let at = at.index(armored.len());
            armored[at] = byte;
            let cut = cut.index(armored.len());
            for bytes in [&armored[..], &armored[..cut]] {
                let pinned = Keyring::parse(bytes, "x").and_then(|ring| ring.pinned(&[key.fingerprint], "x"));
                prop_assert!(pinned.is_err() || pinned.unwrap().fingerprints() == [key.fingerprint]);
            }
        }
    }
}
