//! Power that goes at any write: what QEMU recorded of an update, or of a first boot, is laid onto the disk write by
//! write. After each one the loader's rule must lead to a slot that is whole, of one version, with its root where
//! early boot looks for it, and e2fsck must find nothing in the data that it does not mend by itself. A dozen of these
//! disks are booted, and come up from the slot that the rule leads to.
//!
//! The record (QEMU's blklogwrites) is that of dm-log-writes: a sector with `magic`, `version`, number of
//! entries, and sector size, then for each entry a sector with place, length, flags and, but for discards, what
//! was written. <https://docs.kernel.org/admin-guide/device-mapper/log-writes.html>

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use coremax_node_api::{
    slot::{Loader, Slot},
    update::{Manifest, Reader, key},
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{
    Firmware, Outcome, expect, failed, full,
    guest::{Disk, Guest, Machine},
};

use crate::{
    MOUNT, Stage,
    builds::{ONE, TWO, Version},
    equal,
    replay::Replayed,
    says, up,
};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const DISCARD: u64 = 4;
/// The longest record that is replayed, in entries. Set by this test: an update takes a few thousand.
const LONGEST: u64 = 1 << 20;
/// How many of the disks are booted.
const BOOTS: u64 = 12;
/// Bytes that the machine's disk has more than its image, so that the data partition grows.
const MORE: u64 = 1 << 30;

/// What is recorded and played back.
struct Cut<'a> {
    stage: &'a Stage,
    folder: PathBuf,
    firmware: Firmware,
    loader: Loader,
    /// The version on the disk, and what it is updated to, if it is.
    versions: &'a [Version],
    /// What boots in the course of it.
    booted: &'a [Slot],
}

/// An update from version 1 to version 2.
pub(crate) fn of_an_update(stage: &Stage) -> Outcome {
    full()?;
    let versions = &[ONE, TWO];
    let cut = Cut { versions, ..Cut::new(stage, "cuts", Firmware::Bios, Loader::Grub) };
    Cut { booted: &[Slot::A, Slot::B], ..cut }.play()
}

/// The same where the operator has signed all that boots.
pub(crate) fn of_a_sealed_update(stage: &Stage) -> Outcome {
    full()?;
    let firmware = stage.own_keys(ONE.sealed())?;
    let versions = &[ONE.sealed(), TWO.sealed()];
    let cut = Cut { versions, ..Cut::new(stage, "sealed-cuts", firmware, Loader::SystemdBoot) };
    Cut { booted: &[Slot::A, Slot::B], ..cut }.play()
}

/// A new machine, until it is up.
pub(crate) fn of_the_first_boot(stage: &Stage) -> Outcome {
    full()?;
    Cut::new(stage, "first-cuts", Firmware::Bios, Loader::Grub).play()
}

impl<'a> Cut<'a> {
    fn new(stage: &'a Stage, folder: &str, firmware: Firmware, loader: Loader) -> Self {
        let folder = stage.work.join(folder);
        Self { stage, folder, firmware, loader, versions: &[ONE], booted: &[Slot::A] }
    }

    fn play(&self) -> Outcome {
        fs::create_dir_all(&self.folder).map_err(|e| e.to_string())?;
        let (disk, log) = (self.path("disk.raw"), self.path("writes.log"));
        let updates = self.stage.files(&self.versions[1..], &self.folder)?;
        self.raw(&disk)?;
        File::create(&log).map_err(|e| e.to_string())?;
        self.record(&disk, &log, &updates)?;
        self.raw(&disk)?;
        let manifests = self.versions.iter().map(|version| manifest(self.stage, *version));
        let manifests = manifests.collect::<Result<_, _>>()?;
        let mut replayed = Replayed::new(&disk, manifests, self.loader)?;
        let (copy, mut boots) = (self.path("copy.raw"), 0);
        let entries = replay(&log, &mut replayed, |number, entries, slot| {
            let step = entries / BOOTS;
            if step == 0 || number % step != step / 2 {
                return Ok(());
            }
            boots += 1;
            self.boots(&disk, &copy, &updates, slot)
        })?;
        let Replayed { looks, checks, booted, .. } = &replayed;
        println!(
            "         {entries} writes: {looks} looks at the slots, {checks} at the data, {boots} boots"
        );
        expect(boots >= BOOTS, || format!("{boots} disks were booted"))?;
        expect(booted == self.booted, || format!("{booted:?} would have booted"))
    }

