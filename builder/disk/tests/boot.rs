//! A disk without an operating system, booted as far as its loader by BIOS and by UEFI.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

#[path = "common/booting.rs"]
mod booting;
mod common;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use booting::{DEBIAN, OVMF, OVMF_SECURE, PATIENCE, partition};
use coremax_disk::{
    Bytes, fat,
    gpt::Type,
    grub::{self, config},
    qcow2,
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_skip::skip;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loader {
    Signed,
    Unsigned,
}

#[derive(Debug, Clone, Copy)]
enum Firmware {
    Bios,
    Uefi([&'static str; 2]),
}

#[test]
fn bios_boots_raw_and_qcow2_from_every_disk() {
    let Some(disk) = Disk::new(Loader::Unsigned) else { return };
    disk.says(Firmware::Bios, &disk.raw, "raw", "virtio-blk-pci");
    disk.says(Firmware::Bios, &disk.qcow2, "qcow2", "ide-hd");
    disk.says(Firmware::Bios, &disk.qcow2, "qcow2", "ahci");
}

#[test]
fn uefi_boots_our_own_image() {
    let Some(disk) = Disk::new(Loader::Unsigned) else { return };
    disk.says(Firmware::Uefi(OVMF), &disk.qcow2, "qcow2", "virtio-blk-pci");
    disk.says(Firmware::Uefi(OVMF), &disk.raw, "raw", "ahci");
}

#[test]
fn uefi_boots_the_signed_image_with_secure_boot_on() {
    let Some(disk) = Disk::new(Loader::Signed) else { return };
    disk.says(Firmware::Uefi(OVMF_SECURE), &disk.qcow2, "qcow2", "virtio-blk-pci");
}

#[test]
fn secure_boot_refuses_an_unsigned_image() {
    let Some(disk) = Disk::new(Loader::Unsigned) else { return };
    let firmware = Firmware::Uefi(OVMF_SECURE);
    disk.boot(firmware, &disk.qcow2, "qcow2", "virtio-blk-pci", "Access Denied");
}

struct Disk {
    folder: tempfile::TempDir,
    raw: PathBuf,
    qcow2: PathBuf,
}

impl Disk {
    /// A disk made with the host's GRUB; where that is not here, the reason for a skip.
    fn new(loader: Loader) -> Option<Self> {
        let needed = [
            "/usr/lib/grub/i386-pc",
            "/usr/lib/grub/x86_64-efi",
            "/usr/lib/shim",
            "/usr/lib/grub/x86_64-efi-signed",
        ];
        if let Some(missing) = needed.into_iter().find(|path| !Path::new(path).exists()) {
            skip(format_args!(
                "{missing} is not here (install grub-pc-bin, grub-efi-amd64-bin, grub-efi-amd64-signed and shim-signed)"
            ));
            return None;
        }
        common::oracle("qemu-system-x86_64", &["--version"])?;
        let folder = tempfile::tempdir().unwrap();
        let [esp, raw, packed] = ["esp", "raw", "qcow2"].map(|name| folder.path().join(name));
        make_esp(loader, &esp);
        let placement = booting::layout(
            &esp,
            fat::DEFAULT_SIZE,
            Some(partition("data", Type::LinuxGeneric, 3, Bytes::gib(8), None)),
        )
        .write(&raw, &|_| ())
        .unwrap();
        let images = grub::bios::images(&Sandbox::host(), 2).unwrap();
        grub::bios::install(&images, &raw, placement.partitions[0]).unwrap();
        common::content("sgdisk", &[Path::new("-v"), &raw], "No problems found");
        qcow2::write(&raw, &packed, &qcow2::Options::default(), &|_| ()).unwrap();
        Some(Self { folder, raw, qcow2: packed })
    }

    /// Boots, and waits for the loader's marker on the serial line.
    fn says(&self, firmware: Firmware, image: &Path, format: &str, device: &str) {
        let marker = format!("{} a test's disk", config::MARKER);
        self.boot(firmware, image, format, device, &marker);
    }

    /// Boots, and waits for `marker` on the serial line.
    fn boot(&self, firmware: Firmware, image: &Path, format: &str, device: &str, marker: &str) {
        let serial = self.folder.path().join("serial");
        File::create(&serial).unwrap();
        let Some(arguments) = self.arguments(firmware, image, format, device, &serial) else {
            return;
        };
        let log = File::create(self.folder.path().join("qemu.log")).unwrap();
        let qemu =
            Cmd::new("qemu-system-x86_64", &Sandbox::host()).args(&arguments).stderr_file(log);
        let mut machine = qemu.spawn().unwrap();
        let start = Instant::now();
        loop {
            let said = fs::read(&serial).unwrap();
            let said = String::from_utf8_lossy(&said);
            if said.contains(marker) {
                println!("{firmware:?} {device} {format}: {marker:?} after {:?}", start.elapsed());
                return;
            }
            let ended = machine.try_wait().unwrap();
            let log = fs::read_to_string(self.folder.path().join("qemu.log")).unwrap();
            let alive = ended.is_none() && start.elapsed() < PATIENCE;
            assert!(
                alive,
                "{firmware:?} {device}: {ended:?} after {:?}\n{log}\n{said}",
                start.elapsed()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn arguments(
        &self,
        firmware: Firmware,
        image: &Path,
        format: &str,
        device: &str,
        serial: &Path,
    ) -> Option<Vec<String>> {
        let mut arguments: Vec<String> = [
            "-machine",
            "q35,accel=tcg",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
            "-vga",
            "std",
            "-net",
            "none",
        ]
        .map(Into::into)
        .into();
        arguments.extend(["-serial".into(), format!("file:{}", serial.display())]);
        if let Firmware::Uefi([code, vars]) = firmware {
            let own = self.folder.path().join("vars");
            if fs::copy(vars, &own).is_err() {
                skip(format_args!("{vars} is not here (install ovmf)"));
                return None;
            }
            for (file, more) in [(Path::new(code), ",readonly=on"), (&own, "")] {
                arguments.extend([
                    "-drive".into(),
                    format!("if=pflash,format=raw,file={}{more}", file.display()),
                ]);
            }
        }
        let drive = format!("if=none,id=disk,snapshot=on,format={format},file={}", image.display());
        // q35 has an AHCI bus of its own; the older kind of IDE comes with a controller.
        let disk = match device {
            "ahci" => vec!["-device".into(), "ide-hd,bus=ide.0,drive=disk".to_owned()],
            "ide-hd" => ["-device", "piix3-ide,id=old", "-device", "ide-hd,bus=old.0,drive=disk"]
                .map(Into::into)
                .into(),
            device => vec!["-device".into(), format!("{device},drive=disk")],
        };
        arguments.extend(["-drive".into(), drive]);
        arguments.extend(disk);
        Some(arguments)
    }
}

fn make_esp(loader: Loader, image: &Path) {
    let entry = config::Entry {
        title: "a test's disk".into(),
        kernel: "/a/no-kernel".into(),
        initrd: None,
        command_line: vec!["console=ttyS0,115200n8".into()],
    };
    let config = config::render(&config::Config { timeout: 0, entries: vec![entry] }).unwrap();
    let tools = Sandbox::host();
    let files = match loader {
        Loader::Signed => grub::efi::signed(&tools, &DEBIAN, &config).unwrap(),
        Loader::Unsigned => grub::efi::unsigned(&tools, &config).unwrap(),
    };
    let volume = fat::Volume { label: "ESP".into(), id: 7, size: fat::DEFAULT_SIZE, files };
    fat::make(&volume, image, &|_| ()).unwrap();
}
