//! Power that goes at any write: what QEMU recorded of an update is laid onto the disk write by write, and
//! after each one the loader's rule must lead to a slot that is whole, of one version, with its root where
//! early boot looks for it.
//!
//! The record (QEMU's blklogwrites) is that of dm-log-writes: a sector with `magic`, `version`, number of
//! entries, and sector size, then for each entry a sector with place, length, flags and, but for discards, what
//! was written. <https://docs.kernel.org/admin-guide/device-mapper/log-writes.html>

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use coremax_node_api::{
    slot::{
        self, FOLDER, INITRD, KERNEL, Slot,
        grub::{BLESSED, BLESSED_COPY, Blocks, Description, SLOT, TRIAL},
    },
    update::{Digest, Kind, Manifest, Reader, key},
    verity::RootHash,
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, expect};

use crate::{
    MOUNT, Stage, builds,
    guest::{Disk, Guest},
    says,
};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const DISCARD: u64 = 4;
/// The longest record that is replayed, in entries. Set by this test: an update takes a few thousand.
const LONGEST: u64 = 1 << 20;

/// An update from version 1 to version 2, recorded, then replayed.
pub(crate) fn of_an_update(stage: &Stage) -> Outcome {
    builds::full()?;
    let folder = stage.work.join("cuts");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let [disk, log] = ["disk.raw", "writes.log"].map(|name| folder.join(name));
    raw(stage, &disk)?;
    File::create(&log).map_err(|e| e.to_string())?;
    record(stage, &disk, &log, &folder)?;
    raw(stage, &disk)?;
    let versions = ["1", "2"].map(|version| manifest(stage, version));
    let [one, two] = versions;
    replay(&log, &mut Replayed::new(&disk, [one?, two?])?)
}

fn raw(stage: &Stage, disk: &Path) -> Outcome {
    let convert = Cmd::new("qemu-img", &Sandbox::host()).args(["convert", "-O", "raw"]);
    let convert = convert.arg(builds::image(stage, "1")).arg(disk).run();
    convert.map(drop).map_err(|e| format!("skipped: {e}: it is in the package qemu-utils"))
}

fn record(stage: &Stage, disk: &Path, log: &Path, folder: &Path) -> Outcome {
    let files = builds::updates(stage)?;
    let mut guest = Guest::start(&Disk::Recorded { disk, log }, &files, folder)?;
    guest.up()?;
    guest.runs(MOUNT)?;
    says(&guest.runs("coremax-node update /mnt/2")?, &["node 2 is in slot b"])?;
    guest.power_off()
}

fn manifest(stage: &Stage, version: &str) -> Result<Manifest, String> {
    let keys = fs::read_to_string(stage.work.join("update.key.pub")).map_err(|e| e.to_string())?;
    let keys = key::parse_public(&keys).map_err(|e| e.to_string())?;
    let update = File::open(builds::update(stage, version)).map_err(|e| e.to_string())?;
    Ok(Reader::open(update, &keys).map_err(|e| e.to_string())?.manifest().clone())
}

/// Lays each entry onto the disk and looks at it.
fn replay(log: &Path, disk: &mut Replayed) -> Outcome {
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
            let look = disk.lay(place * sector, &bytes)?;
            if look {
                disk.look().map_err(|e| format!("after write {number} of {entries}: {e}"))?;
            }
        }
    }
    println!("         {entries} writes, {} looked at; {:?} booted", disk.looks, disk.booted);
    expect(disk.booted == [Slot::A, Slot::B], || "the update never came to boot".into())
}

fn numbers(log: &File, at: u64) -> io::Result<[u64; 4]> {
    let mut bytes = [0; 32];
    log.read_exact_at(&mut bytes, at)?;
    let number =
        |n: usize| bytes[n * 8..].iter().take(8).rev().fold(0, |n, b| n << 8 | u64::from(*b));
    Ok([0, 1, 2, 3].map(number))
}

/// The disk after some of the writes.
struct Replayed {
    disk: File,
    versions: [Manifest; 2],
    /// Begin and end of the ESP.
    esp: (u64, u64),
    /// Begin and end of each slot's partitions, and of the data.
    slots: [(u64, u64); 2],
    data: (u64, u64),
    /// The slots whose partitions were not looked at since they were written.
    written: [bool; 2],
    looks: usize,
    /// The slots that would have booted, in their order.
    booted: Vec<Slot>,
}

