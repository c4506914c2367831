//! GRUB and the pure chooser, side by side: real boots by BIOS and by UEFI until a kernel says which
//! slot it came from, and what is left on the ESP.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

#[path = "common/booting.rs"]
mod booting;
mod common;

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use booting::{DEBIAN, OVMF, OVMF_SECURE, PATIENCE};
use coremax_disk::{
    Bytes,
    fat::{self, Content},
    grub::{self, slots},
};
use coremax_node_api::{
    env::Env,
    slot::{
        Slot::{self, A, B},
        State, Trial, boot,
        grub::{Blocks, Description},
    },
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_skip::skip;
use fatfs::{FileSystem, FsOptions};
use proptest::prelude::*;

const ESP_SIZE: Bytes = Bytes::mib(64);
/// What GRUB says when there is nothing left to try.
const NEITHER: &str = "coremax: neither slot can be loaded";
/// What a block looks like whose sector was lost.
const TORN: [u8; 1024] = [0xff; 1024];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loader {
    Bios,
    Uefi,
    /// The distribution's signed shim and GRUB.
    Signed,
    /// The same with Secure Boot on, where the kernel of these tests cannot be loaded.
    Secure,
}

impl Loader {
    fn firmware(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Bios => None,
            Self::Uefi | Self::Signed => Some(OVMF),
            Self::Secure => Some(OVMF_SECURE),
        }
    }
}

#[test]
fn bios_agrees_with_the_chooser_over_the_table() {
    let Some(disk) = Disk::new(Loader::Bios) else { return };
    for blessed in Slot::BOTH {
        for trial in [None, Some(0), Some(1), Some(2), Some(3)] {
            let trial = trial.map(|tries| Trial { slot: blessed.other(), tries });
            disk.agrees(&Blocks::of(&State { blessed, trial }));
        }
    }
    for blocks in damaged() {
        disk.agrees(&blocks);
    }
}

#[test]
fn uefi_agrees_with_the_chooser() {
    let Some(disk) = Disk::new(Loader::Uefi) else { return };
    disk.agrees(&Blocks::of(&State { blessed: B, trial: None }));
    for blocks in damaged().iter().take(3) {
        disk.agrees(blocks);
    }
}

#[test]
fn three_boots_by_bios_and_back() {
    three_boots_and_back(Loader::Bios);
}

#[test]
fn three_boots_by_uefi_and_back() {
    three_boots_and_back(Loader::Uefi);
}

#[test]
fn three_boots_by_the_signed_loader_and_back() {
    three_boots_and_back(Loader::Signed);
}

#[test]
fn secure_boot_counts_and_refuses_kernels_that_are_not_signed() {
    let Some(disk) = Disk::new(Loader::Secure) else { return };
    let mut state = State::NEW.begin_trial(B).unwrap();
    disk.put(&Blocks::of(&state));
    for _ in 0..2 {
        let said = disk.says();
        assert!(said.contains("coremax: slot b cannot be loaded"), "{said}");
        assert!(said.contains(NEITHER) && !said.contains("a-kernel-ran"), "{said}");
        state = boot(&state, |_| false).1;
        assert_eq!(disk.blocks().state(), state);
    }
}

fn three_boots_and_back(loader: Loader) {
    let Some(disk) = Disk::new(loader) else { return };
    disk.put(&Blocks::of(&State::NEW.begin_trial(B).unwrap()));
    let booted: Vec<_> = (0..4).map(|_| disk.boot()).collect();
    assert_eq!(booted, [B, B, B, A]);
    assert_eq!(disk.blocks().state().trial, Some(Trial { slot: B, tries: 0 }));
}

#[test]
fn a_slot_that_cannot_be_loaded_gives_way() {
    for loader in [Loader::Bios, Loader::Uefi, Loader::Signed] {
        let Some(disk) = Disk::new(loader) else { continue };
        let trial = Blocks::of(&State::NEW.begin_trial(B).unwrap());
        // Every way by the firmware that boots fast; the one that depends on firmware by all.
        let ways = if loader == Loader::Bios { 0 } else { 2 };
        for lost in &["slot.env", "vmlinuz", "initrd.img"][ways..] {
            disk.remove(&format!("coremax/b/{lost}"));
            disk.agrees_without(&trial, Some(B));
            disk.write_slot(B);
        }
        disk.remove("coremax/a/slot.env");
        disk.agrees_without(&all_torn(), Some(A));
        disk.remove("coremax/b/initrd.img");
        let said = disk.says();
        assert!(said.contains("coremax: slot a cannot be loaded"), "{said}");
        assert!(said.contains("coremax: slot b cannot be loaded"), "{said}");
        assert!(said.contains(NEITHER), "{said}");
    }
}

