//! Packages made for the purpose, unpacked.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use tar::EntryType;

use super::*;
use crate::deb::tests::{ar_file, tar_file, tar_file_of_mode};

/// An entry of data.tar: path, type, mode, and content or target.
type Entry = (&'static str, EntryType, u32, &'static str);

const FOLDER: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;

/// A package: name, further lines of its stanza, further control files, entries.
struct Made<'a>(&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [Entry]);

impl Made<'_> {
    fn write(&self, folder: &Path) -> Deb {
        self.write_for("amd64", folder)
    }

    fn write_for(&self, architecture: &str, folder: &Path) -> Deb {
        let Self(name, stanza, control, entries) = self;
        let stanza = format!("Package: {name}\nVersion: 1\nArchitecture: {architecture}\n{stanza}");
        let mut files = vec![("./control", stanza.as_str())];
        files.extend_from_slice(control);
        let members = [
            ("debian-binary", &b"2.0\n"[..]),
            ("control.tar", &tar_file(&files)),
            ("data.tar", &data(entries)),
        ];
        let path = folder.join(format!("{name}_{architecture}.deb"));
        fs::write(&path, ar_file(&members)).unwrap();
        let text = |text: &str| text.to_owned();
        Deb { name: text(name), version: text("1"), architecture: text(architecture), path }
    }
}

