//! An archive with one package, in a folder, made and signed on the spot.

use std::{fs, io::Write as _, path::Path, time::Duration as Age};

use coremax_archive::{Error, Freshness, Keyring, Snapshot, Source};
use coremax_fetch::{Cache, Digest, Fetcher, Transport};
use jiff::Timestamp;
use pgp::{
    composed::{
        CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
        SignedSecretKey, SubkeyParamsBuilder,
    },
    crypto::hash::HashAlgorithm,
    packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData},
    types::{Password, SigningKey},
};
use rand::thread_rng;

pub(crate) fn key() -> SignedSecretKey {
    key_of(KeyType::Ed25519Legacy)
}

pub(crate) fn key_of(primary: KeyType) -> SignedSecretKey {
    let subkey = SubkeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None)
        .build()
        .unwrap();
    let params = SecretKeyParamsBuilder::default()
        .key_type(primary)
        .can_certify(true)
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None)
        .primary_user_id("Test archive <archive@mirror.example>".into())
        .subkeys(vec![subkey])
        .build()
        .unwrap();
    params.generate(thread_rng()).unwrap()
}

pub(crate) fn keyring(key: &SignedPublicKey) -> Keyring {
    let armored = key.to_armored_bytes(pgp::composed::ArmorOptions::default()).unwrap();
    Keyring::parse(&armored, "test keys").unwrap()
}

pub(crate) fn subpackets(signer: &impl SigningKey, extra: Option<SubpacketData>) -> Vec<Subpacket> {
    let created = SubpacketData::SignatureCreationTime(pgp::types::Timestamp::now());
    let issuer = SubpacketData::IssuerFingerprint(signer.fingerprint());
    [Some(created), Some(issuer), extra]
        .into_iter()
        .flatten()
        .map(|data| Subpacket::regular(data).unwrap())
        .collect()
}

pub(crate) fn config(
    signer: &impl SigningKey,
    typ: SignatureType,
    extra: Option<SubpacketData>,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(typ, signer.algorithm(), HashAlgorithm::Sha256);
    config.hashed_subpackets = subpackets(signer, extra);
    config
}

pub(crate) fn sign_with(text: &str, signer: &impl SigningKey, hash: HashAlgorithm) -> String {
    let mut config = config(signer, SignatureType::Text, None);
    config.hash_alg = hash;
    let message = CleartextSignedMessage::new(text, config, signer, &Password::empty()).unwrap();
    message.to_armored_string(pgp::composed::ArmorOptions::default()).unwrap()
}

pub(crate) fn sign(text: &str, key: &SignedSecretKey) -> String {
    sign_with(text, &key.primary_key, HashAlgorithm::Sha256)
}

/// An archive with one package, in a folder.
pub(crate) struct Archive {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) key: SignedSecretKey,
}

pub(crate) const INDEX: &str = "Package: hello\nVersion: 2.10-3\nArchitecture: amd64\nSize: 5\n\
    Filename: pool/main/h/hello.deb\n\
    SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";

impl Archive {
    pub(crate) fn new() -> Self {
        let archive = Self { dir: tempfile::tempdir().unwrap(), key: key() };
        fs::create_dir_all(archive.suite().join("main/binary-amd64/by-hash/SHA256")).unwrap();
        archive.publish(INDEX, now(), "");
        archive
    }

    pub(crate) fn suite(&self) -> std::path::PathBuf {
        self.dir.path().join("dists/tested")
    }

    pub(crate) fn source(&self) -> Source {
        Source {
            mirror: format!("file://{}", self.dir.path().display()),
            suite: "tested".into(),
            components: vec!["main".into()],
            architecture: "amd64".into(),
            keyring: keyring(&SignedPublicKey::from(self.key.clone())),
            pin: None,
            check_valid_until: true,
        }
    }

    pub(crate) fn publish(&self, index: &str, date: Timestamp, extra: &str) {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(index.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        fs::write(self.suite().join("main/binary-amd64/Packages.gz"), &packed).unwrap();
        self.sign(&release(index, &packed, date, extra));
    }

    pub(crate) fn sign(&self, text: &str) {
        fs::write(self.suite().join("InRelease"), sign(text, &self.key)).unwrap();
    }
}

pub(crate) fn release(index: &str, packed: &[u8], date: Timestamp, extra: &str) -> String {
    let path = "main/binary-amd64/Packages";
    format!(
        "Origin: Test\nSuite: stable\nCodename: tested\nDate: {}\nArchitectures: amd64\nComponents: main\n\
         {extra}SHA256:\n {} {} {path}\n {} {} {path}.gz\n",
        rfc2822(date),
        Digest::of(index),
        index.len(),
        Digest::of(packed),
        packed.len()
    )
}

pub(crate) fn rfc2822(date: Timestamp) -> String {
    date.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

/// Asks the mirror at every opening.
pub(crate) fn always() -> Freshness {
    Freshness { now: now(), max_age: Age::ZERO, offline: false }
}

pub(crate) fn fetcher(dir: &Path) -> Fetcher {
    Fetcher::new(Cache::open(dir).unwrap(), Transport { attempts: 1, ..Transport::default() })
}

pub(crate) fn open(
    archive: &Archive,
    fetcher: &Fetcher,
    freshness: &Freshness,
) -> Result<Snapshot, Error> {
    Snapshot::open(&[archive.source()], fetcher, freshness)
}
