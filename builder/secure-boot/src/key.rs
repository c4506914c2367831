//! Keys for Secure Boot: RSA of 2048 bits, which every firmware takes, with a certificate by itself.

use std::{str::FromStr, time::Duration};

use der::{Decode as _, DecodePem as _, Encode as _, EncodePem as _, pem::LineEnding};
use rsa::{
    RsaPrivateKey,
    pkcs1v15::{Signature, SigningKey},
    pkcs8::{EncodePrivateKey as _, EncodePublicKey as _},
    rand_core::{OsRng, RngCore as _},
    sha2::Sha256,
};
use x509_cert::{
    Certificate,
    builder::{Builder as _, CertificateBuilder, Profile},
    name::Name,
    serial_number::SerialNumber,
    spki::SubjectPublicKeyInfoOwned,
    time::Validity,
};

use crate::Error;

const BITS: usize = 2048;
/// Firmware looks at no clock for it, other programs do: twenty years.
const VALID: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);

/// A key and its certificate, both in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The private half, as PKCS #8.
    pub key: String,
    /// The certificate.
    pub certificate: String,
}

/// A new key, whose certificate has this common name.
///
/// # Errors
/// A system without random numbers, and names that no certificate has.
pub fn generate(name: &str) -> Result<Pair, Error> {
    make(name).map_err(|source| Error::Generate { bits: BITS, source })
}

/// The certificate in `pem` as DER, in which firmware takes it.
///
/// # Errors
/// Text that is none.
pub fn certificate_der(pem: &str) -> Result<Vec<u8>, Error> {
    let certificate = Certificate::from_pem(pem).map_err(Error::Certificate)?;
    certificate.to_der().map_err(Error::Certificate)
}

fn make(name: &str) -> Result<Pair, Box<dyn std::error::Error + Send + Sync>> {
    let key = RsaPrivateKey::new(&mut OsRng, BITS)?;
    let public =
        SubjectPublicKeyInfoOwned::from_der(key.to_public_key().to_public_key_der()?.as_bytes())?;
    let mut serial = [0; 8];
    OsRng.fill_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40; // neither negative nor shorter
    let signer = SigningKey::<Sha256>::new(key.clone());
    let subject = Name::from_str(&format!("CN={name}"))?;
    let builder = CertificateBuilder::new(
        Profile::Manual { issuer: None },
        SerialNumber::new(&serial)?,
        Validity::from_now(VALID)?,
        subject,
        public,
        &signer,
    );
    let certificate = builder.and_then(|b| b.build::<Signature>()).map_err(|e| e.to_string())?;
    let key = key.to_pkcs8_pem(LineEnding::LF)?.to_string();
    Ok(Pair { key, certificate: certificate.to_pem(LineEnding::LF)? })
}
