//! Early boot, tried with a real kernel in QEMU: a root of two layers under veritysetup's tree, on a
//! disk of sgdisk's and mke2fs's making, and a busybox for the system that it hands over to.
//!
//! `COREMAX_KERNEL` names a folder with boot/vmlinuz-* and lib/modules/*; without it Debian's kernel
//! is downloaded once. `COREMAX_NODE` names the node program to try instead of this build's.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

mod disk;
mod initrd;
mod kit;
mod machine;

use std::time::Duration;

use disk::Disk;
use kit::{Kit, kit};
use machine::{Machine, Said};

/// What a healthy boot's guest says last.
const DONE: &str = "guest: done";

fn boot(kit: &Kit, disk: &Disk, more: &str) -> Said {
    Machine::start(kit, &[disk], &kit.command_line(more)).until(DONE)
}

#[test]
fn a_first_boot_hands_over_and_the_second_finds_what_it_left() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    let first = boot(kit, &disk, "coremax.slot=a");
    println!("first boot\n{}", first.progress());
    first.holds("root verified: system");
    first.holds("guest: system-file site-file"); // both layers, the upper one seen
    first.holds("guest: hidden file is gone");
    first.holds("guest: / is read-only");
    first.holds("guest: /var/lib/seeded 12:34 750 link");
    first.holds("guest: made /etc/made was no");
    first.holds("guest: arguments single");
    first.holds(
        "\"slot\":\"a\",\"disk\":\"vda\",\"data\":{\"kept\":true,\"problem\":null,\"grown\":false",
    );
    let second = boot(kit, &disk, "");
    println!("second boot\n{}", second.progress());
    second.holds("guest: made /etc/made was yes");
    second.holds("guest: made /var/made was yes");
    disk.is_sound();
}

#[test]
fn a_larger_disk_is_filled() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    disk.resize(512);
    let said = boot(kit, &disk, "");
    println!("{}", said.progress());
    said.holds("\"grown\":true");
    let size = said.number("guest: data has MiB ");
    assert!((420..480).contains(&size), "{size}");
    disk.is_sound();
    let again = boot(kit, &disk, "");
    again.holds("\"grown\":false");
    again.holds("guest: made /var/made was yes");
}

#[test]
fn a_torn_primary_table_is_mended_from_the_backup() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    disk.flip(512 + 40);
    let said = boot(kit, &disk, "");
    said.holds("\"kept\":true");
    disk.is_sound();
}

#[test]
fn a_flipped_byte_in_the_root_is_an_error() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    disk.flip(disk::ROOT + 20);
    let said = Machine::start(kit, &[&disk], &kit.command_line("panic=1")).until("Starting anew");
    println!("{}", said.progress());
    said.holds("is corrupted");
    said.holds("Booting failed: opening the root: its data may not be what its hash says");
    said.holds("What to do: ");
}

#[test]
fn a_flipped_byte_in_a_file_is_an_error_when_it_is_read() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    disk.flip(disk::ROOT + kit.large_file_at);
    let said = boot(kit, &disk, "");
    said.holds("is corrupted");
    said.holds("guest: large file unreadable");
}

#[test]
fn a_flipped_byte_in_the_tree_is_an_error() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    disk.flip(disk::VERITY + 4096 + 5);
    let said = Machine::start(kit, &[&disk], &kit.command_line("panic=1")).until("Starting anew");
    said.holds("is corrupted");
}

#[test]
fn another_hash_is_looked_for_and_what_is_there_is_said() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    let line =
        format!("{} coremax.root={} coremax.wait=2 panic=2", machine::CONSOLE, "ab".repeat(32));
    let said = Machine::start(kit, &[&disk], &line).until_it_ends(Duration::from_secs(300));
    println!("{}", said.told());
    said.holds("root    PARTUUID abababab-abab-abab-abab-abababababab");
    said.holds("/dev/vda  96 MiB");
    said.holds("data           PARTUUID ");
    said.holds("What to do: ");
    said.holds("Starting anew in 2 s");
}

#[test]
fn for_debugging_there_is_a_shell() {
    let Some(kit) = kit() else { return };
    let mut machine = Machine::start(kit, &[], &kit.command_line("coremax.wait=1 coremax.debug"));
    machine.wait_for("leave it with exit");
    // What is typed before its prompt may be lost: a shell that edits lines sets the terminal anew.
    machine.wait_for("/ # ");
    machine.types("echo shell-$((40+2)); exit\n");
    machine.wait_for("shell-42");
}

#[test]
fn a_disk_that_comes_late_is_booted() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    let mut machine = Machine::start(kit, &[], &kit.command_line("coremax.wait=1"));
    machine.wait_for("Waiting: booting goes on");
    machine.plug(&disk);
    let said = machine.until(DONE);
    said.holds("no disk at all");
    said.holds("\"kept\":true");
}

#[test]
fn without_a_data_partition_memory_takes_its_place() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    disk.rename_data("other");
    let said = boot(kit, &disk, "");
    said.holds("The data partition: there is none on the root's disk.");
    said.holds("\"data\":{\"kept\":false,\"problem\":\"there is none");
    said.holds("guest: /var/lib/seeded 12:34 750 link");
    boot(kit, &disk, "coremax.data=none").holds("\"kept\":false,\"problem\":null");
}

#[test]
fn a_broken_data_partition_is_repaired_or_said() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    boot(kit, &disk, "").holds("\"repaired\":false");
    disk.zero(disk::DATA + 1024, 1024); // the superblock, which has copies
    let said = boot(kit, &disk, "");
    said.holds("\"kept\":true,\"problem\":null,\"grown\":false,\"repaired\":true");
    said.holds("guest: made /var/made was yes");
    disk.zero(disk::DATA, 64 << 20);
    let said = boot(kit, &disk, "");
    said.holds("e2fsck could not repair it");
    said.holds("\"kept\":false");
}

#[test]
fn a_full_data_partition_boots_and_says_so() {
    let Some(kit) = kit() else { return };
    let disk = Disk::new(kit);
    boot(kit, &disk, "fill").holds("guest: filled");
    let said = boot(kit, &disk, "");
    said.holds("The data partition: it is full");
    said.holds("\"kept\":true,\"problem\":\"it is full");
    said.holds("guest: made /etc/made was yes");
}
