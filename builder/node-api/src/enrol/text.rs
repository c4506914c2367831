//! Certificates as they travel.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::Proof;
use crate::hex;

/// The longest certificate, in bytes of DER. Set by this format: those of an Ed25519 authority have 500.
pub const DER_MAX: usize = 2048;
/// The longest SSH certificate, in bytes of its line. Set by this format: those of a host have 700.
pub const SSH_MAX: usize = 2048;
/// What OpenSSH calls a certificate of such a key: PROTOCOL.certkeys.
const SSH: &str = "ssh-ed25519-cert-v01@openssh.com";

/// What is no part of a gift or request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAGift {
    /// Longer than any is.
    #[error("it has {0} bytes, where {1} are allowed")]
    Long(usize, usize),
    /// Not of the form.
    #[error("it is not {0}")]
    Form(&'static str),
}

/// A structure in DER, [`DER_MAX`] bytes at most. Serialises as base64. What is in it, who uses it finds out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Der(Vec<u8>);

/// An SSH certificate as a line of text: its kind and base64, nothing else, so that it can be written into a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SshCertificate(String);

impl Der {
    /// The structure of these bytes.
    ///
    /// # Errors
    /// [`NotAGift::Long`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, NotAGift> {
        match bytes.len() {
            0..=DER_MAX => Ok(Self(bytes)),
            length => Err(NotAGift::Long(length, DER_MAX)),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As RFC 7468 writes a certificate.
    pub fn to_pem(&self) -> String {
        let text = STANDARD.encode(&self.0);
        let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
        let body: String = lines.flat_map(|line| [line, "\n".into()]).collect();
        format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
    }
}

impl SshCertificate {
    /// The text, without a line feed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Der {
    type Error = NotAGift;

    fn try_from(text: String) -> Result<Self, NotAGift> {
        Self::new(STANDARD.decode(text).map_err(|_| NotAGift::Form("base64"))?)
    }
}

impl From<Der> for String {
    fn from(der: Der) -> Self {
        STANDARD.encode(der.0)
    }
}

impl TryFrom<String> for SshCertificate {
    type Error = NotAGift;

    fn try_from(text: String) -> Result<Self, NotAGift> {
        if text.len() > SSH_MAX {
            return Err(NotAGift::Long(text.len(), SSH_MAX));
        }
        let blob = text.strip_prefix(SSH).and_then(|rest| rest.strip_prefix(' '));
        let is_whole = blob.is_some_and(|blob| STANDARD.decode(blob).is_ok());
        if is_whole { Ok(Self(text)) } else { Err(NotAGift::Form("an SSH certificate")) }
    }
}

impl From<SshCertificate> for String {
    fn from(certificate: SshCertificate) -> Self {
        certificate.0
    }
}

impl TryFrom<String> for Proof {
    type Error = NotAGift;

    fn try_from(text: String) -> Result<Self, NotAGift> {
        let bytes = hex::decode(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NotAGift::Form("a signature"))
    }
}

impl From<Proof> for String {
    fn from(proof: Proof) -> Self {
        hex::encode(&proof.0)
    }
}
