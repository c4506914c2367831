//! Packages that nobody should have made: whatever is in them is unpacked within the tree or refused.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::deb::tests::{ar_file, tar_file};

/// In a path this stands for the folder beside the tree that nothing may come into.
const OUTSIDE: &str = "@";
const BLOCK: usize = 512;

/// An entry as it stands in the file, right or wrong.
#[derive(Debug, Clone)]
struct Raw {
    path: String,
    kind: u8,
    target: String,
    content: Vec<u8>,
    /// What the header says of the size, if not the truth.
    size: Option<u64>,
    mode: u32,
    owner: u64,
    is_sum_right: bool,
}

impl Raw {
    fn file(path: &str) -> Self {
        Self {
            path: path.into(),
            kind: b'0',
            target: String::new(),
            content: Vec::new(),
            size: None,
            mode: 0o644,
            owner: 0,
            is_sum_right: true,
        }
    }

    fn write(&self, outside: &str, tar: &mut Vec<u8>) {
        let [path, target] = [&self.path, &self.target].map(|text| text.replace(OUTSIDE, outside));
        for (long, kind) in [(&path, b'L'), (&target, b'K')] {
            if long.len() > 100 {
                let content = [long.as_bytes(), b"\0"].concat();
                let size = content.len() as u64;
                self.header("././@LongLink", kind, "", size, tar);
                pad(&content, tar);
            }
        }
        self.header(&path, self.kind, &target, self.size.unwrap_or(self.content.len() as u64), tar);
        pad(&self.content, tar);
    }

    fn header(&self, path: &str, kind: u8, target: &str, size: u64, tar: &mut Vec<u8>) {
        let mut header = tar::Header::new_gnu();
        let cut = |text: &str| text.as_bytes()[..text.len().min(100)].to_vec();
        header.as_mut_bytes()[..cut(path).len()].copy_from_slice(&cut(path));
        header.as_mut_bytes()[157..157 + cut(target).len()].copy_from_slice(&cut(target));
        header.as_mut_bytes()[156] = kind;
        header.set_size(size);
        header.set_mode(self.mode);
        header.set_uid(self.owner);
        header.set_gid(self.owner);
        header.set_mtime(1);
        header.set_cksum();
        if !self.is_sum_right {
            header.as_mut_bytes()[148] ^= 1;
        }
        tar.extend_from_slice(header.as_bytes());
    }
}

fn pad(content: &[u8], tar: &mut Vec<u8>) {
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

fn any_path() -> impl Strategy<Value = String> {
    let known = ["usr", "lib", "etc", "..", ".", "", "tmp", "var", OUTSIDE].map(str::to_owned);
    let name = prop_oneof![
        4 => "[abc]",
        4 => prop::sample::select(known.to_vec()),
        1 => Just("n".repeat(300)),
        1 => Just("d/".repeat(3000)),
    ];
    (prop::sample::select(vec!["", "./", "/", "../", "../../../"]), vec(name, 1..5))
        .prop_map(|(begin, names)| format!("{begin}{}", names.join("/")))
}

fn any_entry() -> impl Strategy<Value = Raw> {
    let kind = prop::sample::select(b"000005512346789gxLKSV\0".to_vec());
    let size = prop::option::weighted(0.05, any::<u64>());
    let owner = prop_oneof![9 => Just(0_u64), 1 => any::<u64>()];
    (any_path(), kind, any_path(), vec(any::<u8>(), 0..600), size, 0..0o10000_u32, owner, 0..20)
        .prop_map(|(path, kind, target, content, size, mode, owner, luck)| {
            let content =
                if matches!(kind, b'0' | b'L' | b'K' | b'x') { content } else { Vec::new() };
            Raw { path, kind, target, content, size, mode, owner, is_sum_right: luck > 0 }
        })
}

/// A place deep enough for `..` to be noticed, with a tree in it and something beside that.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            coremax_skip::skip("giving files to root needs root");
            return None;
        }
        let place = Self { top: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.tree()).unwrap();
        fs::create_dir_all(place.outside()).unwrap();
        fs::write(place.outside().join("a"), "kept").unwrap();
        Some(place)
    }

    fn tree(&self) -> std::path::PathBuf {
        self.top.path().join("1/2/3/tree")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.top.path().join("1/outside")
    }

    /// Unpacks a package with these bytes for data.tar, and checks that nothing came to lie elsewhere.
    fn unpack(&self, member: &str, data: &[u8]) -> Result<Unpacked, Error> {
        let control = tar_file(&[("./control", "Package: a\nVersion: 1\nArchitecture: all\n")]);
        let members = [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), (member, data)];
        self.unpack_file(&ar_file(&members))
    }

    fn unpack_file(&self, bytes: &[u8]) -> Result<Unpacked, Error> {
        let path = self.top.path().join("a.deb");
        fs::write(&path, bytes).unwrap();
        let before = self.elsewhere();
        let deb = Deb { name: "a".into(), version: "1".into(), architecture: "all".into(), path };
        let result = unpack(&[deb], &self.tree(), &Unpack::default(), &|_| ());
        assert_eq!(self.elsewhere(), before);
        result
    }

    /// All that is not in the tree, with what an escape would change of it.
    fn elsewhere(&self) -> BTreeMap<Vec<u8>, (u32, u32, u64, i64)> {
        let mut found = BTreeMap::new();
        self.walk(self.top.path(), &mut found);
        found
    }

    fn walk(&self, at: &Path, found: &mut BTreeMap<Vec<u8>, (u32, u32, u64, i64)>) {
        let seen = at.symlink_metadata().unwrap();
        let facts = (seen.mode(), seen.uid(), seen.nlink(), seen.mtime_nsec() + seen.mtime());
        if at == self.tree() {
            return;
        }
        found.insert(at.as_os_str().as_bytes().to_vec(), facts);
        if seen.is_dir() {
            fs::read_dir(at).unwrap().for_each(|entry| self.walk(&entry.unwrap().path(), found));
        }
    }
}

