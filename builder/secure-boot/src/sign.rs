//! Signatures as firmware checks them: Authenticode, a PKCS #7 message about the digest of a program.
//!
//! ```text
//! ContentInfo { SignedData { 1, SHA-256, SpcIndirectDataContent { about a PE image, its digest }, certificate,
//!     SignerInfo { attributes: content type, digest of the content; RSA PKCS #1 v1.5 over them } } }
//! ```
//!
//! No time is in it, so that the same program is signed by the same bytes.
//! <https://download.microsoft.com/download/9/c/5/9c5b2167-8017-4bae-9fde-d599bac8184a/authenticode_pe.docx>

use cms::{
    builder::{SignedDataBuilder, SignerInfoBuilder},
    cert::{CertificateChoices, IssuerAndSerialNumber},
    content_info::{CmsVersion, ContentInfo},
    signed_data::{EncapsulatedContentInfo, SignedData, SignerIdentifier},
};
use der::{
    Any, Decode as _, DecodePem as _, Encode as _,
    asn1::{Null, ObjectIdentifier},
};
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1v15::{Signature, SigningKey},
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _},
    sha2::Sha256,
};
use x509_cert::{Certificate, spki::AlgorithmIdentifierOwned};

use crate::{Error, pe};

const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// SpcIndirectDataContent up to the digest: SpcPeImageData without flags or a file's name, SHA-256.
const ABOUT_A_PROGRAM: [u8; 46] = [
    0x30, 0x4c, 0x30, 0x17, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01,
    0x0f, //
    0x30, 0x09, 0x03, 0x01, 0x00, 0xa0, 0x04, 0xa2, 0x02, 0x80, 0x00, //
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, //
    0x04, 0x20,
];

/// A private key and its certificate.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey<Sha256>,
    certificate: Certificate,
}

/// The secret half is not shown.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("subject", &self.certificate.tbs_certificate.subject)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// The key and its certificate, both in PEM.
    ///
    /// # Errors
    /// Text that is neither, and two that are no pair.
    pub fn load(key: &str, certificate: &str) -> Result<Self, Error> {
        let key = RsaPrivateKey::from_pkcs8_pem(key).map_err(Error::Key)?;
        let certificate = Certificate::from_pem(certificate).map_err(Error::Certificate)?;
        let own = RsaPublicKey::from(&key).to_public_key_der().map_err(|_| Error::NotAPair)?;
        let named = certificate.tbs_certificate.subject_public_key_info.to_der();
        if named.ok().as_deref() != Some(own.as_bytes()) {
            return Err(Error::NotAPair);
        }
        Ok(Self { key: SigningKey::new(key), certificate })
    }

    /// The program with this signature and no other.
    ///
    /// # Errors
    /// What is no program for UEFI.
    pub fn sign(&self, image: &[u8]) -> Result<Vec<u8>, Error> {
        let image = pe::unsigned(image)?;
        let signature = self.message(pe::digest(&image)?).map_err(Error::Sign)?;
        pe::append(image, &signature)
    }

    fn message(
        &self,
        digest: [u8; 32],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let content = Any::from_der(&[&ABOUT_A_PROGRAM[..], &digest].concat())?;
        let content =
            EncapsulatedContentInfo { econtent_type: INDIRECT_DATA, econtent: Some(content) };
        let sha256 = AlgorithmIdentifierOwned { oid: SHA256, parameters: Some(Null.into()) };
        let named = &self.certificate.tbs_certificate;
        let signer = SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: named.issuer.clone(),
            serial_number: named.serial_number.clone(),
        });
        let about = |error: cms::builder::Error| error.to_string();
        let info = SignerInfoBuilder::new(&self.key, signer, sha256.clone(), &content, None)
            .map_err(about)?;
        let message = SignedDataBuilder::new(&content)
            .add_digest_algorithm(sha256)
            .and_then(|b| {
                b.add_certificate(CertificateChoices::Certificate(self.certificate.clone()))
            })
            .and_then(|b| b.add_signer_info::<SigningKey<Sha256>, Signature>(info))
            .and_then(|b| b.build())
            .map_err(about)?;
        // CMS calls it version 3 for its content; Authenticode is older and knows 1 alone.
        let data = message.content.decode_as::<SignedData>()?;
        let data = SignedData { version: CmsVersion::V1, ..data };
        Ok(ContentInfo { content: Any::encode_from(&data)?, ..message }.to_der()?)
    }
}
