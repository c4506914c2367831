//! Upper folders as overlayfs leaves them.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, symlink},
    path::Path,
};

use coremax_disk::{Error, layer};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_skip::skip;
use rustix::fs::{XattrFlags, llistxattr, setxattr};

/// Records what `script` does over the folder `lower` in `upper`, both in `folder`; whether it
/// could be done.
fn record(folder: &Path, script: &str) -> bool {
    for name in ["upper", "work", "merged"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let mount = "mount -t overlay overlay merged \
                 -o userxattr,lowerdir=lower,upperdir=upper,workdir=work && cd merged";
    let output = Cmd::new("unshare", &Sandbox::host())
        .args(["-Urm", "sh", "-ec", &format!("{mount}\n{script}")])
        .current_dir(folder)
        .output();
    let done = output.as_ref().is_ok_and(|output| output.status.success());
    if !done {
        skip(format_args!("no overlay can be mounted here: {output:?}"));
    }
    done
}

fn lower(folder: &Path) {
    for path in ["lower/usr/lib", "lower/etc/full", "lower/etc/empty"] {
        fs::create_dir_all(folder.join(path)).unwrap();
    }
    symlink("usr/lib", folder.join("lower/lib")).unwrap();
    for file in ["usr/lib/a", "etc/full/a", "etc/changed", "etc/gone"] {
        fs::write(folder.join("lower").join(file), file).unwrap();
    }
}

fn attributes(path: &Path) -> String {
    let mut names = [0; 1024];
    let length = llistxattr(path, &mut names[..]).unwrap();
    String::from_utf8_lossy(&names[..length]).into_owned()
}

#[test]
fn a_recorded_layer_loses_its_notes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let [bottom, top] = ["lower", "upper"].map(|name| folder.path().join(name));
    lower(folder.path());
    let script = "rm etc/gone; echo more >>etc/changed; mkdir -p new/deep; echo n >new/deep/file
                  mkdir etc/beside; rmdir etc/empty; mkdir etc/empty; echo e >etc/empty/file";
    if !record(folder.path(), script) {
        return;
    }
    let marked = ["etc", "etc/changed", "etc/empty"].map(|name| attributes(&top.join(name)));
    println!("recorded: {marked:?}");
    assert!(marked.iter().all(|names| names.contains("user.overlay.")));
    setxattr(top.join("new"), "user.kept", b"1", XattrFlags::empty()).unwrap();
    layer::check(&top, &[&bottom]).unwrap();
    assert!(attributes(&top.join("etc/empty")).contains("opaque"), "checking changes nothing");
    layer::settle(&top, &[&bottom]).unwrap();
    for name in ["", "etc", "etc/changed", "etc/empty", "etc/beside", "new/deep/file"] {
        assert_eq!(attributes(&top.join(name)), "", "{name}");
    }
    assert_eq!(attributes(&top.join("new")), "user.kept\0");
    let gone = fs::symlink_metadata(top.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
}

#[test]
fn a_folder_that_was_replaced_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [bottom, top] = ["lower", "upper"].map(|name| folder.path().join(name));
    lower(folder.path());
    if !record(folder.path(), "rm -r etc/full; mkdir etc/full; echo other >etc/full/b") {
        return;
    }
    let error = layer::settle(&top, &[&bottom]).unwrap_err();
    println!("{error}\nhint: {}", error.hint().unwrap());
    assert!(error.to_string().contains("upper/etc/full replaces the folder"), "{error}");
    assert!(attributes(&top.join("etc/full")).contains("opaque"), "a failure changes nothing");
    layer::settle(&top, &[&bottom.join("usr")]).unwrap();
}

#[test]
fn what_an_opaque_folder_hides() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    lower(folder.path());
    fs::create_dir(folder.path().join("over")).unwrap();
    fs::write(folder.path().join("over/etc"), "no folder").unwrap();
    let [bottom, over] = ["lower", "over"].map(|name| folder.path().join(name));
    for (opaque, lower, hides) in [
        ("etc/full", &[&*bottom][..], true),
        ("etc", &[&bottom], true),
        ("", &[&bottom], true),
        ("etc/empty", &[&bottom], false),
        ("etc/missing", &[&bottom], false),
        ("usr/lib", &[&bottom], true),
        ("lib", &[&bottom], false), // not a folder there
        ("lib/x", &[&bottom], false),
        ("etc", &[], false),
        ("etc", &[&over, &bottom], false), // where a file hides it already
        ("etc", &[&bottom, &over], true),
    ] {
        fs::create_dir_all(top.join(opaque)).unwrap();
        setxattr(top.join(opaque), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        let result = layer::check(&top, lower);
        let hidden = matches!(result, Err(Error::LayerOpaque { .. }));
        assert_eq!((hidden, result.is_ok()), (hides, !hides), "{opaque} {lower:?}");
        fs::remove_dir_all(&top).unwrap();
    }
}

#[test]
fn marks_that_mean_something_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("user.overlay.redirect", "/old"),
        ("user.overlay.metacopy", ""),
        ("user.overlay.whiteout", ""),
        ("user.overlay.opaque", "x"),
        ("user.overlay.opaque", "yes"),
        ("trusted.overlay.opaque", "y"),
    ] {
        let path = folder.path().join("a");
        fs::create_dir(&path).unwrap();
        match setxattr(&path, name, value.as_bytes(), XattrFlags::empty()) {
            Ok(()) => {
                let error = layer::check(folder.path(), &[]).unwrap_err().to_string();
                assert!(error.contains(&format!("a has the attribute {name}")), "{error}");
            }
            Err(error) => skip(format_args!("{name} cannot be written here: {error}")),
        }
        fs::remove_dir(&path).unwrap();
    }
}
