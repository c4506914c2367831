//! X.509 (RFC 5280) with Ed25519 (RFC 8410): one authority, and certificates of nodes by it.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Result, ensure};
use coremax_channel::Certified;
use coremax_node_api::{
    enrol::{Der, Public, Secret, Window},
    guid::Guid,
    join::NodeKey,
    roster,
};
use der::{
    Encode,
    asn1::{
        Any, BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, SetOfVec,
        UtcTime, Utf8StringRef,
    },
    oid::AssociatedOid,
};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    attr::AttributeTypeAndValue,
    ext::{
        Extension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
            SubjectAltName, SubjectKeyIdentifier, name::GeneralName,
        },
    },
    name::{Name, RdnSequence, RelativeDistinguishedName},
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
    time::{Time, Validity},
};

use crate::random;

/// RFC 8410, 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 5280, 4.2.1.12.
const SERVER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// X.520, 6.2.2.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// The first moment of 2050, from which on dates have four digits of year: RFC 5280, 4.1.2.5. In seconds since 1970.
const FOUR_DIGITS: u64 = 2_524_608_000;
/// 9999-12-31T23:59:59Z, which RFC 5280, 4.1.2.5 has for no end. In seconds since 1970.
const FOR_EVER: u64 = 253_402_300_799;

/// What the authority is called.
fn issuer(cluster: Guid) -> Result<Name> {
    common_name(&format!("coremax cluster {cluster}"))
}

/// Without the crate's own reading of names, which brings the names of a thousand object identifiers.
fn common_name(text: &str) -> Result<Name> {
    let value = Any::from(Utf8StringRef::new(text)?);
    let name = AttributeTypeAndValue { oid: COMMON_NAME, value };
    Ok(RdnSequence(vec![RelativeDistinguishedName(SetOfVec::try_from(vec![name])?)]))
}

/// The authority's own certificate. Its serial number comes of its key: made again, it is the same.
pub(super) fn authority(key: &Secret, cluster: Guid) -> Result<Der> {
    let name = issuer(cluster)?;
    let id = SubjectKeyIdentifier(OctetString::new(key_id(key.public()))?);
    let of_authority = BasicConstraints { ca: true, path_len_constraint: Some(0) };
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    let extensions =
        vec![extension(&of_authority, true)?, extension(&usage, true)?, extension(&id, false)?];
    let serial = SerialNumber::new(&positive(key_id(key.public())))?;
    let validity = Validity { not_before: time(0)?, not_after: time(FOR_EVER)? };
    sign(key, tbs(serial, name.clone(), name, validity, key.public(), extensions)?)
}

/// A node's certificate: for both ends of TLS, with the name and the address of its row, and its machine.
pub(super) fn node(
    key: &Secret,
    cluster: Guid,
    (row, node): (&roster::Node, NodeKey),
    public: Public,
    valid: Window,
) -> Result<Der> {
    let names = SubjectAltName(vec![
        GeneralName::DnsName(Ia5String::new(row.name.as_ref())?),
        GeneralName::IpAddress(address(row.address)?),
        GeneralName::UniformResourceIdentifier(Ia5String::new(&Certified::uri(node))?),
    ]);
    let by = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(key_id(key.public()))?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    };
    let extensions = vec![
        extension(&BasicConstraints { ca: false, path_len_constraint: None }, true)?,
        extension(&KeyUsage(KeyUsages::DigitalSignature.into()), true)?,
        extension(&ExtendedKeyUsage(vec![SERVER, CLIENT]), false)?,
        extension(&names, false)?,
        extension(&SubjectKeyIdentifier(OctetString::new(key_id(public))?), false)?,
        extension(&by, false)?,
    ];
    let mut serial = vec![0; 16];
    random::fill(&mut serial)?;
    let name = common_name(row.name.as_ref())?;
    let serial = SerialNumber::new(&positive(serial))?;
    sign(key, tbs(serial, issuer(cluster)?, name, validity(valid)?, public, extensions)?)
}

fn tbs(
    serial_number: SerialNumber,
    issuer: Name,
    subject: Name,
    validity: Validity,
    key: Public,
    extensions: Vec<Extension>,
) -> Result<TbsCertificate> {
    let subject_public_key = BitString::from_bytes(key.as_bytes())?;
    Ok(TbsCertificate {
        version: Version::V3,
        serial_number,
        signature: ed25519(),
        issuer,
        validity,
        subject,
        subject_public_key_info: SubjectPublicKeyInfoOwned {
            algorithm: ed25519(),
            subject_public_key,
        },
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    })
}

fn sign(key: &Secret, tbs_certificate: TbsCertificate) -> Result<Der> {
    let signature = BitString::from_bytes(&key.sign(&tbs_certificate.to_der()?))?;
    let signed = Certificate { tbs_certificate, signature_algorithm: ed25519(), signature };
    Ok(Der::new(signed.to_der()?)?)
}

fn extension<T: AssociatedOid + Encode>(value: &T, critical: bool) -> Result<Extension> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

fn ed25519() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ED25519, parameters: None }
}

/// The names of a key, as RFC 7093, 2, method 1 has it.
fn key_id(key: Public) -> Vec<u8> {
    Sha256::digest(key.as_bytes())[..20].to_vec()
}

/// RFC 5280, 4.1.2.2: not zero, 20 bytes at most.
fn positive(mut serial: Vec<u8>) -> Vec<u8> {
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    serial
}

fn address(address: Ipv4Addr) -> Result<OctetString> {
    Ok(OctetString::new(address.octets())?)
}

/// A clock before 1970 is at its beginning: certificates know nothing earlier worth telling.
fn validity(valid: Window) -> Result<Validity> {
    let seconds = |time: i64| u64::try_from(time / 1000).unwrap_or(0);
    let (from, until) = (seconds(valid.from), seconds(valid.until));
    ensure!(until < FOR_EVER, "the clock is in a year that no certificate can name");
    Ok(Validity { not_before: time(from)?, not_after: time(until)? })
}

fn time(seconds: u64) -> Result<Time> {
    let since = Duration::from_secs(seconds);
    Ok(match seconds {
        0..FOUR_DIGITS => Time::UtcTime(UtcTime::from_unix_duration(since)?),
        _ => Time::GeneralTime(GeneralizedTime::from_unix_duration(since)?),
    })
}
