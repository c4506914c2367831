//! Archives made and signed on the spot: what is accepted, and what is refused and why.

// Helpers of a test may fail as the test itself does; clippy knows that of #[test] functions alone.
#![allow(clippy::unwrap_used)]

mod archive;
mod memory;
mod priorities;

use std::fs;

use archive::{
    Archive, INDEX, always, config, fetcher, key, key_of, keyring, now, open, release, rfc2822,
    sign, sign_with,
};
use coremax_archive::{Error, Freshness, Keyring, SignedRelease, Snapshot, Source};
use coremax_fetch::{Digest, Error as FetchError};
use jiff::ToSpan as _;
use pgp::{
    composed::{KeyType, SignedPublicKey, SignedSecretKey},
    crypto::hash::HashAlgorithm,
    packet::{RevocationCode, Signature, SignatureType, SubpacketData},
    types::{Duration, Password, Tag},
};

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
    let other = archive::key();
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
    let other = archive::key();
    let mut public = SignedPublicKey::from(key.clone());
    let theirs = SignedPublicKey::from(other).public_subkeys.remove(0).signatures;
    public.public_subkeys[0].signatures = theirs;
    public
}