/// Blocks that no orderly write leaves behind.
fn damaged() -> Vec<Blocks> {
    let [a, b] = Slot::BOTH.map(|slot| Blocks::of(&State { blessed: slot, trial: None }).blessed);
    let torn = || TORN.to_vec();
    let whole = Blocks::of(&State::NEW.begin_trial(B).unwrap());
    let trial = |text: &str| {
        let mut block = format!("# GRUB Environment Block\n{text}").into_bytes();
        block.resize(1024, b'#');
        Blocks { trial: block, ..whole.clone() }
    };
    vec![
        Blocks { trial: torn(), ..whole.clone() },
        Blocks { blessed: torn(), copy: b.clone(), trial: torn() },
        all_torn(),
        Blocks { blessed: torn(), copy: b.clone(), trial: whole.trial.clone() },
        Blocks { blessed: b.clone(), copy: a.clone(), trial: torn() },
        Blocks { blessed: a, copy: torn(), trial: whole.trial.clone() },
        trial("trying=b\ntries=9\n"),
        trial("trying=c\ntries=3\n"),
        Blocks { blessed: b.clone(), ..trial("trying=c\ntries=3\n") },
        trial("tries=3\n"),
        trial("trying=b\ntries=3\ntries=3\n"),
        trial("trying=b\ntries=3\nx"),
        trial("prefix=x\nroot=hd9\nslot=b\nblessed=b\n"),
    ]
}

fn all_torn() -> Blocks {
    Blocks { blessed: TORN.to_vec(), copy: TORN.to_vec(), trial: TORN.to_vec() }
}

struct Disk {
    folder: tempfile::TempDir,
    raw: PathBuf,
    esp: u64,
    loader: Loader,
}

impl Disk {
    /// A disk whose slots hold the kernel of [`kernel`]; without the tools, the reason for a skip.
    fn new(loader: Loader) -> Option<Self> {
        let needed: &[&str] = match loader {
            Loader::Bios => &["/usr/lib/grub/i386-pc"],
            Loader::Uefi => &["/usr/lib/grub/x86_64-efi", OVMF[0]],
            Loader::Signed | Loader::Secure => {
                &["/usr/lib/shim", "/usr/lib/grub/x86_64-efi-signed", OVMF[0], OVMF_SECURE[0]]
            }
        };
        if let Some(missing) = needed.iter().find(|path| !Path::new(path).exists()) {
            skip(format_args!(
                "{missing} is not here (install grub-pc-bin, grub-efi-amd64-bin, grub-efi-amd64-signed, shim-signed and ovmf)"
            ));
            return None;
        }
        common::oracle("qemu-system-x86_64", &["--version"])?;
        let folder = tempfile::tempdir().unwrap();
        let [esp, raw] = ["esp", "raw"].map(|name| folder.path().join(name));
        make_esp(loader, &esp);
        let placement = booting::layout(&esp, ESP_SIZE, None).write(&raw, &|_| ()).unwrap();
        common::content("sgdisk", &[Path::new("-v"), &raw], "No problems found");
        if loader == Loader::Bios {
            let images = grub::bios::images(&Sandbox::host(), 2).unwrap();
            grub::bios::install(&images, &raw, placement.partitions[0]).unwrap();
        }
        let esp = placement.partitions[1].start.bytes().0;
        Some(Self { folder, raw, esp, loader })
    }

    /// Boots with these blocks: GRUB must take the slot and leave the state that the chooser says.
    fn agrees(&self, blocks: &Blocks) {
        self.agrees_without(blocks, None);
    }

    fn agrees_without(&self, blocks: &Blocks, lost: Option<Slot>) {
        self.put(blocks);
        let state = blocks.state();
        let (chosen, after) = boot(&state, |slot| Some(slot) != lost);
        let start = Instant::now();
        assert_eq!(Some(self.boot()), chosen, "{:?}: {state:?}", self.loader);
        let left = self.blocks();
        assert_eq!(left.state(), after, "{:?}: {state:?}", self.loader);
        assert!(left.blessed == blocks.blessed && left.copy == blocks.copy);
        if *blocks == Blocks::of(&after) {
            assert!(left == *blocks, "{state:?}: GRUB wrote without need");
        }
        let slot = chosen.map_or("none", Slot::as_str);
        println!("{:?} {state:?}: slot {slot} in {:?}", self.loader, start.elapsed());
    }

