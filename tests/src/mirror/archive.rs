//! The archive itself: packages, indexes, signatures.

use std::collections::BTreeMap;

use coremax_fetch::Digest;
use jiff::{Timestamp, ToSpan as _};

use super::Signer;
use crate::deb::{Deb, Members, Stanza};

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
    signer: Signer,
}

impl Default for Archive {
    fn default() -> Self {
        Self::new()
    }
}

impl Archive {
    /// An archive with a key of its own.
    pub fn new() -> Self {
        Self { signer: Signer::new() }
    }

    /// The public key, armored.
    pub fn key(&self) -> Vec<u8> {
        self.signer.public()
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
            let release = self.signer.sign(&release(suite, index, dates));
            files.insert(format!("/dists/{suite}/InRelease"), release.into_bytes());
        }
        files
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

/// A package with one file that hardly repeats itself.
fn deb(name: &str) -> Vec<u8> {
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
    );
    let seed = name.bytes().fold(1_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
    let words = (1_u32..).map(|n| n.wrapping_mul(seed | 1).wrapping_mul(2_654_435_761));
    let content: Vec<u8> = words.flat_map(u32::to_le_bytes).take(CONTENT).collect();
    let mut deb = Deb::empty(&Stanza::parse(&control));
    deb.data.put(&format!("usr/share/{name}"), 0o644, &content);
    deb.write(Members::Plain)
}
