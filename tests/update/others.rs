//! Machines of their own: for versions that do not come to anything, and for the other firmware and loader.

use coremax_tests::{
    Firmware, Outcome, expect, full,
    guest::{Disk, Guest, Machine},
};

use crate::{
    Stage, blessed,
    builds::{DISSECTING, HANGS, LATE, ONE, PANICS, SICK, TWO, Version},
    equal, falls_back, refuses, says, up, update,
};

/// As often as the loader tries a version.
const TRIES: usize = 3;

pub(crate) fn panics(stage: &Stage) -> Outcome {
    let guest = gives_way(stage, "panics", PANICS, &[])?;
    equal(&guest.console().matches("Kernel panic - not syncing: sysrq").count(), &TRIES)
}

pub(crate) fn hangs(stage: &Stage) -> Outcome {
    let guest = gives_way(stage, "hangs", HANGS, &[])?;
    equal(&guest.watchdogs(), &TRIES)
}

pub(crate) fn late(stage: &Stage) -> Outcome {
    gives_way(stage, "late", LATE, &["did not show its health in time"]).map(drop)
}

pub(crate) fn by_uefi(stage: &Stage) -> Outcome {
    full()?;
    let mut guest = new(stage, "uefi", &Firmware::Uefi, ONE, &[TWO, SICK, TWO.sealed()])?;
    refuses(
        &mut guest,
        &TWO.sealed().file(),
        &["made for systemd-boot, which is not what starts"],
    )?;
    both_ways(&mut guest, TWO, SICK)
}

pub(crate) fn sealed(stage: &Stage) -> Outcome {
    full()?;
    let firmware = stage.own_keys(ONE.sealed())?;
    let versions = [TWO.sealed(), SICK.sealed(), TWO];
    let mut guest = new(stage, "sealed", &firmware, ONE.sealed(), &versions)?;
    refuses(&mut guest, &TWO.file(), &["made for GRUB, which is not what starts"])?;
    both_ways(&mut guest, TWO.sealed(), SICK.sealed())
}

pub(crate) fn dissected(stage: &Stage) -> Outcome {
    full()?;
    let mut guest = new(stage, "dissected", &Firmware::Bios, DISSECTING, &[])?;
    let hash = "grep -o 'coremax.root=[0-9a-f]*' /proc/cmdline | cut -d= -f2";
    let hash = guest.runs(hash)?;
    // The running root's partitions are in use: the disk is looked at through another one.
    let disk = guest.runs("losetup --read-only --partscan --find --show /dev/vda")?;
    let dissect = format!("systemd-dissect --root-hash={hash} {disk}");
    let table = guest.runs(&dissect)?;
    // RW DESIGNATOR PARTITION-UUID PARTITION-LABEL FSTYPE ARCHITECTURE VERITY ...
    let is_verified = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(1) == Some(&"root") && ["squashfs", "yes"].iter().all(|word| words.contains(word))
    };
    expect(table.lines().any(is_verified), || format!("no verified root in:\n{table}"))?;
    // Mounted with its hashes checked, and read.
    let read = format!(
        "{dissect} --read-only --mkdir --mount /run/dissected && cat /run/dissected/etc/os-release"
    );
    says(&guest.runs(&read)?, &["ID=debian"])?;
    // Its partitions have other ids: there is no root of this hash. (One of zeros is no hash to systemd-dissect.)
    let did = guest.run(&dissect.replacen(&hash, &"1".repeat(64), 1))?;
    expect(!did.ok, || format!("another hash has a root, too: {}", did.said))?;
    says(&did.said, &["No root partition for specified root hash"])
}

/// A new machine by BIOS after it has tried a bad version and given it up.
fn gives_way(
    stage: &Stage,
    name: &str,
    version: Version,
    wanted: &[&str],
) -> Result<Guest, String> {
    full()?;
    let mut guest = new(stage, name, &Firmware::Bios, ONE, &[version])?;
    falls_back(&mut guest, version, wanted)?;
    Ok(guest)
}

/// Forth to a good version from version 1, back, and forth to a bad one, which gives way.
fn both_ways(guest: &mut Guest, good: Version, bad: Version) -> Outcome {
    equal(&update(guest, good, good.number)?, &up("b", good.number))?;
    blessed(guest)?;
    says(&guest.runs("coremax-node rollback")?, &["to go back to 1 in slot a"])?;
    equal(&guest.restart_until("1")?, &up("a", "1"))?;
    blessed(guest)?;
    falls_back(guest, bad, &["sick.service", "to go back to 1 in slot a"])
}

/// A new machine that has come up.
fn new(
    stage: &Stage,
    name: &str,
    firmware: &Firmware,
    version: Version,
    updates: &[Version],
) -> Result<Guest, String> {
    let work = stage.work.join(name);
    let disk = stage.disk(version, &work)?;
    let files = stage.files(updates, &work)?;
    let machine = Machine::alone(firmware, Disk::Kept(&disk), &files, &work);
    let mut guest = Guest::start(&machine)?;
    equal(&guest.up()?, &up("a", version.number))?;
    Ok(guest)
}