    /// The slot whose kernel speaks.
    fn boot(&self) -> Slot {
        let said = self.says();
        let line = said.split("a-kernel-ran ").nth(1);
        let Some(slot) = line.and_then(Slot::of_command_line) else {
            panic!("{:?}: {said}", self.loader);
        };
        assert!(said.contains(&format!("coremax: loading slot {slot}'s")), "{said}");
        slot
    }

    /// What is said until a kernel resets the machine, which ends QEMU, or nothing can be loaded.
    fn says(&self) -> String {
        let serial = self.folder.path().join("serial");
        fs::write(&serial, "").unwrap();
        let log = self.folder.path().join("qemu.log");
        let mut machine = Cmd::new("qemu-system-x86_64", &Sandbox::host())
            .args(self.arguments(&serial))
            .stderr_file(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        loop {
            let ended = machine.try_wait().unwrap().is_some();
            let said = String::from_utf8_lossy(&fs::read(&serial).unwrap()).into_owned();
            if ended || said.contains(NEITHER) {
                return said;
            }
            let log = fs::read_to_string(&log).unwrap();
            assert!(start.elapsed() < PATIENCE, "{:?}\n{log}\n{said}", self.loader);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn arguments(&self, serial: &Path) -> Vec<String> {
        let mut arguments: Vec<String> = "-machine q35,accel=tcg -m 256 -nodefaults -display none \
            -vga std -net none -no-reboot"
            .split_whitespace()
            .map(Into::into)
            .collect();
        let mut add = |option: &str, value: String| arguments.extend([option.into(), value]);
        add("-serial", format!("file:{}", serial.display()));
        if let Some([code, vars]) = self.loader.firmware() {
            let own = self.folder.path().join("vars");
            fs::copy(vars, &own).unwrap();
            add("-drive", format!("if=pflash,format=raw,readonly=on,file={code}"));
            add("-drive", format!("if=pflash,format=raw,file={}", own.display()));
        }
        add("-drive", format!("if=none,id=disk,format=raw,file={}", self.raw.display()));
        add("-device", "virtio-blk-pci,drive=disk".into());
        arguments
    }

    fn volume<T>(&self, work: impl FnOnce(&fatfs::Dir<'_, Window>) -> T) -> T {
        let file = fs::OpenOptions::new().read(true).write(true).open(&self.raw).unwrap();
        let window = Window { file, start: self.esp, at: 0 };
        let system = FileSystem::new(window, FsOptions::new()).unwrap();
        let result = work(&system.root_dir());
        system.unmount().unwrap();
        result
    }

    fn put(&self, blocks: &Blocks) {
        for (name, block) in
            [("blessed", &blocks.blessed), ("blessed2", &blocks.copy), ("trial", &blocks.trial)]
        {
            self.write(&format!("coremax/{name}.env"), block);
        }
    }

    fn blocks(&self) -> Blocks {
        let [blessed, copy, trial] = ["blessed", "blessed2", "trial"].map(|name| {
            self.volume(|root| {
                let mut block = Vec::new();
                let mut file = root.open_file(&format!("coremax/{name}.env")).unwrap();
                file.read_to_end(&mut block).unwrap();
                block
            })
        });
        Blocks { blessed, copy, trial }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        self.volume(|root| root.create_file(path).unwrap().write_all(bytes).unwrap());
    }

    fn remove(&self, path: &str) {
        self.volume(|root| root.remove(path).unwrap());
    }

    fn write_slot(&self, slot: Slot) {
        for file in slot_files(slot) {
            let Content::Bytes(bytes) = file.content else { panic!() };
            self.write(&file.path, &bytes);
        }
    }
}

/// The ESP within the disk.
struct Window {
    file: fs::File,
    start: u64,
    at: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.start + self.at))?;
        let length = self.file.read(buffer)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.start + self.at))?;
        let length = self.file.write(bytes)?;
        self.at += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
            SeekFrom::End(by) => ESP_SIZE.0.checked_add_signed(by).unwrap(),
        };
        Ok(self.at)
    }
}

