//! A disk made with the host's tools: BIOS boot, root, verity, data.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use crate::kit::{Kit, run};

const MIB: u64 = 1 << 20;
/// Where the partitions begin, in bytes.
pub(crate) const ROOT: u64 = 2 * MIB;
pub(crate) const VERITY: u64 = 18 * MIB;
pub(crate) const DATA: u64 = 20 * MIB;
const END: u64 = 95 * MIB;

pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new(kit: &Kit) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self { path: folder.path().join("disk"), _folder: folder };
        File::create(&disk.path).unwrap().set_len(END + MIB).unwrap();
        let id = |half: &str| {
            format!(
                "{}-{}-{}-{}-{}",
                &half[..8],
                &half[8..12],
                &half[12..16],
                &half[16..20],
                &half[20..]
            )
        };
        let (root, verity) = kit.hash.split_at(32);
        let span =
            |number: u32, from: u64, to: u64| format!("{number}:{}:{}", from / 512, to / 512 - 1);
        let arguments = [
            ["-n", &span(1, MIB, ROOT)],
            ["-t", "1:ef02"],
            ["-n", &span(2, ROOT, VERITY)],
            ["-t", "2:4f68bce3-e8cd-4db1-96e7-fbcaf984b709"],
            ["-u", &format!("2:{}", id(root))],
            ["-c", "2:root-a"],
            ["-n", &span(3, VERITY, DATA)],
            ["-t", "3:2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"],
            ["-u", &format!("3:{}", id(verity))],
            ["-c", "3:root-a-verity"],
            ["-n", &span(4, DATA, END)],
            ["-t", "4:8300"],
            ["-c", "4:data"],
        ];
        disk.sgdisk(&arguments.concat());
        for (image, at) in [(&kit.root, ROOT), (&kit.verity, VERITY), (&kit.data, DATA)] {
            disk.write(&fs::read(image).unwrap(), at);
        }
        disk
    }

    /// The length of the data partition.
    pub(crate) const DATA_LENGTH: u64 = END - DATA;

    pub(crate) fn resize(&self, mib: u64) {
        self.file().set_len(mib * MIB).unwrap();
    }

    /// Changes a byte.
    pub(crate) fn flip(&self, at: u64) {
        let mut byte = [0];
        self.file().read_exact_at(&mut byte, at).unwrap();
        self.write(&[byte[0] ^ 1], at);
    }

    pub(crate) fn zero(&self, at: u64, length: usize) {
        self.write(&vec![0; length], at);
    }

    pub(crate) fn rename_data(&self, name: &str) {
        self.sgdisk(&["-c", &format!("4:{name}")]);
    }

    /// sgdisk finds nothing to complain of.
    pub(crate) fn is_sound(&self) {
        let said = run("sgdisk", &["-v", self.path.to_str().unwrap()]).unwrap();
        assert!(said.contains("No problems found"), "{said}");
    }

    fn sgdisk(&self, arguments: &[&str]) {
        run("sgdisk", &[arguments, &[self.path.to_str().unwrap()]].concat()).unwrap();
    }

    fn write(&self, bytes: &[u8], at: u64) {
        self.file().write_all_at(bytes, at).unwrap();
    }

    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }
}
