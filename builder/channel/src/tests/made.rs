//! Certificates as an authority gives them, and as none should.

use std::time::Duration;

use coremax_node_api::enrol::{Der, Secret, Window};
use der::{
    Encode,
    asn1::{BitString, Ia5String, ObjectIdentifier, OctetString, SetOfVec, Utf8StringRef},
    oid::AssociatedOid,
};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    attr::AttributeTypeAndValue,
    ext::{
        Extension,
        pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName, name::GeneralName},
    },
    name::{Name, RdnSequence, RelativeDistinguishedName},
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
    time::{Time, Validity},
};

const ED25519: AlgorithmIdentifierOwned =
    AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap("1.3.101.112"), parameters: None };
pub(super) const SERVER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
pub(super) const CLIENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

pub(super) fn secret(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

/// That of the authority with this key.
pub(super) fn authority(number: u8) -> Der {
    let extensions =
        vec![extension(&BasicConstraints { ca: true, path_len_constraint: Some(0) }, true)];
    sign(number, number, "ca", Window { from: 0, until: 4_000_000_000_000 }, extensions)
}

/// One with these names, by the authority with that key, for the key of this number.
pub(super) fn certificate(
    by: u8,
    number: u8,
    names: Vec<GeneralName>,
    uses: Vec<ObjectIdentifier>,
    valid: Window,
) -> Der {
    let extensions = vec![
        extension(&BasicConstraints { ca: false, path_len_constraint: None }, true),
        extension(&ExtendedKeyUsage(uses), false),
        extension(&SubjectAltName(names), false),
    ];
    sign(by, number, "node", valid, extensions)
}

pub(super) fn dns(name: &str) -> GeneralName {
    GeneralName::DnsName(Ia5String::new(name).unwrap())
}

pub(super) fn ip(address: [u8; 4]) -> GeneralName {
    GeneralName::IpAddress(OctetString::new(address).unwrap())
}

pub(super) fn mail(text: &str) -> GeneralName {
    GeneralName::Rfc822Name(Ia5String::new(text).unwrap())
}

pub(super) fn uri(text: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap())
}

fn sign(by: u8, number: u8, subject: &str, valid: Window, extensions: Vec<Extension>) -> Der {
    let subject_public_key = BitString::from_bytes(secret(number).public().as_bytes()).unwrap();
    let time = |time: i64| {
        let since = Duration::from_millis(time.try_into().unwrap());
        Time::try_from(std::time::UNIX_EPOCH + since).unwrap()
    };
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&[1]).unwrap(),
        signature: ED25519,
        issuer: name("ca"),
        validity: Validity { not_before: time(valid.from), not_after: time(valid.until) },
        subject: name(subject),
        subject_public_key_info: SubjectPublicKeyInfoOwned {
            algorithm: ED25519,
            subject_public_key,
        },
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    };
    let signature = secret(by).sign(&tbs_certificate.to_der().unwrap());
    let signature = BitString::from_bytes(&signature).unwrap();
    let signed = Certificate { tbs_certificate, signature_algorithm: ED25519, signature };
    Der::new(signed.to_der().unwrap()).unwrap()
}

fn name(text: &str) -> Name {
    let oid = ObjectIdentifier::new_unwrap("2.5.4.3");
    let value = Utf8StringRef::new(text).unwrap().into();
    let name = SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }]).unwrap();
    RdnSequence(vec![RelativeDistinguishedName(name)])
}

fn extension<T: AssociatedOid + Encode>(value: &T, critical: bool) -> Extension {
    let extn_value = OctetString::new(value.to_der().unwrap()).unwrap();
    Extension { extn_id: T::OID, critical, extn_value }
}
