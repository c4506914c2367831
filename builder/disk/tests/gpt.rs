//! The partition table before sgdisk and sfdisk.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

mod common;

use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use coremax_disk::{
    Bytes, Guid,
    gpt::{Attributes, Layout, Partition, Type},
};

fn node(content: &Path) -> Layout {
    let namespace = "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().unwrap();
    let partition = |name: &str, kind, attributes, size, content| Partition {
        name: name.into(),
        kind,
        guid: Guid::from_name(namespace, name),
        attributes,
        size,
        content,
    };
    let none = Attributes::default();
    let root = Attributes::READ_ONLY | Attributes::NO_AUTO;
    Layout {
        disk_guid: Guid::from_name(namespace, "disk"),
        partitions: vec![
            partition("bios", Type::BiosBoot, none, Bytes::mib(1), None),
            partition("esp", Type::Esp, none, Bytes::mib(512), Some(content.to_owned())),
            partition("root-a", Type::RootX86_64, root, Bytes::gib(2), None),
            partition("root-a-verity", Type::RootVerityX86_64, root, Bytes::mib(32), None),
            partition("root-b", Type::RootX86_64, root, Bytes::gib(2), None),
            partition("root-b-verity", Type::RootVerityX86_64, root, Bytes::mib(32), None),
            partition("payload", Type::LinuxGeneric, Attributes::NO_AUTO, Bytes::gib(4), None),
            partition(
                "data",
                Type::LinuxGeneric,
                Attributes::GROW_FILE_SYSTEM,
                Bytes::gib(1),
                None,
            ),
        ],
    }
}

#[test]
fn tables_are_clean_and_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two, content] = ["one", "two", "content"].map(|name| folder.path().join(name));
    fs::write(&content, [7; 5000]).unwrap();
    let layout = node(&content);
    let placement = layout.write(&one, &|_| ()).unwrap();
    layout.write(&two, &|_| ()).unwrap();
    let (length, ends) = read_ends(&one);
    assert_eq!(length, placement.disk.bytes().0);
    assert!((length, ends) == read_ends(&two));
    assert!(one.metadata().unwrap().blocks() * 512 < 1 << 20);
    assert_eq!(placement.partitions[1].start.bytes(), Bytes::mib(2));

    common::content("sgdisk", &[Path::new("-v"), &one], "No problems found");
    common::content("sfdisk", &[Path::new("--verify"), &one], "No errors detected");
    let Some(listed) = common::oracle("sfdisk", &[Path::new("--dump"), &one]) else { return };
    let listed = String::from_utf8(listed.stdout).unwrap().to_lowercase();
    for partition in &layout.partitions {
        assert!(listed.contains(&format!("name=\"{}\"", partition.name)), "{listed}");
        assert!(listed.contains(&partition.guid.to_string()), "{listed}");
        assert!(listed.contains(&partition.kind.guid().to_string()), "{listed}");
    }
    assert!(listed.contains(&layout.disk_guid.to_string()), "{listed}");
    assert!(listed.contains("guid:60,63") && listed.contains("guid:59"), "{listed}");
}

/// The length of a disk, which is mostly a hole, with its first 3 MiB and its last.
fn read_ends(path: &Path) -> (u64, Vec<u8>) {
    let file = fs::File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let (mut first, mut last) = (vec![0; 3 << 20], vec![0; 1 << 20]);
    file.read_exact_at(&mut first, 0).unwrap();
    file.read_exact_at(&mut last, length - (1 << 20)).unwrap();
    (length, [first, last].concat())
}