fn make_esp(loader: Loader, image: &Path) {
    let command_line = vec!["console=ttyS0,115200n8".into()];
    let config = slots::render(&slots::Config { timeout: 0, command_line });
    let tools = Sandbox::host();
    let mut files = match loader {
        Loader::Bios => vec![fat::File::bytes(grub::CONFIG_PATH, config)],
        Loader::Uefi => grub::efi::unsigned(&tools, &config).unwrap(),
        Loader::Signed | Loader::Secure => grub::efi::signed(&tools, &DEBIAN, &config).unwrap(),
    };
    files.extend(slots::state_files(&State::NEW));
    files.extend(Slot::BOTH.into_iter().flat_map(slot_files));
    let volume = fat::Volume { label: "ESP".into(), id: 7, size: ESP_SIZE, files };
    fat::make(&volume, image, &|_| ()).unwrap();
}

fn slot_files(slot: Slot) -> Vec<fat::File> {
    let description = Description {
        title: format!("slot {slot}'s kernel"),
        version: "1".into(),
        command_line: "a-kernel-ran quiet".into(),
    };
    let initrd = Content::Bytes(b"an initrd".to_vec());
    slots::slot_files(slot, &description, Content::Bytes(kernel()), initrd).unwrap()
}

/// A kernel that says its command line on the first serial line and resets the machine.
/// <https://docs.kernel.org/arch/x86/boot.html>
fn kernel() -> Vec<u8> {
    const CODE: [u8; 43] = [
        0x8b, 0x9e, 0x28, 0x02, 0x00, 0x00, //    mov 0x228(%esi), %ebx: the command line
        0x8a, 0x03, //                         1: mov (%ebx), %al
        0x43, //                                  inc %ebx
        0x84, 0xc0, //                            test %al, %al
        0x74, 0x14, //                            jz 3f
        0x88, 0xc4, //                            mov %al, %ah
        0x66, 0xba, 0xfd, 0x03, //                mov $0x3fd, %dx
        0xec, //                               2: in (%dx), %al
        0xa8, 0x20, //                            test $0x20, %al: there is room for a byte
        0x74, 0xfb, //                            jz 2b
        0x88, 0xe0, //                            mov %ah, %al
        0x66, 0xba, 0xf8, 0x03, //                mov $0x3f8, %dx
        0xee, //                                  out %al, (%dx)
        0xeb, 0xe5, //                            jmp 1b
        0x66, 0xba, 0xf9, 0x0c, //             3: mov $0xcf9, %dx
        0xb0, 0x06, //                            mov $6, %al
        0xee, //                                  out %al, (%dx)
        0xf4, //                               4: hlt
        0xeb, 0xfd, //                            jmp 4b
    ];
    let mut kernel = vec![0; 3 * 512];
    let mut set = |at: usize, bytes: &[u8]| kernel[at..at + bytes.len()].copy_from_slice(bytes);
    set(0x1f1, &[1]); // sectors of 16-bit code behind the first
    set(0x1fe, &[0x55, 0xaa]);
    set(0x200, &[0xeb, 0x66]); // the header ends at 0x268
    set(0x202, b"HdrS");
    set(0x206, &0x020a_u16.to_le_bytes());
    set(0x211, &[1]); // to be loaded high
    set(0x214, &0x10_0000_u32.to_le_bytes());
    set(0x22c, &0x37ff_ffff_u32.to_le_bytes()); // the highest byte of an initrd
    set(0x230, &0x1000_u32.to_le_bytes()); // alignment
    set(0x234, &[1]); // relocatable
    set(0x235, &[12]);
    set(0x238, &2047_u32.to_le_bytes());
    set(0x258, &0x10_0000_u64.to_le_bytes());
    set(0x260, &0x1000_u32.to_le_bytes());
    set(0x400, &CODE);
    kernel
}

/// What GRUB's own reader finds in a block, line by line; nothing where it finds no block.
fn grub_reads(block: &[u8]) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), block).unwrap();
    let arguments = [file.path().as_os_str(), "list".as_ref()];
    let output = common::oracle("grub-editenv", &arguments)?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

proptest! {
    // A run of grub-editenv each.
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Blocks of the bytes that mean something, and of those that do not.
    #[test]
    fn grub_reads_blocks_as_we_do(body in "([ab=#\\\\\n]|tries=3\n|trying=b\n|\\PC){0,40}") {
        let mut block = format!("# GRUB Environment Block\n{body}").into_bytes();
        block.resize(block.len().max(512), b'#');
        let Some(listed) = grub_reads(&block) else { return Ok(()) };
        let ours = Env::parse(&block).unwrap().to_string();
        prop_assert_eq!(ours, listed);
    }
}