    /// The image of the first version as a disk.
    fn raw(&self, disk: &Path) -> Outcome {
        let convert = Cmd::new("qemu-img", &Sandbox::host()).args(["convert", "-O", "raw"]);
        let convert = convert.arg(self.stage.image(self.versions[0])?).arg(disk).run();
        convert.map_err(|e| failed(&e, "qemu-utils"))?;
        let longer = || {
            let disk = OpenOptions::new().write(true).open(disk)?;
            disk.set_len(disk.metadata()?.len() + MORE)
        };
        longer().map_err(|e| format!("{}: {e}", disk.display()))
    }

    fn record(&self, disk: &Path, log: &Path, updates: &Path) -> Outcome {
        let mut guest = self.start(Disk::Recorded { disk, log }, updates)?;
        guest.up()?;
        if let Some(version) = self.versions.get(1) {
            guest.runs(MOUNT)?;
            let said = guest.runs(&format!("coremax-node update /mnt/{}", version.file()))?;
            says(&said, &["node 2 is in slot b"])?;
        }
        guest.power_off()
    }

    /// A copy of the disk comes up from this slot, whose version is that of its place: the first one is in slot a.
    fn boots(&self, disk: &Path, copy: &Path, updates: &Path, slot: Slot) -> Outcome {
        let copied = Cmd::new("cp", &Sandbox::host()).arg("--sparse=always").args([disk, copy]);
        copied.run().map_err(|e| e.to_string())?;
        let version = self.versions.get(usize::from(slot == Slot::B));
        let version = version.ok_or_else(|| format!("nothing was written to slot {slot}"))?;
        equal(&self.start(Disk::Raw(copy), updates)?.up()?, &up(slot.as_str(), version.number))
    }

    fn start(&self, disk: Disk<'_>, files: &Path) -> Result<Guest, String> {
        Guest::start(&Machine::alone(&self.firmware, disk, files, &self.folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn manifest(stage: &Stage, version: Version) -> Result<Manifest, String> {
    let update = File::open(stage.update(version)?).map_err(|e| e.to_string())?;
    let keys = fs::read_to_string(stage.work.join("update.key.pub")).map_err(|e| e.to_string())?;
    let keys = key::parse_public(&keys).map_err(|e| e.to_string())?;
    Ok(Reader::open(update, &keys).map_err(|e| e.to_string())?.manifest().clone())
}

/// Lays each entry onto the disk and looks at it, and then lets `more` look, which is told the entry's number of how
/// many, and the slot that boots.
fn replay(
    log: &Path,
    disk: &mut Replayed,
    mut more: impl FnMut(u64, u64, Slot) -> Outcome,
) -> Result<u64, String> {
    let text = |e: io::Error| format!("reading {}: {e}", log.display());
    let log_file = File::open(log).map_err(text)?;
    let head = numbers(&log_file, 0).map_err(text)?;
    let (entries, sector) = (head[2], head[3] & 0xffff_ffff);
    expect(head[0] == MAGIC && entries < LONGEST, || format!("this is no record: {head:?}"))?;
    let mut at = sector;
    disk.look().map_err(|e| format!("before any write: {e}"))?;
    for number in 0..entries {
        let [place, length, flags, _] = numbers(&log_file, at).map_err(text)?;
        at += sector;
        if flags & DISCARD == 0 && length > 0 {
            let mut bytes = vec![0; usize::try_from(length * sector).unwrap_or_default()];
            log_file.read_exact_at(&mut bytes, at).map_err(text)?;
            at += length * sector;
            let after = |e| format!("after write {number} of {entries}: {e}");
            disk.lay(place * sector, &bytes).map_err(after)?;
        }
        let slot = *disk.booted.last().ok_or("no slot boots")?;
        more(number, entries, slot).map_err(|e| format!("the disk after write {number}: {e}"))?;
    }
    Ok(entries)
}

fn numbers(log: &File, at: u64) -> io::Result<[u64; 4]> {
    let mut bytes = [0; 32];
    log.read_exact_at(&mut bytes, at)?;
    let number =
        |n: usize| bytes[n * 8..].iter().take(8).rev().fold(0, |n, b| n << 8 | u64::from(*b));
    Ok([0, 1, 2, 3].map(number))
}