impl Replayed {
    fn new(path: &Path, versions: [Manifest; 2]) -> Result<Self, String> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        let mut disk = open.map_err(|e| e.to_string())?;
        let table = gptman::GPT::find_from(&mut disk).map_err(|e| e.to_string())?;
        let find = |name: &str| {
            let found =
                table.iter().find(|(_, partition)| partition.partition_name.as_str() == name);
            let (_, found) = found.ok_or_else(|| format!("there is no partition {name}"))?;
            let span = (found.starting_lba * 512, (found.ending_lba + 1) * 512);
            Ok::<_, String>(span)
        };
        let slot =
            |name: &str| Ok::<_, String>((find(name)?.0, find(&format!("{name}-verity"))?.1));
        let (esp, slots, data) = (find("esp")?, [slot("root-a")?, slot("root-b")?], find("data")?);
        let (written, booted) = ([true; 2], Vec::new());
        Ok(Self { disk, versions, esp, slots, data, written, looks: 0, booted })
    }

    /// Whether the write could decide anything: of what lies outside the ESP and the table, only the slot
    /// does that boots.
    fn lay(&mut self, at: u64, bytes: &[u8]) -> Result<bool, String> {
        self.disk.write_all_at(bytes, at).map_err(|e| e.to_string())?;
        let end = at + bytes.len() as u64;
        let within = |(from, to): (u64, u64)| at >= from && end <= to;
        if within(self.data) {
            return Ok(false);
        }
        for (slot, number) in [(Slot::A, 0), (Slot::B, 1)] {
            if within(self.slots[number]) {
                self.written[number] = true;
                return Ok(self.booted.last() == Some(&slot));
            }
        }
        Ok(true)
    }

    /// The slot that boots now is whole.
    fn look(&mut self) -> Outcome {
        self.looks += 1;
        let block = |name: &str| self.read(&format!("{FOLDER}/{name}")).unwrap_or_default();
        let blocks =
            Blocks { blessed: block(BLESSED), copy: block(BLESSED_COPY), trial: block(TRIAL) };
        let (booted, _) = slot::boot(&blocks.state(), |slot| self.describe(slot).is_some());
        let booted = booted.ok_or("no slot boots")?;
        let version = self.describe(booted).ok_or("it is not described")?.version;
        let whole = self.is_whole(booted, &version);
        whole.map_err(|e| format!("slot {booted} boots version {version}, and {e}"))?;
        if self.booted.last() != Some(&booted) {
            self.booted.push(booted);
        }
        Ok(())
    }

    fn is_whole(&mut self, slot: Slot, version: &str) -> Outcome {
        let known = self.versions.iter().find(|known| known.version.as_str() == version);
        let manifest = &known.ok_or("nobody made it")?.clone();
        for (kind, name) in
            [(Kind::Kernel, KERNEL), (Kind::Initrd, INITRD), (Kind::Description, SLOT)]
        {
            let bytes = self.read(&format!("{FOLDER}/{slot}/{name}")).unwrap_or_default();
            expect(Digest::of(bytes) == manifest.part(kind).sha256, || {
                format!("{name} is not its")
            })?;
        }
        self.root_is_whole(slot, manifest)
    }

    /// The slot's partitions, found by their ids. Those that nobody wrote to are as they were.
    fn root_is_whole(&mut self, slot: Slot, manifest: &Manifest) -> Outcome {
        let [root, verity] = RootHash::from_bytes(*manifest.root_hash.as_bytes()).partition_guids();
        let root = self.partition(&format!("root-{slot}"), root.to_gpt())?;
        let verity = self.partition(&format!("root-{slot}-verity"), verity.to_gpt())?;
        let [system, site, tree] =
            [Kind::System, Kind::Site, Kind::Verity].map(|k| manifest.part(k));
        let number = usize::from(slot == Slot::B);
        if !std::mem::take(&mut self.written[number]) {
            return Ok(());
        }
        for (part, at) in [(system, root), (site, root + system.size), (tree, verity)] {
            let mut bytes = vec![0; usize::try_from(part.size).unwrap_or_default()];
            self.disk.read_exact_at(&mut bytes, at).map_err(|e| e.to_string())?;
            expect(Digest::of(bytes) == part.sha256, || format!("its {} is another", part.kind))?;
        }
        Ok(())
    }

    /// Where the partition with this name begins, if it has this id.
    fn partition(&self, name: &str, id: [u8; 16]) -> Result<u64, String> {
        let mut disk = &self.disk;
        let table = gptman::GPT::find_from(&mut disk).map_err(|e| format!("the table: {e}"))?;
        let is_it = |partition: &gptman::GPTPartitionEntry| {
            partition.partition_name.as_str() == name && partition.unique_partition_guid == id
        };
        let found = table.iter().find(|(_, partition)| is_it(partition));
        let (_, found) = found.ok_or_else(|| format!("{name} has not its root's id"))?;
        Ok(found.starting_lba * 512)
    }

    fn describe(&self, slot: Slot) -> Option<Description> {
        let path = |name: &str| format!("{FOLDER}/{slot}/{name}");
        let is_there = |name: &str| self.open(&path(name), |_| Some(())).is_some();
        if !is_there(KERNEL) || !is_there(INITRD) {
            return None;
        }
        Description::parse(&self.read(&path(SLOT))?).ok()
    }

    /// A file on the ESP; none where it cannot be read.
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.open(path, |file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).ok()?;
            Some(bytes)
        })
    }

    fn open<T>(&self, path: &str, work: impl FnOnce(&mut dyn Read) -> Option<T>) -> Option<T> {
        let (begin, end) = self.esp;
        let esp = Window { disk: &self.disk, begin, length: end - begin, at: 0 };
        let fat = fatfs::FileSystem::new(esp, fatfs::FsOptions::new()).ok()?;
        let mut file = fat.root_dir().open_file(path).ok()?;
        work(&mut file)
    }
}

/// A part of a disk, which is only read.
struct Window<'a> {
    disk: &'a File,
    begin: u64,
    length: u64,
    at: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let read = self.disk.read_at(&mut buffer[..count], self.begin + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// fatfs notes there that a volume is in use; nothing of that is kept.
impl Write for Window<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
