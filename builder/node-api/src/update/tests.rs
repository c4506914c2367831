use std::io::{self, Read};

use proptest::prelude::*;

use super::{
    key::{PublicKey, SecretKey},
    *,
};
use crate::slot::Loader;

fn key() -> SecretKey {
    SecretKey::from_seed([7; 32], "a test")
}

fn content(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::System => vec![1; 8192],
        Kind::Site => vec![2; 4096],
        Kind::Verity => vec![3; 4096],
        other => other.name().as_bytes().to_vec(),
    }
}

fn manifest() -> Manifest {
    let part = |kind| {
        let bytes = content(kind);
        Part { kind, size: bytes.len() as u64, sha256: Digest::of(&bytes), carried: true }
    };
    Manifest {
        updater: UPDATER,
        recipe: "node".into(),
        version: "2026.11.22.2".parse().unwrap(),
        base: "debian-12".into(),
        created: "2026-11-22T10:00:00Z".into(),
        root_hash: Digest::of("root"),
        parts: Kind::ALL.map(part).into(),
    }
}

fn file(manifest: &Manifest) -> Vec<u8> {
    let carried = manifest.parts.iter().filter(|part| part.carried);
    let parts = carried.flat_map(|part| content(part.kind));
    head(manifest, &key()).unwrap().into_iter().chain(parts).collect()
}

fn read_all(source: impl Read, keys: &[PublicKey]) -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = Reader::open(source, keys)?;
    let mut parts = Vec::new();
    while let Some(part) = reader.next_part() {
        let mut bytes = Vec::new();
        if part.carried {
            reader.copy(&mut bytes)?;
        } else {
            reader.pass()?;
        }
        parts.push(bytes);
    }
    reader.finish()?;
    Ok(parts)
}

fn refusal(bytes: &[u8]) -> String {
    read_all(bytes, &[key().public()]).unwrap_err().to_string()
}

#[test]
fn an_update_is_read_as_written() {
    let parts = read_all(&*file(&manifest()), &[key().public()]).unwrap();
    assert_eq!(parts, Kind::ALL.map(content));
    let other = SecretKey::from_seed([8; 32], "").public();
    assert!(read_all(&*file(&manifest()), &[other, key().public()]).is_ok());
    let mut thin = manifest();
    thin.parts[3].carried = false;
    let parts = read_all(&*file(&thin), &[key().public()]).unwrap();
    assert_eq!((parts[3].len(), &parts[4]), (0, &content(Kind::Site)));
}

#[test]
fn refusals_say_what_is_wrong() {
    let whole = file(&manifest());
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let unsigned = [unsigned_head(&manifest()).unwrap(), vec![0; 99]].concat();
    let newer = br#"{"updater":2,"moon":"full"}"#;
    let table = [
        (b"PK\x03\x04".repeat(20), "this is not an update file"),
        (changed(16, 2), "the update is of format 2, and this program reads format 1"),
        (writer::signed(newer, &key()).unwrap(), "needs an updater of version 2, and this one"),
        (unsigned, "the update is not signed"),
        (changed(24, 0xff), "which is none of this node's"),
        (changed(40, b'X'), "the signature of the update does not hold"),
        (changed(22, 0xff), "where 65536 are allowed"),
        (writer::signed(b"{}", &key()).unwrap(), "reading the update's manifest"),
        (whole[..20].to_vec(), "the update ends within its header: it was cut off"),
        (whole[..whole.len() - 1].to_vec(), "the update ends within its verity tree"),
        ([&whole[..], b"x"].concat(), "goes on behind its last part"),
        (changed(whole.len() - 1, 9), "the verity tree of the update is damaged"),
    ];
    for (bytes, want) in table {
        let said = refusal(&bytes);
        assert!(said.contains(want), "{said} instead of {want}");
    }
}

#[test]
fn every_byte_of_the_head_counts() {
    let whole = file(&manifest());
    for at in 0..head(&manifest(), &key()).unwrap().len() {
        for by in [1, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= by;
            assert!(read_all(&*bytes, &[key().public()]).is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_a_node_cannot_take() {
    let node = Node {
        recipe: "node".into(),
        version: "2026.11.22".parse().unwrap(),
        loader: Loader::Grub,
        room: Room { root: 12288, verity: 4096, boot: 1000 },
    };
    manifest().check(&node).unwrap();
    let room = |root, verity, boot| Node { room: Room { root, verity, boot }, ..node.clone() };
    let version = |text: &str| Node { version: text.parse().unwrap(), ..node.clone() };
    for (node, want) in [
        (version("2026.11.22.2"), "version 2026.11.22.2, which runs, is no older"),
        (version("2026.12.1"), "the update is of version 2026.11.22.2, and version 2026.12.1"),
        (
            Node { recipe: "gate".into(), ..node.clone() },
            "the recipe node, and this node is of gate",
        ),
        (
            Node { loader: Loader::SystemdBoot, ..node.clone() },
            "made for GRUB, which is not what starts this node",
        ),
        (room(12287, 4096, 1000), "needs 12288 bytes for its root, and the slot has 12287"),
        (room(12288, 4095, 1000), "needs 4096 bytes for its verity tree"),
        (room(12288, 4096, 10), "for its kernel and initrd"),
    ] {
        let error = manifest().check(&node).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn manifests_that_cannot_be_used() {
    type Change = fn(&mut Manifest);
    let table: [(Change, &str); 8] = [
        (|m| m.recipe.clear(), "its recipe is empty"),
        (|m| m.base = "a\nb".into(), "its base"),
        (|m| m.parts.swap(0, 1), "in order"),
        (|m| m.parts.truncate(5), "in order"),
        (|m| m.parts[0].size = 0, "its kernel has 0 bytes"),
        (|m| m.parts[1].size = u64::MAX, "its initrd has"),
        (|m| m.parts[3].size = 4097, "no multiple of 4096"),
        (|m| m.parts[5].carried = false, "it does not carry its verity tree"),
    ];
    for (change, want) in table {
        let mut bad = manifest();
        change(&mut bad);
        let error = Manifest::parse(&serde_json::to_vec(&bad).unwrap()).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert!(bad.encode().is_err());
    }
    let more =
        String::from_utf8(manifest().encode().unwrap()).unwrap().replacen('{', "{\"x\":1,", 1);
    assert!(matches!(Manifest::parse(more.as_bytes()), Err(Error::Malformed(_))));
}

/// What arrives off a wire: a few bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(7);
        self.0.read(&mut buffer[..length])
    }
}

proptest! {
    #[test]
    fn no_changed_byte_is_accepted(at in any::<prop::sample::Index>(), by in 1u8..) {
        let mut bytes = file(&manifest());
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        prop_assert!(read_all(&*bytes, &[key().public()]).is_err(), "byte {at}");
    }

    #[test]
    fn no_cut_is_accepted(at in any::<prop::sample::Index>()) {
        let bytes = file(&manifest());
        let cut = &bytes[..at.index(bytes.len())];
        let cut = matches!(read_all(Drops(cut), &[key().public()]), Err(Error::Truncated { .. }));
        prop_assert!(cut);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
        let head = file(&manifest());
        let bytes = if magic { [&head[..24], &bytes].concat() } else { bytes };
        prop_assert!(read_all(&*bytes, &[key().public()]).is_err());
        let _ = Manifest::parse(&bytes);
    }

    #[test]
    fn damaged_manifests_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = manifest().encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Manifest::parse(&bytes) {
            prop_assert!(read.encode().is_ok());
        }
        // Signed or not, it is read without a panic.
        let _ = read_all(&*writer::signed(&bytes, &key()).unwrap(), &[key().public()]);
    }
}