fn data(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, mode, text) in entries {
        let mut header = tar::Header::new_gnu();
        // Not set_path, which refuses what is to be refused here.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        let content = if *kind == FILE { text.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name_literal(text).unwrap();
        }
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Unpacks packages into a new tree. `None`: the tests do not run as root, who alone may give files
/// to root.
fn unpack_made(packages: &[Made<'_>]) -> Option<(tempfile::TempDir, Result<Unpacked, Error>)> {
    unpack_made_by(4, packages)
}

/// One thread alone begins with the biggest package and ends with the smallest.
fn unpack_made_by(
    threads: usize,
    packages: &[Made<'_>],
) -> Option<(tempfile::TempDir, Result<Unpacked, Error>)> {
    if !rustix::process::geteuid().is_root() {
        coremax_skip::skip("giving files to root needs root");
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let debs: Vec<Deb> = packages.iter().map(|made| made.write(place.path())).collect();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let options = Unpack { threads, ..Unpack::default() };
    let unpacked = unpack(&debs, &tree, &options, &|_| ());
    Some((place, unpacked))
}

#[test]
fn a_package_is_unpacked_as_dpkg_does() {
    let entries: &[Entry] = &[
        ("./", FOLDER, 0o755, ""),
        ("./etc/", FOLDER, 0o755, ""),
        ("./etc/a.conf", FILE, 0o644, "setting"),
        ("./lib/", FOLDER, 0o755, ""),
        ("./lib/a.so", FILE, 0o644, "library"),
        ("./usr/", FOLDER, 0o755, ""),
        ("./usr/bin/", FOLDER, 0o755, ""),
        ("./usr/bin/a", FILE, 0o4755, "program"),
        ("./usr/bin/same", EntryType::Link, 0o755, "./usr/bin/a"),
        ("./usr/bin/link", EntryType::Symlink, 0o777, "/absent"),
        ("./var/private/", FOLDER, 0o700, ""),
    ];
    let control = [("./conffiles", "/etc/a.conf\n"), ("./triggers", "interest ldconfig\n")];
    let made = Made("a", "Multi-Arch: same\nDescription: short\n long\n", &control, entries);
    let Some((place, unpacked)) = unpack_made(&[made]) else { return };
    assert_eq!(unpacked.unwrap().bytes, 21);
    let tree = place.path().join("tree");
    let read = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    let found = |path: &str| fs::symlink_metadata(tree.join(path)).unwrap();

    assert_eq!(read("etc/a.conf.dpkg-new"), "setting");
    assert!(!tree.join("etc/a.conf").exists());
    assert_eq!(read("usr/lib/a.so"), "library");
    for name in ["bin", "lib", "lib64", "sbin"] {
        let link = fs::read_link(tree.join(name)).unwrap();
        assert_eq!(link, Path::new("usr").join(name), "merged whatever the package has");
    }
    assert_eq!(fs::read_link(tree.join("usr/bin/link")).unwrap(), Path::new("/absent"));
    assert_eq!(found("usr/bin/a").ino(), found("usr/bin/same").ino());
    for (path, mode) in [("usr/bin/a", 0o4755), ("var/private", 0o700), ("var", 0o755)] {
        assert_eq!(found(path).permissions().mode() & 0o7777, mode, "{path}");
    }
    for path in ["usr/bin/a", "usr/bin/link", "usr/bin", "var/private"] {
        assert_eq!(found(path).mtime(), 1_000_000_000, "{path}");
    }
    assert_eq!(
        read("var/lib/dpkg/info/a:amd64.list"),
        "/.\n/etc\n/etc/a.conf\n/lib\n/lib/a.so\n/usr\n/usr/bin\n/usr/bin/a\n/usr/bin/same\n\
         /usr/bin/link\n/var/private\n"
    );
    assert_eq!(read("var/lib/dpkg/triggers/ldconfig"), "a:amd64\n");
    assert_eq!(
        read("var/lib/dpkg/status"),
        "Package: a\nStatus: install ok unpacked\nArchitecture: amd64\nMulti-Arch: same\n\
         Version: 1\nConffiles:\n /etc/a.conf newconffile\nDescription: short\n long\n\n"
    );
}

#[test]
fn control_files_are_read_as_dpkg_does() {
    let entries: &[Entry] = &[("./etc/a b.conf", FILE, 0o644, "x")];
    let control = [
        ("./conffiles", "/etc/a b.conf\nremove-on-upgrade /etc/c d.conf\n"),
        ("./list", "/not/of/the/package\n"),
    ];
    let Some((place, unpacked)) = unpack_made(&[Made("a", "", &control, entries)]) else { return };
    unpacked.unwrap();
    let read = |path: &str| fs::read_to_string(place.path().join("tree").join(path)).unwrap();
    assert_eq!(read("etc/a b.conf.dpkg-new"), "x");
    assert_eq!(read("var/lib/dpkg/info/a.list"), "/etc/a b.conf\n");
    let status = read("var/lib/dpkg/status");
    assert!(status.contains(" /etc/a b.conf newconffile\n"), "{status}");
}

#[test]
fn the_first_package_decides_a_folder_whoever_is_faster() {
    // The second is bigger, and so begun first.
    let big = "x".repeat(100_000).leak();
    let first: &[Entry] = &[("./opt/", FOLDER, 0o711, ""), ("./opt/a", FILE, 0o644, "")];
    let second: &[Entry] = &[("./opt/", FOLDER, 0o755, ""), ("./opt/b", FILE, 0o644, big)];
    for (packages, mode) in [
        ([Made("a", "", &[], first), Made("b", "", &[], second)], 0o711),
        ([Made("b", "", &[], second), Made("a", "", &[], first)], 0o755),
        ([Made("b", "", &[], second), Made("a", "Essential: yes\n", &[], first)], 0o711),
    ] {
        let Some((place, unpacked)) = unpack_made(&packages) else { return };
        unpacked.unwrap();
        let found = place.path().join("tree/opt").metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, mode);
    }
}

#[test]
fn a_path_of_two_packages_goes_by_replaces() {
    let old: &[Entry] = &[("./usr/x", FILE, 0o644, "old"), ("./usr/y", FILE, 0o644, "y")];
    let new: &[Entry] = &[("./usr/x", FILE, 0o644, "new")];
    let conffile = [("./conffiles", "/usr/x\n")];
    let replaces = "Replaces: old (<< 2)\n";
    for packages in [
        [Made("old", "", &[], old), Made("new", replaces, &[], new)],
        [Made("new", replaces, &[], new), Made("old", "", &[], old)],
        [Made("new", replaces, &[], new), Made("old", "", &conffile, old)],
    ] {
        let Some((place, unpacked)) = unpack_made(&packages) else { return };
        unpacked.unwrap();
        let read = |path: &str| fs::read_to_string(place.path().join("tree").join(path)).unwrap();
        assert_eq!(read("usr/x"), "new");
        assert_eq!(read("var/lib/dpkg/info/old.list"), "/usr/y\n");
        assert_eq!(read("var/lib/dpkg/info/new.list"), "/usr/x\n");
        assert!(!read("var/lib/dpkg/status").contains("newconffile"));
    }
}

#[test]
fn a_lost_path_leaves_the_list_as_its_package_writes_it() {
    let old: &[Entry] = &[("./lib/x", FILE, 0o644, "old")];
    let new: &[Entry] = &[("./usr/lib/x", FILE, 0o644, "new")];
    let big = "x".repeat(500_000).leak();
    // What is bigger is begun first.
    for (old_more, new_more) in [(big as &str, ""), ("", big as &str)] {
        let old = [old, &[("./usr/y", FILE, 0o644, old_more)]].concat();
        let new = [new, &[("./usr/z", FILE, 0o644, new_more)]].concat();
        let packages = [Made("old", "", &[], &old), Made("new", "Replaces: old\n", &[], &new)];
        let Some((place, unpacked)) = unpack_made(&packages) else { return };
        unpacked.unwrap();
        let read = |path: &str| fs::read_to_string(place.path().join("tree").join(path)).unwrap();
        assert_eq!(read("usr/lib/x"), "new");
        assert_eq!(read("var/lib/dpkg/info/old.list"), "/usr/y\n");
    }
}

#[test]
fn a_link_to_a_lost_file_is_as_dpkg_leaves_it() {
    let links: &[Entry] = &[
        ("./usr/x", FILE, 0o640, "old"),
        ("./usr/same", EntryType::Link, 0o640, "./usr/x"),
        ("./usr/third", EntryType::Link, 0o640, "./usr/same"),
    ];
    let big = "x".repeat(500_000).leak();
    for (old_more, new_more) in [(big as &str, ""), ("", big as &str)] {
        let old = [links, &[("./usr/y", FILE, 0o644, old_more)]].concat();
        let new = [("./usr/x", FILE, 0o644, "new"), ("./usr/z", FILE, 0o644, new_more)];
        let [old, new] = [Made("old", "", &[], &old), Made("new", "Replaces: old\n", &[], &new)];
        // The links have what was there when dpkg made them.
        for (packages, content, linked) in [([&old, &new], "old", 2), ([&new, &old], "new", 3)] {
            let packages = packages.map(|made| Made(made.0, made.1, made.2, made.3));
            let Some((place, unpacked)) = unpack_made_by(1, &packages) else { return };
            unpacked.unwrap();
            let tree = place.path().join("tree");
            assert_eq!(fs::read_to_string(tree.join("usr/x")).unwrap(), "new");
            for path in ["usr/same", "usr/third"] {
                assert_eq!(fs::read_to_string(tree.join(path)).unwrap(), content, "{path}");
                assert_eq!(tree.join(path).metadata().unwrap().nlink(), linked, "{path}");
            }
            let list = fs::read_to_string(tree.join("var/lib/dpkg/info/old.list")).unwrap();
            assert_eq!(list, "/usr/same\n/usr/third\n/usr/y\n");
        }
    }
}

#[test]
fn a_lost_configuration_file_leaves_nothing_whoever_is_faster() {
    let big = "x".repeat(500_000).leak();
    for (old_more, new_more) in [(big as &str, ""), ("", big as &str)] {
        let old = [("./etc/x", FILE, 0o644, "old"), ("./etc/y", FILE, 0o644, old_more)];
        let new = [("./etc/x", FILE, 0o644, "new"), ("./etc/z", FILE, 0o644, new_more)];
        let conffiles = [("./conffiles", "/etc/x\n")];
        let packages =
            [Made("old", "", &conffiles, &old), Made("new", "Replaces: old\n", &[], &new)];
        let Some((place, unpacked)) = unpack_made_by(1, &packages) else { return };
        unpacked.unwrap();
        let etc = place.path().join("tree/etc");
        assert_eq!(fs::read_to_string(etc.join("x")).unwrap(), "new");
        assert!(!etc.join("x.dpkg-new").exists());
    }
}

#[test]
fn what_three_packages_ship_does_not_go_by_speed() {
    // Not all are clear about each other: whoever comes last, it is refused.
    let big: &str = "x".repeat(500_000).leak();
    for faster in 0..3 {
        let entries: Vec<_> = (0..3)
            .map(|at| {
                let (own, more) = (["./a", "./b", "./c"][at], if at == faster { big } else { "" });
                [("./usr/x", FILE, 0o644, ""), (own, FILE, 0o644, more as &'static str)]
            })
            .collect();
        let made = |name, replaces, at: usize| Made(name, replaces, &[], &entries[at]);
        let packages =
            [made("a", "Replaces: b\n", 0), made("b", "Replaces: c\n", 1), made("c", "", 2)];
        let Some((_place, unpacked)) = unpack_made_by(1, &packages) else { return };
        let error = unpacked.unwrap_err().to_string();
        assert!(error.contains("a and c both ship /usr/x"), "{error}");
    }
}

#[test]
fn two_architectures_of_a_package_share_its_files() {
    let entries: &[Entry] = &[("./usr/shared", FILE, 0o644, "x")];
    let made = Made("a", "Multi-Arch: same\n", &[], entries);
    if unpack_made(&[]).is_none() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let debs = ["amd64", "i386"].map(|architecture| made.write_for(architecture, place.path()));
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    unpack(&debs, &tree, &Unpack::default(), &|_| ()).unwrap();
    for name in ["a:amd64.list", "a:i386.list"] {
        let list = fs::read_to_string(tree.join("var/lib/dpkg/info").join(name)).unwrap();
        assert_eq!(list, "/usr/shared\n", "{name}");
    }
}

#[test]
fn scripts_have_the_modes_that_dpkg_gives_them() {
    let Some((place, _)) = unpack_made(&[]) else { return };
    let stanza = "Package: a\nVersion: 1\nArchitecture: all\n";
    let control = [("control", stanza), ("preinst", "#!/bin/sh\n"), ("prerm", "#!/bin/sh\n")];
    // dpkg runs the preinst, and makes it fit to be run before.
    for (mode, preinst) in [(0o644, 0o755), (0o700, 0o755), (0o755, 0o755), (0o555, 0o555)] {
        let members = [
            ("debian-binary", &b"2.0\n"[..]),
            ("control.tar", &tar_file_of_mode(&control, mode)),
            ("data.tar", &data(&[])),
        ];
        let (path, tree) = (place.path().join("a.deb"), place.path().join(format!("{mode:o}")));
        fs::write(&path, ar_file(&members)).unwrap();
        fs::create_dir(&tree).unwrap();
        let deb = Deb { name: "a".into(), version: "1".into(), architecture: "all".into(), path };
        unpack(&[deb], &tree, &Unpack::default(), &|_| ()).unwrap();
        for (name, expected) in [("preinst", preinst), ("prerm", mode)] {
            let found = tree.join("var/lib/dpkg/info").join(format!("a.{name}"));
            let found = found.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, expected, "{name} of mode {mode:o}");
        }
    }
}

#[test]
fn what_has_no_place_is_refused() {
    let file: &[Entry] = &[("./usr/x", FILE, 0o644, "")];
    let aliased: &[Entry] = &[("./lib/x", FILE, 0o644, "")];
    let in_usr: &[Entry] = &[("./usr/lib/x", FILE, 0o644, "")];
    let folder: &[Entry] = &[("./usr/x/", FOLDER, 0o755, "")];
    let climbing: &[Entry] = &[("./../x", FILE, 0o644, "")];
    let stolen: &[Entry] = &[("./usr/z", EntryType::Link, 0o644, "./etc/absent")];
    let device: &[Entry] = &[("./dev/x", EntryType::Char, 0o644, "")];
    let pax: &[Entry] = &[("./x", EntryType::XHeader, 0o644, ""), ("./usr/x", FILE, 0o644, "")];
    let sparse: &[Entry] = &[("./usr/x", EntryType::GNUSparse, 0o644, "")];
    let replaces_later = "Replaces: a (<< 1)\n";
    for (packages, expected) in [
        (vec![Made("a", "", &[], file), Made("b", "", &[], file)], "a and b both ship /usr/x"),
        (vec![Made("a", "", &[], file), Made("b", replaces_later, &[], file)], "both ship /usr/x"),
        (vec![Made("a", "", &[], aliased), Made("b", "", &[], in_usr)], "a and b both ship"),
        (vec![Made("a", "", &[], file), Made("b", "", &[], folder)], "both ship /usr/x"),
        (vec![Made("a", "", &[], climbing)], "has .. in it"),
        (vec![Made("a", "", &[], stolen)], "which is not its own"),
        (vec![Made("a", "", &[], device)], "no package may ship a device node"),
        (vec![Made("a", "", &[], pax)], "pax records"),
        (vec![Made("a", "", &[], sparse)], "sparse file"),
    ] {
        let Some((_place, unpacked)) = unpack_made(&packages) else { return };
        let error = unpacked.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let error = format!("{error}: {}", source.unwrap_or_default());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn links_do_not_lead_out_of_the_tree() {
    let outside = tempfile::tempdir().unwrap();
    let target: &'static str = outside.path().to_str().unwrap().to_owned().leak();
    let entries: &[Entry] = &[
        ("./usr/out", EntryType::Symlink, 0o777, target),
        ("./usr/out/x", FILE, 0o644, "escaped"),
    ];
    let Some((place, unpacked)) = unpack_made(&[Made("a", "", &[], entries)]) else { return };
    // As in a chroot: the folder that the link names is made in the tree.
    let _ = unpacked;
    assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
    drop(place);
}

#[test]
fn who_diverts_is_left_for_dpkg() {
    let file: &[Entry] = &[("./usr/x", FILE, 0o644, "")];
    let diverts = [("./preinst", "#!/bin/sh\ndpkg-divert --add --rename /usr/x\n")];
    let mentions = [("./preinst", "#!/bin/sh\n# no dpkg-divert here\n")];
    let packages = [Made("a", "", &mentions, file), Made("b", "", &diverts, file)];
    let Some((_place, unpacked)) = unpack_made(&packages) else { return };
    let left: Vec<_> = unpacked.unwrap().left.into_iter().map(|deb| deb.name).collect();
    assert_eq!(left, ["b"]);
}
