//! Initrds before cpio.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

mod common;

use std::fs;

use coremax_disk::cpio::{self, Content, Entry};
use coremax_sandbox::{Cmd, Sandbox};
use proptest::prelude::*;

const EPOCH: u64 = 1_700_000_000;

fn write(entries: &[Entry]) -> Vec<u8> {
    cpio::write(entries, EPOCH, Some(3), Vec::new()).unwrap()
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    zstd::decode_all(&*write(entries)).unwrap()
}

#[test]
fn without_a_level_nothing_is_compressed() {
    let plain = cpio::write(&entries(), EPOCH, None, Vec::new()).unwrap();
    assert_eq!(plain, archive(&entries()));
}

/// One of everything.
fn entries() -> Vec<Entry> {
    let node = |path: &str, mode, content| Entry { path: path.into(), mode, content };
    vec![
        Entry::bytes("init", 0o755, "#!"),
        Entry::folder("tmp", 0o1777),
        Entry::bytes("lib/modules/6.1/a.ko", 0o644, vec![7; 5001]),
        Entry::link("bin", "usr/bin"),
        node("dev/console", 0o600, Content::Character { major: 5, minor: 1 }),
        node("dev/vda", 0o660, Content::Block { major: 254, minor: 0 }),
        Entry::bytes("empty", 0o400, ""),
    ]
}

/// What a program of the host says about `input`; nothing, and why, where it is not installed.
fn oracle(program: &str, arguments: &[&str], input: Vec<u8>) -> Option<Vec<u8>> {
    common::oracle(program, &["--version"])?;
    let command = Cmd::new(program, &Sandbox::host()).env("TZ", "UTC").args(arguments).stdin(input);
    let output = command.run().unwrap();
    println!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Some(output.stdout)
}

#[test]
fn cpio_lists_what_was_written() {
    let Some(plain) = oracle("zstd", &["-dc"], write(&entries())) else { return };
    assert_eq!(plain.len() % 512, 0);
    let Some(list) = oracle("cpio", &["-itv", "--numeric-uid-gid"], plain) else { return };
    let list = String::from_utf8(list).unwrap();
    println!("{list}");
    let lines: Vec<String> = list
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[2..4], ["0", "0"], "{line}");
            assert!(line.contains("Nov 14  2023"), "{line}");
            let name = words.iter().position(|&word| word == "2023").unwrap() + 1;
            format!("{} {}", words[0], words[name..].join(" "))
        })
        .collect();
    let expected = [
        "lrwxrwxrwx bin -> usr/bin",
        "drwxr-xr-x dev",
        "crw------- dev/console",
        "brw-rw---- dev/vda",
        "-r-------- empty",
        "-rwxr-xr-x init",
        "drwxr-xr-x lib",
        "drwxr-xr-x lib/modules",
        "drwxr-xr-x lib/modules/6.1",
        "-rw-r--r-- lib/modules/6.1/a.ko",
        "drwxrwxrwt tmp",
    ];
    assert_eq!(lines, expected);
    assert!(list.contains("  5,   1 ") && list.contains("254,   0 "), "{list}");
}

#[test]
fn cpio_unpacks_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..100_003_u32).map(|n| (n % 251) as u8).collect();
    let source = folder.path().join("source");
    fs::write(&source, &content).unwrap();
    let entries = [Entry::copy("a/b/c", 0o644, &source), Entry::link("l", "a")];
    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let at = unpacked.to_str().unwrap();
    if oracle("cpio", &["-id", "-D", at], archive(&entries)).is_some() {
        assert!(fs::read(unpacked.join("l/b/c")).unwrap() == content);
    }
}

#[test]
fn order_does_not_matter_and_what_is_wrong_does() {
    let mut backwards = entries();
    backwards.reverse();
    assert!(write(&entries()) == write(&backwards));
    let missing = [Entry::copy("a", 0o644, "/there/is/nothing")];
    let error = cpio::write(&missing, EPOCH, Some(3), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("/there/is/nothing"), "{error}");
    let error = cpio::write(&[], 1 << 32, Some(3), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("4294967296"), "{error}");
    let error = cpio::write(&entries(), EPOCH, Some(3), &mut [0; 10][..]).unwrap_err();
    assert!(error.to_string().contains("writing an initrd"), "{error}");
}

/// An entry as it was read back: name, mode, inode, links, content.
type Read = (String, u32, u32, u32, Vec<u8>);

/// A reader that knows the format alone.
fn read(archive: &[u8]) -> Vec<Read> {
    let (mut at, mut found) = (0, Vec::new());
    loop {
        assert_eq!((at % 4, &archive[at..at + 6]), (0, &b"070701"[..]));
        let field = |number: usize| {
            let digits = &archive[at + 6 + number * 8..][..8];
            u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
        };
        let [inode, mode, links, time, length, name] = [0, 1, 4, 5, 6, 11].map(field);
        let start = at + 110;
        let content = (start + name as usize).next_multiple_of(4);
        let (text, end) = (&archive[start..][..name as usize], content + length as usize);
        let text = String::from_utf8(text.strip_suffix(b"\0").unwrap().to_vec()).unwrap();
        if text == "TRAILER!!!" {
            assert!(archive[content..].iter().all(|&byte| byte == 0));
            assert_eq!(archive.len(), content.next_multiple_of(512));
            return found;
        }
        assert_eq!(u64::from(time), EPOCH);
        found.push((text, mode, inode, links, archive[content..end].to_vec()));
        at = end.next_multiple_of(4);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        files in prop::collection::btree_map("[a-c]{1,3}(/[a-c]{1,2}){0,3}f", (0..=0o7777_u32, any::<Vec<u8>>()), 0..20),
    ) {
        let entries: Vec<Entry> = files
            .iter()
            .map(|(path, (mode, bytes))| Entry::bytes(path, *mode, bytes.clone()))
            .collect();
        let found = read(&archive(&entries));
        for (number, (path, mode, inode, links, bytes)) in (1..).zip(&found) {
            prop_assert_eq!(*inode, number);
            match files.get(path) {
                Some(file) => prop_assert_eq!((mode & 0o7777, bytes.clone(), *links), (file.0, file.1.clone(), 1)),
                None => prop_assert_eq!((*mode, *links), (0o040_755, 2)),
            }
            if let Some((above, _)) = path.rsplit_once('/') {
                let before = found.iter().take(number as usize - 1);
                prop_assert!(before.into_iter().any(|entry| entry.0 == above), "{}", path);
            }
        }
        prop_assert_eq!(found.iter().filter(|entry| files.contains_key(&entry.0)).count(), files.len());
        prop_assert!(found.is_sorted_by(|a, b| a.0 < b.0));
    }
}
