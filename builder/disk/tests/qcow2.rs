//! qcow2 images before a small reader of our own and before qemu-img.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

mod common;

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use coremax_disk::{
    Bytes,
    qcow2::{self, Compression, Options},
};
use proptest::prelude::*;

const CLUSTER: usize = 64 << 10;
const ZSTD: Compression = Compression::Zstd { level: 3 };

fn options(compression: Compression, threads: usize) -> Options {
    Options { compression, threads: NonZeroUsize::new(threads).unwrap() }
}

/// What a cluster of a test disk holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Hole,
    Zeros,
    Text,
    Noise,
}

fn cluster(kind: Kind, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    match kind {
        Kind::Hole | Kind::Zeros => vec![0; CLUSTER],
        Kind::Text => format!("{seed} says {} and ", next())
            .into_bytes()
            .into_iter()
            .cycle()
            .take(CLUSTER)
            .collect(),
        Kind::Noise => (0..CLUSTER / 8).flat_map(|_| next().to_le_bytes()).collect(),
    }
}

/// Writes a disk with `(cluster number, kind)` in it.
fn disk(path: &Path, length: u64, clusters: &[(u64, Kind)]) {
    let file = File::create(path).unwrap();
    for &(number, kind) in clusters {
        if !matches!(kind, Kind::Hole) {
            file.write_all_at(&cluster(kind, number), number * CLUSTER as u64).unwrap();
        }
    }
    file.set_len(length).unwrap();
}

fn be(bytes: &[u8], at: u64, length: usize) -> u64 {
    let at = usize::try_from(at).unwrap();
    bytes[at..at + length].iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Reads a whole image by the specification, apart from the code under test.
fn unpack(image: &[u8]) -> Vec<u8> {
    let size = usize::try_from(be(image, 24, 8)).unwrap();
    let (l1_entries, l1) = (be(image, 36, 4), be(image, 40, 8));
    let mut disk = Vec::new();
    for number in 0..size.div_ceil(CLUSTER) as u64 {
        assert!(number / 8192 < l1_entries);
        let table = be(image, l1 + number / 8192 * 8, 8) & 0x00ff_ffff_ffff_fe00;
        let entry = if table == 0 { 0 } else { be(image, table + number % 8192 * 8, 8) };
        if entry == 0 {
            disk.resize(disk.len() + CLUSTER, 0);
        } else if entry >> 62 & 1 == 1 {
            let start = usize::try_from(entry & ((1 << 54) - 1)).unwrap();
            let sectors = usize::try_from(entry >> 54 & 0xff).unwrap() + 1;
            let frame = &image[start..start / 512 * 512 + sectors * 512];
            let length = zstd::zstd_safe::find_frame_compressed_size(frame).unwrap();
            disk.extend(zstd::bulk::decompress(&frame[..length], CLUSTER).unwrap());
        } else {
            assert_eq!(entry >> 63, 1, "a plain cluster is used once");
            let start = usize::try_from(entry & 0x00ff_ffff_ffff_fe00).unwrap();
            disk.extend(&image[start..start + CLUSTER]);
        }
    }
    disk.truncate(size);
    disk
}

fn assert_sound(raw: &Path, image: &Path) {
    common::content("qemu-img", &["check", image.to_str().unwrap()], "No errors were found");
    let (raw, image) = (raw.to_str().unwrap(), image.to_str().unwrap());
    common::content("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", raw, image], "identical");
}

#[test]
fn images_are_sound_and_the_same_whatever_the_threads() {
    use Kind::{Hole, Noise, Text, Zeros};
    let folder = tempfile::tempdir().unwrap();
    let [raw, image, again] = ["raw", "image", "again"].map(|name| folder.path().join(name));
    let kinds = [Text, Noise, Text, Text, Zeros, Noise, Hole, Text];
    let run: Vec<(u64, Kind)> =
        (0..200_usize).map(|n| (n as u64, kinds[n % kinds.len()])).collect();
    let scattered =
        [(0, Text), (8191, Noise), (8192, Text), (8193, Text), (30_000, Noise), (163_839, Text)];
    for (length, clusters) in [
        (0, &[][..]),
        (512, &[]),
        (10 << 30, &[]),
        (200 * CLUSTER as u64, &run),
        (200 * CLUSTER as u64 - 512, &run),
        (10 << 30, &scattered),
    ] {
        disk(&raw, length, clusters);
        for compression in [Compression::None, ZSTD] {
            let done = AtomicU64::new(0);
            let count = |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed);
            let written = qcow2::write(&raw, &image, &options(compression, 1), &count).unwrap();
            assert_eq!(written.0, image.metadata().unwrap().len());
            assert!(done.into_inner() >= clusters.len() as u64 / 2 * CLUSTER as u64);
            assert_eq!(qcow2::virtual_size(&image).unwrap(), Bytes(length));
            assert_sound(&raw, &image);
            for threads in [2, 5] {
                qcow2::write(&raw, &again, &options(compression, threads), &|_| ()).unwrap();
                assert!(fs::read(&image).unwrap() == fs::read(&again).unwrap());
            }
        }
    }
}

#[test]
fn a_disk_of_odd_length_is_rounded_up() {
    let folder = tempfile::tempdir().unwrap();
    let [raw, image] = ["raw", "image"].map(|name| folder.path().join(name));
    fs::write(&raw, [1; 1000]).unwrap();
    qcow2::write(&raw, &image, &Options::default(), &|_| ()).unwrap();
    assert_eq!(qcow2::virtual_size(&image).unwrap(), Bytes(1024));
    assert_eq!(unpack(&fs::read(&image).unwrap()), [vec![1; 1000], vec![0; 24]].concat());
}

#[test]
fn data_that_compresses_costs_little() {
    let folder = tempfile::tempdir().unwrap();
    let [raw, image] = ["raw", "image"].map(|name| folder.path().join(name));
    let clusters: Vec<(u64, Kind)> = (0..1000).map(|n| (n, Kind::Text)).collect();
    disk(&raw, 1 << 40, &clusters);
    let written = qcow2::write(&raw, &image, &Options::default(), &|_| ()).unwrap();
    assert!(written < Bytes(12 * CLUSTER as u64), "{written}");
    common::content("qemu-img", &["check", image.to_str().unwrap()], "No errors were found");
}

#[test]
fn other_files_are_no_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    fs::write(&path, vec![0; 4096]).unwrap();
    let error = qcow2::virtual_size(&path).unwrap_err();
    assert!(error.to_string().contains("not a usable qcow2"), "{error}");
    assert!(qcow2::virtual_size(folder.path()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_packed_is_unpacked(
        kinds in prop::collection::vec(prop_oneof![
            Just(Kind::Hole), Just(Kind::Zeros), Just(Kind::Text), Just(Kind::Noise)
        ], 0..40),
        rest in 0..CLUSTER as u64,
        threads in 1..4_usize,
        compressed: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let [raw, image] = ["raw", "image"].map(|name| folder.path().join(name));
        let clusters: Vec<(u64, Kind)> = (0..).zip(kinds).collect();
        let length = (clusters.len() * CLUSTER) as u64 + rest / 512 * 512;
        disk(&raw, length, &clusters);
        let compression = if compressed { ZSTD } else { Compression::None };
        qcow2::write(&raw, &image, &options(compression, threads), &|_| ()).unwrap();
        prop_assert!(unpack(&fs::read(&image).unwrap()) == fs::read(&raw).unwrap());
    }
}
