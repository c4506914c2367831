//! The archive itself: packages, indexes, signatures.

use std::collections::BTreeMap;

use coremax_fetch::Digest;
use jiff::{Timestamp, ToSpan as _};
use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder,
        SignedPublicKey, SignedSecretKey,
    },
    types::Password,
};

/// The suites of Debian 12 that one mirror has.
const SUITES: [&str; 2] = ["bookworm", "bookworm-updates"];
/// What every plan on Debian 12 asks for by name, and `hello`.
const PACKAGES: [&str; 15] = [
    "coreutils",
    "e2fsck-static",
    "e2fsprogs",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "grub-pc-bin",
    "hello",
    "linux-image-amd64",
    "linux-image-cloud-amd64",
    "ovmf",
    "qemu-system-x86",
    "shim-signed",
    "squashfs-tools",
    "systemd",
];
/// What each package unpacks to, in bytes.
const CONTENT: usize = 300_000;

/// When a Release says that it was made, and until when it holds.
#[derive(Debug, Clone, Copy)]
pub struct Dates {
    /// Hours ago.
    pub age: i64,
    /// Hours from now; less than 0 for one that has expired.
    pub valid: i64,
}

impl Dates {
    /// Made an hour ago, good for a week.
    pub const SOUND: Self = Self { age: 1, valid: 7 * 24 };
}

/// A tiny archive and its key.
pub struct Archive {
    key: SignedSecretKey,
}

impl Default for Archive {
    fn default() -> Self {
        Self::new()
    }
}

impl Archive {
    /// An archive with a key of its own.
    ///
    /// # Panics
    /// If no key can be made.
    pub fn new() -> Self {
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .primary_user_id("Test archive <archive@mirror.example>".into())
            .build()
            .expect("what a key is made of");
        Self { key: params.generate(rand::thread_rng()).expect("a key") }
    }

    /// The public key, armored.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn key(&self) -> Vec<u8> {
        let public = SignedPublicKey::from(self.key.clone());
        public.to_armored_bytes(ArmorOptions::default()).expect("an armored key")
    }

    /// All its files by path, with Releases of these dates.
    pub fn files(&self, dates: Dates) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut index = String::new();
        for name in PACKAGES {
            let deb = deb(name);
            let path = format!("pool/{name}.deb");
            index += &format!(
                "Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n\
                 Installed-Size: {}\nFilename: {path}\nSize: {}\nSHA256: {}\n\n",
                CONTENT / 1024,
                deb.len(),
                Digest::of(&deb)
            );
            files.insert(format!("/{path}"), deb);
        }
        for (suite, index) in SUITES.into_iter().zip([index.as_str(), ""]) {
            let path = format!("/dists/{suite}/main/binary-amd64/Packages");
            files.insert(path, index.as_bytes().to_vec());
            let release = self.sign(&release(suite, index, dates));
            files.insert(format!("/dists/{suite}/InRelease"), release.into_bytes());
        }
        files
    }

    fn sign(&self, text: &str) -> String {
        let message = CleartextSignedMessage::sign(
            rand::thread_rng(),
            text,
            &self.key.primary_key,
            &Password::empty(),
        );
        let message = message.expect("a signature");
        message.to_armored_string(ArmorOptions::default()).expect("an armored message")
    }
}

fn release(suite: &str, index: &str, dates: Dates) -> String {
    let now = Timestamp::now();
    let time = |at: Timestamp| at.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string();
    format!(
        "Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: {}\nValid-Until: {}\n\
         Architectures: amd64\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages\n",
        time(now - dates.age.hours()),
        time(now + dates.valid.hours()),
        Digest::of(index),
        index.len()
    )
}

/// A package as deb(5) has it, with one file that hardly repeats itself.
fn deb(name: &str) -> Vec<u8> {
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
    );
    let seed = name.bytes().fold(1_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
    let words = (1_u32..).map(|n| n.wrapping_mul(seed | 1).wrapping_mul(2_654_435_761));
    let content: Vec<u8> = words.flat_map(u32::to_le_bytes).take(CONTENT).collect();
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar", archive("./control", control.as_bytes())),
        ("data.tar", archive(&format!("./usr/share/{name}"), &content)),
    ];
    let mut deb = b"!<arch>\n".to_vec();
    for (member, bytes) in members {
        let length = bytes.len();
        deb.extend(
            format!("{member:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 100_644).bytes(),
        );
        deb.extend(bytes);
        deb.resize(deb.len().next_multiple_of(2), b'\n');
    }
    deb
}

/// A tar with one file and the folders above it.
fn archive(path: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        // The prefix `./` is as dpkg-deb writes it, and `set_path` would take it away.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content).expect("an entry");
    };
    for (at, _) in path.match_indices('/') {
        add(&path[..=at], tar::EntryType::Directory, 0o755, b"");
    }
    add(path, tar::EntryType::Regular, 0o644, content);
    tar.into_inner().expect("a tar")
}
