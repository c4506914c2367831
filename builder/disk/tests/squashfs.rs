//! Sealed layers before unsquashfs.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

mod common;

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use coremax_disk::{
    Bytes,
    squashfs::{self, Compression, Squashfs},
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_skip::skip;
use rustix::fs::{XattrFlags, setxattr};

const EPOCH: u64 = 1_700_000_000;

/// Whether mksquashfs is here; the reason for a skip where it is not.
fn have_mksquashfs() -> bool {
    common::oracle("mksquashfs", &["-version"]).is_some()
}

/// A tree with one of everything, its entries made in an order that `backwards` turns round.
fn plant(root: &Path, backwards: bool) {
    let mut names: Vec<String> = (0..400).map(|n| format!("a file, number {n}")).collect();
    if backwards {
        names.reverse();
    }
    for folder in ["etc/many", "boot/grub", "boot*"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in names {
        fs::write(root.join("etc/many").join(&name), name.repeat(300)).unwrap();
    }
    for file in ["boot/vmlinuz", "boot/.hidden", "boot/grub/grub.cfg", "boot*/kept", "new"] {
        fs::write(root.join(file), file).unwrap();
    }
    // Links made in either order; which of them is the file must not matter.
    let (first, second) = if backwards { ("tool2", "tool") } else { ("tool", "tool2") };
    fs::write(root.join("etc").join(first), vec![3; 300_000]).unwrap();
    fs::hard_link(root.join("etc").join(first), root.join("etc").join(second)).unwrap();
    fs::set_permissions(root.join("etc/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("tool", root.join("etc/link")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"the end", (64 << 20) - 7).unwrap();
    setxattr(root.join("etc/tool"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    let host = Sandbox::host();
    // Without the right to do so, nodes and attributes stay out: the rest is tested all the same.
    for (program, arguments) in [
        ("mknod", &["gone", "c", "0", "0"][..]),
        ("setcap", &["cap_net_raw+ep", "etc/tool"]),
        ("chown", &["-h", "7:70000", "etc/link"]),
        ("find", &[".", "-exec", "touch", "-h", "-d", "@1600000000", "{}", "+"]),
        ("touch", &["-d", "@1800000000", "new"]),
    ] {
        let output = Cmd::new(program, &host).args(arguments).current_dir(root).output();
        if !output.is_ok_and(|output| output.status.success()) {
            skip(format_args!("{program} {arguments:?} is not possible here"));
        }
    }
}

/// What unsquashfs says of an image.
fn said(arguments: &[&str], image: &Path) -> String {
    let arguments = [arguments, &[image.to_str().unwrap()]].concat();
    let output = common::oracle("unsquashfs", &arguments).unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_copies_of_a_tree_give_the_same_squashfs() {
    if !have_mksquashfs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let images = [("one", 1), ("two", 2), ("three", 7)].map(|(name, threads)| {
        let (tree, image) = (folder.path().join(name), folder.path().join(format!("{name}.img")));
        plant(&tree, name == "two");
        let threads = NonZeroUsize::new(threads).unwrap();
        let volume = Squashfs { threads, ..Squashfs::new(EPOCH) };
        let length = squashfs::make(&Sandbox::host(), &volume, &tree, &image).unwrap();
        let bytes = fs::read(&image).unwrap();
        assert_eq!((length.0, length.0 % 4096), (bytes.len() as u64, 0));
        bytes
    });
    assert!(images[0] == images[1] && images[0] == images[2]);
}

#[test]
fn some_files_are_not_packed_together() {
    if !have_mksquashfs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [tree, image] = ["tree", "image"].map(|name| folder.path().join(name));
    for name in ["etc/udev", "usr/lib/udev"] {
        fs::create_dir_all(tree.join(name)).unwrap();
        fs::write(tree.join(name).join("short@.a+b"), name).unwrap();
    }
    let fragments = |single: &[&str]| {
        let single = single.iter().map(|name| name.into()).collect();
        let volume = Squashfs { single, ..Squashfs::new(EPOCH) };
        squashfs::make(&Sandbox::host(), &volume, &tree, &image).unwrap();
        let said = said(&["-s"], &image);
        let line = said.lines().find_map(|line| line.strip_prefix("Number of fragments "));
        line.unwrap().to_owned()
    };
    assert_eq!(fragments(&[]), "1");
    let both = ["etc/udev/short@.a+b", "usr/lib/udev/short@.a+b"];
    assert_eq!(fragments(&both[..1]), "1");
    assert_eq!(fragments(&[both[1], "etc/udev", "etc/udev/shor", "missing", "a b/c"]), "1");
    assert_eq!(fragments(&both), "0");
}

#[test]
fn all_is_kept_but_what_is_left_out() {
    if !have_mksquashfs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [tree, image, unpacked] = ["tree", "image", "un"].map(|name| folder.path().join(name));
    plant(&tree, false);
    let emptied = vec!["boot".into(), "etc/many".into(), "missing".into()];
    let volume = Squashfs { emptied, ..Squashfs::new(EPOCH) };
    squashfs::make(&Sandbox::host(), &volume, &tree, &image).unwrap();
    let list = said(&["-UTC", "-lln"], &image);
    println!("{list}");
    let line = |name: &str| {
        let found = list.lines().find(|line| line.contains(&format!("squashfs-root/{name}")));
        found.unwrap_or_else(|| panic!("{name} is missing:\n{list}")).to_owned()
    };
    for (name, expected) in [
        ("etc/tool", "-rwsr-xr-x "),
        ("etc/tool", "2020-09-13 12:26"),
        ("etc/link -> tool", "lrwxrwxrwx"),
        ("new", "2023-11-14 22:13"), // dated back to the epoch
        ("boot", "drwxr-xr-x"),
        ("boot*/kept", "-rw-r--r--"),
    ] {
        assert!(line(name).contains(expected), "{}", line(name));
    }
    for left_out in ["vmlinuz", ".hidden", "grub", "number"] {
        assert!(!list.contains(left_out), "{left_out}");
    }
    assert_eq!(said(&["-mkfs-time"], &image).trim(), EPOCH.to_string());
    assert!(said(&["-s"], &image).contains("not exportable"));
    // What a list does not show: unpacked, the attributes, links and holes are there again.
    // An ordinary user cannot make the node, which is no failure here.
    said(&["-no-progress", "-no-exit-code", "-dest", unpacked.to_str().unwrap()], &image);
    for (program, arguments, expected) in [
        ("stat", &["-c", "%h %s", "etc/tool2"][..], "2 300000"),
        ("stat", &["-c", "%s", "sparse"], "67108864"),
        ("tail", &["-c", "7", "sparse"], "the end"),
        ("cmp", &["sparse", "../tree/sparse"], ""),
    ] {
        let output = Cmd::new(program, &Sandbox::host()).args(arguments).current_dir(&unpacked);
        let output = output.run().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), expected, "{arguments:?}");
    }
    let attribute = |name: &str| {
        let mut value = [0; 64];
        rustix::fs::getxattr(unpacked.join("etc/tool"), name, &mut value[..])
            .map(|length| value[..length].to_vec())
    };
    assert_eq!(attribute("user.note").unwrap(), b"kept");
    if tree.join("gone").exists() {
        assert!(line("gone").starts_with("c") && line("gone").contains("0,  0"));
    }
    // These need rights that an ordinary user's test does not have.
    if tree.join("etc/link").symlink_metadata().unwrap().gid() == 70_000 {
        assert!(line("etc/link").contains(" 7/70000 "));
        assert_eq!(attribute("security.capability").unwrap().len(), 20);
    }
}

#[test]
fn a_sandbox_gives_the_same_squashfs() {
    let sandbox = Sandbox::tools(Path::new("/"));
    if let Err(error) = Cmd::new("mksquashfs", &sandbox).arg("-version").output() {
        return skip(format_args!("{error}: no sandbox with mksquashfs in it can be made here"));
    }
    let folder = tempfile::tempdir().unwrap();
    let [tree, one, two] = ["tree", "one", "two"].map(|name| folder.path().join(name));
    plant(&tree, false);
    let volume = Squashfs::new(EPOCH);
    squashfs::make(&Sandbox::host(), &volume, &tree, &one).unwrap();
    squashfs::make(&sandbox.bind_ro(&tree), &volume, &tree, &two).unwrap();
    assert!(fs::read(one).unwrap() == fs::read(two).unwrap());
}

#[test]
fn what_cannot_be_sealed_is_said() {
    if !have_mksquashfs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [tree, image] = ["tree", "image"].map(|name| folder.path().join(name));
    fs::create_dir_all(tree.join("a/b")).unwrap();
    let make = |volume: &Squashfs| squashfs::make(&Sandbox::host(), volume, &tree, &image);
    let whole = Squashfs::new(EPOCH);
    for (volume, expected) in [
        (Squashfs { block: Bytes(3000), ..whole.clone() }, "block size not power of two"),
        (
            Squashfs { compression: Compression::Zstd { level: 23 }, ..whole.clone() },
            "1 <= n <= 22",
        ),
        (Squashfs { epoch: 1 << 33, ..whole.clone() }, "SOURCE_DATE_EPOCH"),
        (Squashfs { emptied: vec!["../a".into()], ..whole.clone() }, "does not name a folder"),
    ] {
        let error = make(&volume).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let said = format!("{error}: {}", source.unwrap_or_default());
        assert!(said.contains(expected), "{said}");
    }
    setxattr(tree.join("a/b"), "user.overlay.impure", b"y", XattrFlags::empty()).unwrap();
    let error = make(&whole).unwrap_err().to_string();
    assert!(error.contains("a/b has the attribute user.overlay.impure"), "{error}");
    make(&Squashfs { emptied: vec!["a".into()], ..whole }).unwrap();
}
