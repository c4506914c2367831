//! Hash trees before veritysetup.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

mod common;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use coremax_disk::{
    Guid,
    verity::{self, RootHash, Salt, Verity},
};
use coremax_sandbox::Output;

const BLOCK: u64 = 4096;

/// Whether veritysetup is here; the reason for a skip where it is not.
fn have_veritysetup() -> bool {
    common::oracle("veritysetup", &["--version"]).is_some()
}

fn own(salt: &str) -> Verity {
    Verity { uuid: Guid::from_bytes([0x5a; 16]), salt: salt.parse().unwrap() }
}

/// A file of so many blocks, of which each `sparse`th holds data and the others are holes.
fn data(path: &Path, blocks: u64, sparse: u64) {
    let file = File::create(path).unwrap();
    file.set_len(blocks * BLOCK).unwrap();
    for block in (0..blocks).step_by(usize::try_from(sparse).unwrap()) {
        let bytes: Vec<u8> = (block..block + BLOCK).map(|n| (n * 31 % 251) as u8).collect();
        file.write_all_at(&bytes, block * BLOCK).unwrap();
    }
}

fn format(verity: &Verity, data: &Path, tree: &Path) -> verity::Root {
    verity::format(verity, data, tree, &|_| ()).unwrap()
}

/// The tree and the root hash as veritysetup makes them.
fn theirs(verity: &Verity, data: &Path, tree: &Path) -> RootHash {
    let (salt, uuid) = (verity.salt.to_string(), verity.uuid.to_string());
    let (data, tree) = (data.to_str().unwrap(), tree.to_str().unwrap());
    let arguments = ["format", "--salt", &salt, "--uuid", &uuid, data, tree];
    let output = common::oracle("veritysetup", &arguments).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap();
    line.trim().parse().unwrap()
}

fn verify(data: &Path, tree: &Path, root: RootHash) -> Output {
    let (data, tree) = (data.to_str().unwrap(), tree.to_str().unwrap());
    common::oracle("veritysetup", &["verify", data, tree, &root.to_string()]).unwrap()
}

#[test]
fn trees_are_veritysetups() {
    if !have_veritysetup() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [file, ours, other] = ["data", "ours", "theirs"].map(|name| folder.path().join(name));
    for (blocks, sparse, salt) in [
        (1, 1, "00aa"),
        (1, 2, "-"),
        (2, 1, "-"),
        (128, 1, "5a"),
        (129, 1, "-"),
        (129, 50, &"c3".repeat(32)),
        (5000, 1, &"c3".repeat(32)),
        (16_384, 3, "0102"),
        (16_385, 1000, &"ff".repeat(256)),
    ] {
        data(&file, blocks, sparse);
        let verity = own(salt);
        let root = format(&verity, &file, &ours);
        assert_eq!(root.hash, theirs(&verity, &file, &other), "{blocks} blocks");
        assert!(fs::read(&ours).unwrap() == fs::read(&other).unwrap(), "{blocks} blocks");
        assert_eq!((root.data_blocks, root.length.0), (blocks, fs::metadata(&ours).unwrap().len()));
        assert_eq!(verity::length(coremax_disk::Bytes(blocks * BLOCK)), root.length);
        let [data, tree] = [&file, &ours].map(|path| path.to_str().unwrap());
        common::content("veritysetup", &["verify", data, tree, &root.hash.to_string()], "");
        println!("{blocks} blocks: {:?}, as veritysetup's", root.hash);
    }
}

#[test]
fn a_flipped_bit_is_found() {
    if !have_veritysetup() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [file, tree] = ["data", "tree"].map(|name| folder.path().join(name));
    data(&file, 300, 2);
    let root = format(&own("77"), &file, &tree);
    let end = fs::metadata(&tree).unwrap().len();
    // Data, a hole, the superblock's algorithm, the top of the tree, and its last hash.
    for (path, at) in [
        (&file, 5),
        (&file, BLOCK + 1),
        (&file, 300 * BLOCK - 1),
        (&tree, 32),
        (&tree, BLOCK),
        (&tree, end - BLOCK),
    ] {
        let flip = || {
            let file = File::options().read(true).write(true).open(path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        };
        flip();
        let output = verify(&file, &tree, root.hash);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "byte {at} of {}", path.display());
        println!("byte {at} of {}: {}", path.file_name().unwrap().display(), said.trim());
        flip();
    }
    assert!(verify(&file, &tree, root.hash).status.success());
}

#[test]
fn layers_make_the_tree_of_the_layers_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let [file, one, two] = ["data", "one", "two"].map(|name| folder.path().join(name));
    let verity = own("0123");
    for layers in [&[1][..], &[1, 1], &[700, 3], &[127, 1, 1], &[600, 256, 257]] {
        let mut all = Vec::new();
        let leaves: Vec<_> = layers
            .iter()
            .enumerate()
            .map(|(number, &blocks)| {
                data(&file, blocks, 2 + number as u64);
                all.extend(fs::read(&file).unwrap());
                let leaves = folder.path().join(format!("{number}.leaves"));
                verity::leaves(&verity.salt, &file, &leaves, &|_| ()).unwrap();
                leaves
            })
            .collect();
        let leaves: Vec<&Path> = leaves.iter().map(AsRef::as_ref).collect();
        let built = verity::build(&verity, &leaves, &one).unwrap();
        fs::write(&file, all).unwrap();
        assert_eq!(built, format(&verity, &file, &two));
        assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap(), "{layers:?}");
    }
}

#[test]
fn progress_is_all_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let [file, tree] = ["data", "tree"].map(|name| folder.path().join(name));
    data(&file, 1000, 7);
    let done = AtomicU64::new(0);
    let add = |bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
    };
    verity::format(&own("-"), &file, &tree, &add).unwrap();
    assert_eq!(done.into_inner(), 1000 * BLOCK);
}

#[test]
fn what_cannot_be_hashed_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let [file, leaves, tree] = ["data", "leaves", "tree"].map(|name| folder.path().join(name));
    let salt = Salt::default();
    for length in [0, 1, 4095, 4097] {
        fs::write(&file, vec![1; length]).unwrap();
        let error = verity::leaves(&salt, &file, &leaves, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("blocks of 4096"), "{error}");
    }
    data(&file, 3, 1);
    verity::leaves(&salt, &file, &leaves, &|_| ()).unwrap();
    let refused = |salt: &str| {
        let leaves: &Path = &leaves;
        verity::build(&own(salt), &[leaves], &tree).unwrap_err().to_string()
    };
    assert!(refused("aa").contains("their salt is -, not aa"));
    let whole = fs::read(&leaves).unwrap();
    fs::write(&leaves, &whole[..whole.len() - 32]).unwrap();
    assert!(refused("-").contains("576 bytes are not those of 3 blocks"), "{}", refused("-"));
    fs::write(&leaves, vec![0; whole.len()]).unwrap();
    assert!(refused("-").contains("no verity superblock"), "{}", refused("-"));
    assert!(verity::build(&own("-"), &[], &tree).is_err());
}
