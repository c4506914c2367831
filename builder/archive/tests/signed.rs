//! Archives made and signed on the spot: what is accepted, and what is refused and why.

// Helpers of a test may fail as the test itself does; clippy knows that of #[test] functions alone.
#![allow(clippy::unwrap_used)]

use std::{fs, io::Write as _, path::Path, time::Duration as Age};

use coremax_archive::{Error, Freshness, Keyring, SignedRelease, Snapshot, Source};
use coremax_fetch::{Cache, Digest, Error as FetchError, Fetcher, Transport};
use jiff::{Timestamp, ToSpan as _};
use pgp::{
    composed::{
        CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
        SignedSecretKey, SubkeyParamsBuilder,
    },
    crypto::hash::HashAlgorithm,
    packet::{RevocationCode, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData},
    types::{Duration, Password, SigningKey, Tag},
};
use rand::thread_rng;

fn key() -> SignedSecretKey {
    key_of(KeyType::Ed25519Legacy)
}

fn key_of(primary: KeyType) -> SignedSecretKey {
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

fn keyring(key: &SignedPublicKey) -> Keyring {
    let armored = key.to_armored_bytes(pgp::composed::ArmorOptions::default()).unwrap();
    Keyring::parse(&armored, "test keys").unwrap()
}

fn subpackets(signer: &impl SigningKey, extra: Option<SubpacketData>) -> Vec<Subpacket> {
    let created = SubpacketData::SignatureCreationTime(pgp::types::Timestamp::now());
    let issuer = SubpacketData::IssuerFingerprint(signer.fingerprint());
    [Some(created), Some(issuer), extra]
        .into_iter()
        .flatten()
        .map(|data| Subpacket::regular(data).unwrap())
        .collect()
}

fn config(
    signer: &impl SigningKey,
    typ: SignatureType,
    extra: Option<SubpacketData>,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(typ, signer.algorithm(), HashAlgorithm::Sha256);
    config.hashed_subpackets = subpackets(signer, extra);
    config
}

fn sign_with(text: &str, signer: &impl SigningKey, hash: HashAlgorithm) -> String {
    let mut config = config(signer, SignatureType::Text, None);
    config.hash_alg = hash;
    let message = CleartextSignedMessage::new(text, config, signer, &Password::empty()).unwrap();
    message.to_armored_string(pgp::composed::ArmorOptions::default()).unwrap()
}

fn sign(text: &str, key: &SignedSecretKey) -> String {
    sign_with(text, &key.primary_key, HashAlgorithm::Sha256)
}

/// An archive with one package, in a folder.
struct Archive {
    dir: tempfile::TempDir,
    key: SignedSecretKey,
}

const INDEX: &str = "Package: hello\nVersion: 2.10-3\nArchitecture: amd64\nSize: 5\n\
    Filename: pool/main/h/hello.deb\n\
    SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";

impl Archive {
    fn new() -> Self {
        let archive = Self { dir: tempfile::tempdir().unwrap(), key: key() };
        fs::create_dir_all(archive.suite().join("main/binary-amd64/by-hash/SHA256")).unwrap();
        archive.publish(INDEX, now(), "");
        archive
    }

    fn suite(&self) -> std::path::PathBuf {
        self.dir.path().join("dists/tested")
    }

    fn source(&self) -> Source {
        Source {
            mirror: format!("file://{}", self.dir.path().display()),
            suite: "tested".into(),
            components: vec!["main".into()],
            architecture: "amd64".into(),
            keyring: keyring(&SignedPublicKey::from(self.key.clone())),
            pin: 500,
            check_valid_until: true,
        }
    }

    fn publish(&self, index: &str, date: Timestamp, extra: &str) {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(index.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        fs::write(self.suite().join("main/binary-amd64/Packages.gz"), &packed).unwrap();
        self.sign(&release(index, &packed, date, extra));
    }

    fn sign(&self, text: &str) {
        fs::write(self.suite().join("InRelease"), sign(text, &self.key)).unwrap();
    }
}

fn release(index: &str, packed: &[u8], date: Timestamp, extra: &str) -> String {
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

fn rfc2822(date: Timestamp) -> String {
    date.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

/// Asks the mirror at every opening.
fn always() -> Freshness {
    Freshness { now: now(), max_age: Age::ZERO, offline: false }
}

fn fetcher(dir: &Path) -> Fetcher {
    Fetcher::new(Cache::open(dir).unwrap(), Transport { attempts: 1, ..Transport::default() })
}

fn open(archive: &Archive, fetcher: &Fetcher, freshness: &Freshness) -> Result<Snapshot, Error> {
    Snapshot::open(&[archive.source()], fetcher, freshness)
}

#[test]
fn a_sound_archive_is_read() {
    let archive = Archive::new();
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    let snapshot = open(&archive, &fetcher, &always()).unwrap();
    let universe = snapshot.load(&fetcher, &|_| ()).unwrap();
    assert_eq!(universe.packages.len(), 1);
    assert_eq!(universe.digest, snapshot.digest());
    let input = universe.input(&universe.packages[0]);
    assert!(input.url.starts_with("file:/") && input.url.ends_with("/pool/main/h/hello.deb"));
}

#[test]
fn indexes_come_by_hash_and_else_by_name() {
    let archive = Archive::new();
    archive.publish(INDEX, now(), "Acquire-By-Hash: yes\n");
    let named = archive.suite().join("main/binary-amd64/Packages.gz");
    let packed = fs::read(&named).unwrap();
    let hashed = named.with_file_name("by-hash/SHA256").join(Digest::of(&packed).to_string());
    for (from, to) in [(&named, &named), (&named, &hashed)] {
        fs::rename(from, to).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let fetcher = fetcher(cache.path());
        let snapshot = open(&archive, &fetcher, &always()).unwrap();
        assert_eq!(snapshot.load(&fetcher, &|_| ()).unwrap().packages.len(), 1);
    }
}

#[test]
fn an_index_that_is_not_the_signed_one_is_refused() {
    let archive = Archive::new();
    let index = archive.suite().join("main/binary-amd64/Packages.gz");
    let mut packed = fs::read(&index).unwrap();
    *packed.last_mut().unwrap() ^= 1;
    fs::write(&index, &packed).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    let snapshot = open(&archive, &fetcher, &always()).unwrap();
    let error = snapshot.load(&fetcher, &|_| ()).unwrap_err();
    let Error::Fetch { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, FetchError::Digest { .. }), "{source}");
}

#[test]
fn an_index_longer_than_announced_is_not_unpacked() {
    let archive = Archive::new();
    let packed = fs::read(archive.suite().join("main/binary-amd64/Packages.gz")).unwrap();
    archive.sign(&release("short", &packed, now(), ""));
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    let error = open(&archive, &fetcher, &always()).unwrap().load(&fetcher, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::TooLong { limit: 5, .. }), "{error}");
}

#[test]
fn times_and_names_must_fit() {
    let archive = Archive::new();
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    let refused = |date, extra: &str| {
        archive.publish(INDEX, date, extra);
        let error = open(&archive, &fetcher, &always()).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error
    };
    let until = format!("Valid-Until: {}\n", rfc2822(now() - 1.hour()));
    assert!(matches!(refused(now() - 2.hours(), &until), Error::Expired { .. }));
    assert!(matches!(refused(now() + 1.hour(), ""), Error::FromTheFuture { .. }));
    let lacking = Source { components: vec!["universe".into()], ..archive.source() };
    archive.publish(INDEX, now(), "");
    let error = Snapshot::open(&[lacking], &fetcher, &always()).unwrap_err();
    assert!(matches!(error, Error::NoIndex { .. }), "{error}");
    archive.sign(&release(INDEX, b"", now(), "").replace("tested", "other"));
    let error = open(&archive, &fetcher, &always()).unwrap_err();
    assert!(matches!(error, Error::OtherSuite { .. }), "{error}");
}

#[test]
fn a_mirror_does_not_go_back_in_time() {
    let archive = Archive::new();
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    open(&archive, &fetcher, &always()).unwrap();
    archive.publish(INDEX, now() - 48.hours(), "");
    let error = open(&archive, &fetcher, &always()).unwrap_err();
    assert!(matches!(error, Error::Rollback { .. }), "{error}");
    assert!(error.to_string().contains(&(now() - 48.hours()).to_string()[..10]), "{error}");
}

#[test]
fn a_recent_state_is_used_without_asking_and_verified_again() {
    let archive = Archive::new();
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    open(&archive, &fetcher, &always()).unwrap();
    let in_release = archive.suite().join("InRelease");
    fs::remove_file(&in_release).unwrap();
    open(&archive, &fetcher, &Freshness::default()).unwrap();
    let late = Freshness { now: now() + 48.hours(), ..Freshness::default() };
    let error = open(&archive, &fetcher, &late).unwrap_err();
    assert!(matches!(error, Error::Fetch { .. }), "{error}");
    open(&archive, &fetcher, &Freshness { offline: true, ..late }).unwrap();
    // Tampered with in the cache: as if it were not there.
    let kept = fs::read_dir(cache.path().join("release")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&kept).unwrap().replace("Origin: Test", "Origin: Mine");
    fs::write(&kept, text).unwrap();
    let error = open(&archive, &fetcher, &Freshness { offline: true, ..late }).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
}

#[test]
fn an_old_fashioned_mirror_has_a_detached_signature() {
    let archive = Archive::new();
    let text = release(
        INDEX,
        &fs::read(archive.suite().join("main/binary-amd64/Packages.gz")).unwrap(),
        now(),
        "",
    );
    let signer = &archive.key.primary_key;
    let config = config(signer, SignatureType::Binary, None);
    let signature = config.sign(signer, &Password::empty(), text.as_bytes()).unwrap();
    let detached = pgp::composed::DetachedSignature::new(signature);
    fs::remove_file(archive.suite().join("InRelease")).unwrap();
    fs::write(archive.suite().join("Release"), &text).unwrap();
    let armored = detached.to_armored_bytes(pgp::composed::ArmorOptions::default()).unwrap();
    let mut binary = Vec::new();
    pgp::packet::PacketTrait::to_writer_with_header(&detached.signature, &mut binary).unwrap();
    for signature in [armored, binary] {
        fs::write(archive.suite().join("Release.gpg"), signature).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let fetcher = fetcher(cache.path());
        for _ in 0..2 {
            let snapshot = open(&archive, &fetcher, &always()).unwrap();
            assert_eq!(snapshot.load(&fetcher, &|_| ()).unwrap().packages.len(), 1);
        }
    }
}

#[test]
fn signatures_that_do_not_count() {
    let key = key();
    let keys = keyring(&SignedPublicKey::from(key.clone()));
    let text = release(INDEX, b"", now(), "");
    let good = sign(&text, &key);
    let subkey = &key.secret_subkeys[0].key;
    let verify = |message: &str, keys: &Keyring, now| {
        SignedRelease::inline(message.as_bytes(), "test")?.verify(keys, now)
    };
    verify(&good, &keys, now()).unwrap();
    verify(&sign_with(&text, subkey, HashAlgorithm::Sha512), &keys, now()).unwrap();

    let refused = |message: &str, keys: &Keyring, now, why: &str| {
        let error = verify(message, keys, now).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&good.replace("Origin: Test", "Origin: Evil"), &keys, now(), "not what");
    // Ed25519 has no weak hashes to offer.
    let rsa = key_of(KeyType::Rsa(2048));
    let rsa_keys = keyring(&SignedPublicKey::from(rsa.clone()));
    verify(&sign_with(&text, &rsa.primary_key, HashAlgorithm::Sha256), &rsa_keys, now()).unwrap();
    for (hash, name) in [(HashAlgorithm::Sha1, "SHA1"), (HashAlgorithm::Md5, "MD5")] {
        refused(&sign_with(&text, &rsa.primary_key, hash), &rsa_keys, now(), name);
    }
    let other = self::key();
    refused(&sign(&text, &other), &keys, now(), "is not one of the keys");
    refused(&good, &keyring(&revoked(&key)), now(), "is revoked");
    let expiring = keyring(&expiring(&key));
    verify(&good, &expiring, now()).unwrap();
    refused(&good, &expiring, now() + 2.hours(), "expired on");
    refused(
        &sign_with(&text, subkey, HashAlgorithm::Sha256),
        &keyring(&unbound(&key)),
        now(),
        "not",
    );
}

/// The key with a revocation by itself.
fn revoked(key: &SignedSecretKey) -> SignedPublicKey {
    let mut public = SignedPublicKey::from(key.clone());
    let reason = SubpacketData::RevocationReason(RevocationCode::KeyCompromised, "lost".into());
    let config = config(&key.primary_key, SignatureType::KeyRevocation, Some(reason));
    let revocation =
        config.sign_key(&key.primary_key, &Password::empty(), &public.primary_key).unwrap();
    public.details.revocation_signatures.push(revocation);
    public
}

/// The key with a statement that it lasts an hour.
fn expiring(key: &SignedSecretKey) -> SignedPublicKey {
    let mut public = SignedPublicKey::from(key.clone());
    let lasts = SubpacketData::KeyExpirationTime(Duration::from_secs(3600));
    let config = config(&key.primary_key, SignatureType::CertPositive, Some(lasts));
    let user = &mut public.details.users[0];
    let signed: Signature = config
        .sign_certification(
            &key.primary_key,
            &public.primary_key,
            &Password::empty(),
            Tag::UserId,
            &user.id,
        )
        .unwrap();
    user.signatures = vec![signed];
    public
}

/// The key with a subkey that another key bound to itself.
fn unbound(key: &SignedSecretKey) -> SignedPublicKey {
    let other = self::key();
    let mut public = SignedPublicKey::from(key.clone());
    let theirs = SignedPublicKey::from(other).public_subkeys.remove(0).signatures;
    public.public_subkeys[0].signatures = theirs;
    public
}
