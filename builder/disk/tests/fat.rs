//! An EFI system partition before fsck.vfat and mtools.

mod common;

use std::{fs, path::Path};

use coremax_disk::{
    Bytes,
    fat::{self, File, Volume},
};

#[test]
fn fsck_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [image, kernel] = ["esp.img", "vmlinuz"].map(|name| folder.path().join(name));
    let bytes: Vec<u8> =
        (0..40 << 20).map(|i: u32| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    fs::write(&kernel, &bytes).unwrap();
    for size in [64, 260, 261, 512, 8192].map(Bytes::mib) {
        let volume = Volume {
            label: "COREMAX-ESP".into(),
            id: 0xc0de_0001,
            size,
            files: vec![
                File::copy("a/vmlinuz-6.1.0-41-cloud-amd64", &kernel),
                File::bytes("EFI/BOOT/BOOTX64.EFI", []),
                File::bytes("EFI/BOOT/grub.cfg", "echo 'a kernel'\n"),
                File::bytes("EFI/Linux/a name with spaces+and=signs.efi", vec![7; 12345]),
            ],
        };
        fat::make(&volume, &image, &|_| ()).unwrap();
        let Some(checked) = common::oracle("fsck.vfat", &[Path::new("-nv"), &image]) else {
            return;
        };
        let said =
            String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{size}: {said}");
        for complaint in
            ["wrong", "differ", "dirty", "not automatically", "Auto-", "corrupt", "ncorrect"]
        {
            assert!(!said.contains(complaint), "{size}: {said}");
        }
    }
    let path = image.to_str().unwrap();
    common::content("mlabel", &["-s", "-i", path, "::"], "COREMAX-ESP");
    common::content("mdir", &["-i", path, "::/EFI/BOOT"], "1980-01-01");
    let Some(read) = common::oracle("mtype", &["-i", path, "::/a/vmlinuz-6.1.0-41-cloud-amd64"])
    else {
        return;
    };
    assert!(read.stdout == bytes);
}
