//! ext4 volumes before e2fsck and debugfs.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

mod common;

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use coremax_disk::{
    Bytes, Guid,
    ext4::{self, Content, Ext4},
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_skip::skip;

/// Whether mke2fs is here; the reason for a skip where it is not.
fn have_mke2fs() -> bool {
    common::oracle("mke2fs", &["-V"]).is_some()
}

fn volume(size: Bytes) -> Ext4 {
    Ext4 {
        label: "root".into(),
        uuid: Guid::from_bytes([0x11; 16]),
        hash_seed: Guid::from_bytes([0x22; 16]),
        size,
        epoch: 1_700_000_000,
    }
}

fn make(tools: &Sandbox, volume: &Ext4, tree: &Path, image: &Path) -> coremax_disk::Result<()> {
    ext4::make(tools, volume, tree, &Content::of(tree)?, image)
}

/// A tree with one of everything, its entries made in an order that `backwards` turns round.
fn plant(root: &Path, backwards: bool) {
    let mut names: Vec<String> =
        (0..400).map(|n| format!("a file with a name, number {n}")).collect();
    if backwards {
        names.reverse();
    }
    fs::create_dir_all(root.join("etc/many")).unwrap();
    for name in names {
        fs::write(root.join("etc/many").join(&name), name).unwrap();
    }
    fs::write(root.join("etc/tool"), vec![3; 100_000]).unwrap();
    fs::set_permissions(root.join("etc/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("etc/tool"), root.join("etc/tool2")).unwrap();
    symlink("tool", root.join("etc/link")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(b"the end", (1 << 30) - 7).unwrap();
    let host = Sandbox::host();
    // Without the right to do so, nodes and attributes stay out: the rest is tested all the same.
    for (program, arguments) in [
        ("mknod", &["null", "c", "1", "3"][..]),
        ("setcap", &["cap_net_raw+ep", "etc/tool"]),
        ("chown", &["-h", "7:8", "etc/link"]),
        ("find", &[".", "-exec", "touch", "-h", "-d", "@1600000000", "{}", "+"]),
    ] {
        let output = Cmd::new(program, &host).args(arguments).current_dir(root).output();
        if !output.is_ok_and(|output| output.status.success()) {
            skip(format_args!("{program} {arguments:?} is not possible here"));
        }
    }
}

#[test]
fn two_copies_of_a_tree_give_the_same_clean_volume() {
    if !have_mke2fs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let images = ["one", "two"].map(|name| {
        let (tree, image) = (folder.path().join(name), folder.path().join(format!("{name}.img")));
        plant(&tree, name == "two");
        let size = Content::of(&tree).unwrap().minimum();
        make(&Sandbox::host(), &volume(size), &tree, &image).unwrap();
        common::content("e2fsck", &["-fn", image.to_str().unwrap()], "Pass 5");
        assert!(image.metadata().unwrap().blocks() * 512 < 5 << 20, "holes stay holes");
        fs::read(&image).unwrap()
    });
    assert!(images[0] == images[1]);
    let image = folder.path().join("one.img");
    let ask = |request: &str| {
        let output = common::oracle("debugfs", &["-R", request, image.to_str().unwrap()]);
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    };
    for (request, expected) in [
        ("stat /etc/tool", "Mode:  04755"),
        ("stat /etc/tool", "Links: 2"),
        ("stat /etc/tool", "ctime: 0x6553f100"),
        ("stat /etc/tool", "mtime: 0x5f5e1000"),
        ("stat /sparse", "Size: 1073741824"),
        ("stat /sparse", "Blockcount: 8"),
        ("stat /etc/link", "Fast link dest: \"tool\""),
    ] {
        let said = ask(request);
        assert!(said.contains(expected), "{request}: {said}");
    }
    // These need rights that an ordinary user's test does not have.
    if folder.path().join("one/null").exists() {
        assert!(ask("stat /null").contains("character special"));
        assert!(ask("stat /etc/tool").contains("security.capability"));
        assert!(ask("stat /etc/link").contains("User:     7   Group:     8"));
    }
}

#[test]
fn a_sandbox_gives_the_same_volume() {
    let sandbox = Sandbox::tools(Path::new("/"));
    if let Err(error) = Cmd::new("mke2fs", &sandbox).arg("-V").run() {
        return skip(format_args!("{error}: no sandbox with mke2fs in it can be made here"));
    }
    let folder = tempfile::tempdir().unwrap();
    let [tree, one, two] = ["tree", "one", "two"].map(|name| folder.path().join(name));
    plant(&tree, false);
    let volume = volume(Bytes::mib(64));
    make(&Sandbox::host(), &volume, &tree, &one).unwrap();
    make(&sandbox.bind_ro(&tree), &volume, &tree, &two).unwrap();
    assert!(fs::read(one).unwrap() == fs::read(two).unwrap());
}

#[test]
fn the_minimum_is_enough_and_not_much_more() {
    if !have_mke2fs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    for (files, length) in [(0, 0), (1, 300 << 20), (6000, 100), (3000, 40_000)] {
        let _ = fs::remove_dir_all(&tree);
        for number in 0..files {
            let below = tree.join(format!("folder {}", number / 50));
            fs::create_dir_all(&below).unwrap();
            fs::write(below.join(format!("file {number}")), vec![1; length]).unwrap();
        }
        fs::create_dir_all(&tree).unwrap();
        let content = Content::of(&tree).unwrap();
        let size = content.minimum();
        make(&Sandbox::host(), &volume(size), &tree, &image).unwrap();
        common::content("e2fsck", &["-fn", image.to_str().unwrap()], "Pass 5");
        println!("{files} files of {length}: {size} for {content:?}");
    }
}

#[test]
fn empty_volumes_of_all_sizes_are_clean() {
    if !have_mke2fs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [tree, image] = ["tree", "image"].map(|name| folder.path().join(name));
    fs::create_dir(&tree).unwrap();
    for size in [Bytes::mib(64), Bytes(Bytes::mib(300).0 + 5000), Bytes::gib(3), Bytes::gib(100)] {
        make(&Sandbox::host(), &volume(size), &tree, &image).unwrap();
        common::content("e2fsck", &["-fn", image.to_str().unwrap()], "Pass 5");
        assert_eq!(image.metadata().unwrap().len(), size.0);
        assert!(image.metadata().unwrap().blocks() * 512 < 32 << 20);
    }
}

#[test]
fn what_does_not_fit_is_said() {
    if !have_mke2fs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("large"), vec![1; 100 << 20]).unwrap();
    let refused = |volume| make(&Sandbox::host(), &volume, &tree, &image).unwrap_err();
    let error = refused(volume(Bytes::mib(64)));
    assert!(error.to_string().contains("too small"), "{error}");
    assert!(error.hint().unwrap().contains("at least 1"), "{:?}", error.hint());
    let long = Ext4 { label: "x".repeat(17), ..volume(Bytes::mib(64)) };
    assert!(refused(long).to_string().contains("label"));
}