fn archive(entries: &[Raw], outside: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        entry.write(outside.to_str().unwrap(), &mut tar);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// A small data.tar, plain and in every compression.
fn packed() -> [(&'static str, Vec<u8>); 4] {
    let file = |path: &str, content: &[u8]| Raw { content: content.into(), ..Raw::file(path) };
    let files = [file("./usr/a", b"text"), file("./usr/b", &[b'b'; 2000])];
    let plain = archive(&files, Path::new("/"));
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    let zst = zstd::encode_all(&plain[..], 1).unwrap();
    let [gz, xz] = [gz.finish().unwrap(), xz.finish().unwrap()];
    [("data.tar", plain), ("data.tar.gz", gz), ("data.tar.xz", xz), ("data.tar.zst", zst)]
}

proptest! {
    #[test]
    fn no_entry_leaves_the_tree(entries in vec(any_entry(), 1..8)) {
        let Some(place) = Place::new() else { return Ok(()) };
        let _ = place.unpack("data.tar", &archive(&entries, &place.outside()));
    }

    #[test]
    fn a_link_out_is_not_followed(
        target in any_path(),
        mut entries in vec(any_entry(), 1..4),
    ) {
        let Some(place) = Place::new() else { return Ok(()) };
        let link = Raw { kind: b'2', target, ..Raw::file("./out") };
        entries.iter_mut().for_each(|entry| entry.path = format!("./out/{}", entry.path));
        entries.insert(0, link);
        let _ = place.unpack("data.tar", &archive(&entries, &place.outside()));
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(
        bytes in vec(any::<u8>(), 0..3000),
        suffix in prop::sample::select(vec!["", ".gz", ".xz", ".zst"]),
    ) {
        let Some(place) = Place::new() else { return Ok(()) };
        let _ = place.unpack(&format!("data.tar{suffix}"), &bytes);
    }

    #[test]
    fn what_is_cut_short_is_refused(which in 0..4_usize, at: Index) {
        let Some(place) = Place::new() else { return Ok(()) };
        let (member, bytes) = &packed()[which];
        let control = tar_file(&[("./control", "Package: a\nVersion: 1\nArchitecture: all\n")]);
        let members = [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), (member, bytes)];
        let deb = ar_file(&members);
        prop_assert!(place.unpack_file(&deb).is_ok());
        // A last line break is there to make the length even.
        let cut = at.index(deb.len() - bytes.len() % 2);
        prop_assert!(place.unpack_file(&deb[..cut]).is_err());
        // And where the member itself says that it is so short.
        let cut = 1 + at.index(bytes.len() - 1);
        prop_assert!(*member == "data.tar" || place.unpack(member, &bytes[..cut]).is_err());
    }

    #[test]
    fn a_wrong_byte_never_panics(which in 0..4_usize, at: Index, byte: u8) {
        let Some(place) = Place::new() else { return Ok(()) };
        let (member, mut bytes) = packed()[which].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = place.unpack(member, &bytes);
    }
}

#[test]
fn nobody_may_ask_for_gigabytes() {
    let Some(place) = Place::new() else { return };
    // Headers of streams whose dictionary or window has 4 GiB and 2 GiB.
    let xz = b"\xfd7zXZ\0\0\x01\x69\x22\xde\x36\x02\x00\x21\x01\x28\x00\x00\x00".to_vec();
    let xz = [&xz[..], &crc32(&xz[12..]).to_le_bytes(), &[0; 64]].concat();
    let zst = [&b"\x28\xb5\x2f\xfd\x00\xa8"[..], &[0; 64]].concat();
    for (member, bytes, expected) in
        [("data.tar.xz", xz, "memory"), ("data.tar.zst", zst, "too much memory")]
    {
        let error = place.unpack(member, &bytes).unwrap_err();
        let source = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(source.contains(expected), "{source}");
    }
    let name = Raw { kind: b'L', content: vec![b'n'; 10_000], ..Raw::file("./a") };
    let error = place.unpack("data.tar", &archive(&[name], &place.outside())).unwrap_err();
    let source = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(source.contains("more than 4096 bytes"), "{source}");
}

/// The checksum of xz's headers.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}
