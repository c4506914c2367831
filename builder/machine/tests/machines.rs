//! Real machines: small ones that fail in known ways. QEMU comes from the host; where it is
//! missing, each test says that it was skipped.
//!
//! A kernel is taken from `COREMAX_TEST_KERNEL` (a bzImage) or from /boot.

#![allow(clippy::unwrap_used)] // what fails in a helper fails the test

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_machine::{
    Accelerator, Artefact, BootEvent, BootReport, Expect, Firmware, Format, Kernel, Outcome, Probe,
    Scenario, Sources, Stage, Unverified, Verified, accel, boot,
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_skip::skip;

/// Without a loader in it, a disk ends a boot in the firmware, and at once.
#[test]
fn an_empty_disk_is_not_bootable_by_bios() {
    let Some(host) = qemu() else { return };
    let report = boot_disk(&host, Firmware::Bios, &[0; 1 << 20], |_| {});
    let fault = report.fault().expect("an empty disk does not boot");
    assert!(fault.what.contains("no bootable device"), "{fault:?}");
    assert!(fault.hint.is_some());
    assert!(fault.stage <= Stage::Loader);
    assert!(report.facts.is_none() && report.checks.is_empty());
}

#[test]
fn an_empty_disk_is_not_bootable_by_uefi() {
    let (Some(host), Some(firmware)) = (qemu(), ovmf()) else { return };
    let report = boot_disk(&host, firmware, &[0; 1 << 20], |_| {});
    let fault = report.fault().expect("an empty disk does not boot");
    assert!(fault.what.contains("no bootable device"), "{fault:?}");
}

/// Boot code that only loops: the loader stage began, and its deadline names it.
#[test]
fn a_loader_that_hangs_is_named() {
    let Some(host) = qemu() else { return };
    let mut stages = Vec::new();
    let report = boot_disk(&host, Firmware::Bios, &boot_sector(b"\xeb\xfe"), |event| {
        if let BootEvent::Stage(stage) = event {
            stages.push(*stage);
        }
    });
    assert_eq!(stages, [Stage::Firmware, Stage::Loader]);
    let fault = report.fault().expect("it hangs");
    assert_eq!(fault.stage, Stage::Loader);
    assert!(fault.what.contains("nothing further came within"), "{fault:?}");
}

/// `mov al, 0xfe; out 0x64, al` resets a PC.
#[test]
fn a_machine_that_resets_is_seen() {
    let Some(host) = qemu() else { return };
    let code = boot_sector(b"\xb0\xfe\xe6\x64\xeb\xfe");
    let report = boot_disk(&host, Firmware::Bios, &code, |_| {});
    assert!(report.fault().expect("it resets").what.contains("reset itself"));
}

/// Boot code that writes to the disk by the BIOS: the file stays as it was, and so the report is
/// about it; but it proves nothing.
#[test]
fn an_artefact_is_never_written() {
    let Some(host) = qemu() else { return };
    // mov ax,0x0301; mov bx,0x7c00; mov cx,2; mov dx,0x80; int 0x13; hlt loop
    let code = boot_sector(b"\xb8\x01\x03\xbb\x00\x7c\xb9\x02\x00\xba\x80\x00\xcd\x13\xf4\xeb\xfd");
    let folder = tempfile::tempdir().unwrap();
    let artefact = artefact(folder.path(), &code);
    let report = boot_in(&host, folder.path(), &artefact, Firmware::Bios, &mut |_| {});
    assert_eq!(Artefact::open(artefact.path(), Format::Raw).unwrap(), artefact);
    assert!(matches!(report.outcome, Outcome::Failed(_)));
    let result = Verified::by(artefact, &[report]);
    assert!(matches!(result, Err(Unverified::Failed { .. })));
}

#[test]
fn a_kernel_without_a_root_panics() {
    let (Some(host), Some(image)) = (qemu(), kernel()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let artefact = artefact(folder.path(), &[0; 1 << 20]);
    let mut scenario = scenario(Firmware::Bios);
    let command_line = "console=ttyS0 panic=0".to_owned();
    scenario.memory = 512;
    scenario.patience = 1.0;
    scenario.kernel = Some(Kernel { image, initrd: None, command_line });
    let expect = Expect::default();
    let report = boot(&artefact, &scenario, &expect, &host, folder.path(), &mut |_| {}).unwrap();
    let fault = report.fault().expect("there is no root");
    assert!(fault.what.contains("could not mount its root"), "{fault:?}");
    assert_eq!(fault.stage, Stage::Kernel);
    assert!(fault.last_lines.iter().any(|line| line.contains("Kernel panic")));
}

/// A boot that failed leaves everything that helps to see why.
#[test]
fn a_failure_keeps_its_traces() {
    let Some(host) = qemu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let artefact = artefact(folder.path(), &[0; 1 << 20]);
    let report = boot_in(&host, folder.path(), &artefact, Firmware::Bios, &mut |_| {});
    let kept = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(String::from_utf8_lossy(&kept(&report.files.firmware)).contains("SeaBIOS"));
    assert!(kept(&report.files.command).starts_with(b"qemu-system-x86_64"));
    assert!(kept(report.files.screenshot.as_deref().unwrap()).starts_with(b"\x89PNG"));
    kept(&report.files.serial);
    kept(&report.files.qemu);
}

/// Whatever this host has, the probe comes to a result and says why.
#[test]
fn the_accelerator_is_probed() {
    let Some(host) = qemu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let firmware = ovmf().unwrap_or(Firmware::Bios);
    let probe = accel::probe(&firmware, &host, folder.path()).unwrap();
    println!("{}: {}", probe.accelerator.name(), probe.why);
    assert!(!probe.why.is_empty());
}

/// 512 bytes of code that a BIOS starts, on a disk of 1 MiB.
fn boot_sector(code: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..code.len()].copy_from_slice(code);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

fn boot_disk(
    host: &Sandbox,
    firmware: Firmware,
    disk: &[u8],
    mut on_event: impl FnMut(&BootEvent),
) -> BootReport {
    let folder = tempfile::tempdir().unwrap();
    let artefact = artefact(folder.path(), disk);
    boot_in(host, folder.path(), &artefact, firmware, &mut on_event)
}

fn artefact(folder: &Path, disk: &[u8]) -> Artefact {
    let path = folder.join("disk, with a comma.raw");
    fs::write(&path, disk).unwrap();
    Artefact::open(&path, Format::Raw).unwrap()
}

fn boot_in(
    host: &Sandbox,
    folder: &Path,
    artefact: &Artefact,
    firmware: Firmware,
    on_event: &mut dyn FnMut(&BootEvent),
) -> BootReport {
    boot(artefact, &scenario(firmware), &Expect::default(), host, folder, on_event).unwrap()
}

fn scenario(firmware: Firmware) -> Scenario {
    let probe = Probe { accelerator: Accelerator::Tcg, why: "a test".into() };
    let mut scenario = Scenario::new(firmware, probe);
    scenario.memory = 128;
    scenario.patience = 0.5;
    scenario
}

fn kernel() -> Option<PathBuf> {
    let named = std::env::var_os("COREMAX_TEST_KERNEL").map(PathBuf::from);
    let found = named.or_else(|| {
        let entries = fs::read_dir("/boot").ok()?.filter_map(Result::ok);
        entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/vmlinuz-"))
    });
    if found.is_none() {
        skip("no kernel in COREMAX_TEST_KERNEL nor in /boot");
    }
    found
}

fn qemu() -> Option<Sandbox> {
    let host = Sandbox::host();
    match Cmd::new("qemu-system-x86_64", &host).arg("--version").run() {
        Ok(_) => Some(host),
        Err(error) => {
            skip(format_args!("{error}: it is in the package qemu-system-x86"));
            None
        }
    }
}

fn ovmf() -> Option<Firmware> {
    let shipped = include_str!("../../../firmware/firmware.toml");
    let local = shipped.split("[ovmf-prebuilt]").next().unwrap();
    match Sources::parse(local).unwrap().locate(Path::new("/"), Path::new("/nonexistent")) {
        Ok(located) => Some(Firmware::Uefi(located)),
        Err(error) => {
            skip(format_args!("{error}: it is in the package ovmf"));
            None
        }
    }
}
