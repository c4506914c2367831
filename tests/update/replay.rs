//! A disk after some of the writes that were recorded, as the loader, early boot and e2fsck see it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use coremax_node_api::{
    slot::{
        self, FOLDER, INITRD, KERNEL, Loader, Slot, State,
        entries::{self, ENTRIES, Entry},
        grub::{BLESSED, BLESSED_COPY, Blocks, Description, SLOT, TRIAL},
    },
    update::{Digest, Kind, Manifest},
    verity::RootHash,
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, expect, failed};

/// A sector, in bytes.
const SECTOR: u64 = 512;
/// What e2fsck ends with that has replayed a journal: all is well, or was mended.
const MENDED: i32 = 1;

/// Bytes of the disk, from the first to the one behind the last.
type Span = (u64, u64);

/// The disk after some of the writes.
pub(crate) struct Replayed {
    disk: File,
    /// The data partition alone, where e2fsck gets copies of it from.
    data: File,
    data_path: PathBuf,
    versions: Vec<Manifest>,
    loader: Loader,
    esp: Span,
    slots: [Span; 2],
    /// As long as the disk lets it grow.
    data_span: Span,
    /// The slots whose partitions were not looked at since they were written.
    written: [bool; 2],
    pub(crate) looks: usize,
    pub(crate) checks: usize,
    /// The slots that would have booted, in their order.
    pub(crate) booted: Vec<Slot>,
}

impl Replayed {
    pub(crate) fn new(
        path: &Path,
        versions: Vec<Manifest>,
        loader: Loader,
    ) -> Result<Self, String> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        let mut disk = open.map_err(|e| e.to_string())?;
        let length = disk.metadata().map_err(|e| e.to_string())?.len();
        let table = gptman::GPT::find_from(&mut disk).map_err(|e| e.to_string())?;
        let find = |name: &str| {
            let found =
                table.iter().find(|(_, partition)| partition.partition_name.as_str() == name);
            let (_, found) = found.ok_or_else(|| format!("there is no partition {name}"))?;
            Ok::<_, String>((found.starting_lba * SECTOR, (found.ending_lba + 1) * SECTOR))
        };
        let slot =
            |name: &str| Ok::<_, String>((find(name)?.0, find(&format!("{name}-verity"))?.1));
        let (esp, slots, data) = (find("esp")?, [slot("root-a")?, slot("root-b")?], find("data")?);
        // The second table takes the last 33 sectors of the disk.
        let data_span = (data.0, length - 33 * SECTOR);
        let data_path = path.with_file_name("data.raw");
        let data = part(path, data, &data_path)?;
        data.set_len(data_span.1 - data_span.0).map_err(|e| e.to_string())?;
        Ok(Self {
            data,
            disk,
            data_path,
            versions,
            loader,
            esp,
            slots,
            data_span,
            written: [true; 2],
            looks: 0,
            checks: 0,
            booted: Vec::new(),
        })
    }

    /// Does a write, and looks at what it may have decided: the data, or which slot boots. What lies in a slot decides
    /// nothing unless it is the one that boots.
    pub(crate) fn lay(&mut self, at: u64, bytes: &[u8]) -> Outcome {
        self.disk.write_all_at(bytes, at).map_err(|e| e.to_string())?;
        let end = at + bytes.len() as u64;
        let within = |(from, to): Span| at >= from && end <= to;
        if within(self.data_span) {
            let place = at - self.data_span.0;
            self.data.write_all_at(bytes, place).map_err(|e| e.to_string())?;
            return self.check();
        }
        for (slot, number) in [(Slot::A, 0), (Slot::B, 1)] {
            if within(self.slots[number]) {
                self.written[number] = true;
                return if self.booted.last() == Some(&slot) { self.look() } else { Ok(()) };
            }
        }
        self.look()
    }

    /// The data needs no more than its journal.
    fn check(&mut self) -> Outcome {
        self.checks += 1;
        let copy = self.data_path.with_extension("copy");
        let copied = Cmd::new("cp", &Sandbox::host()).arg("--sparse=always");
        copied.args([&self.data_path, &copy]).run().map_err(|e| e.to_string())?;
        let e2fsck = Cmd::new("e2fsck", &Sandbox::host()).args(["-f", "-p"]).arg(&copy).output();
        let e2fsck = e2fsck.map_err(|e| failed(&e, "e2fsprogs"))?;
        let holds = e2fsck.status.code().is_some_and(|code| code <= MENDED);
        expect(holds, || format!("e2fsck: {}", String::from_utf8_lossy(&e2fsck.stdout)))
    }

    /// The slot that boots now is whole.
    pub(crate) fn look(&mut self) -> Outcome {
        self.looks += 1;
        let state = self.state()?;
        let (booted, _) = slot::boot(&state, |slot| self.describe(slot).is_some());
        let booted = booted.ok_or("no slot boots")?;
        let version = self.describe(booted).ok_or("it is not described")?.version;
        let whole = self.is_whole(booted, &version);
        whole.map_err(|e| format!("slot {booted} boots version {version}, and {e}"))?;
        if self.booted.last() != Some(&booted) {
            self.booted.push(booted);
        }
        Ok(())
    }

    fn state(&self) -> Result<State, String> {
        let block = |name: &str| self.read(&format!("{FOLDER}/{name}")).unwrap_or_default();
        match self.loader {
            Loader::Grub => {
                let (blessed, copy) = (block(BLESSED), block(BLESSED_COPY));
                Ok(Blocks { blessed, copy, trial: block(TRIAL) }.state())
            }
            Loader::SystemdBoot => {
                let mut names = self.names(ENTRIES).unwrap_or_default();
                // See `entries::names`: a rename on FAT that was cut.
                names.retain(|name| {
                    !self.read(&format!("{ENTRIES}/{name}")).unwrap_or_default().is_empty()
                });
                names.iter().try_for_each(|name| self.starts_its_slot(name))?;
                let state = entries::state(names.iter().map(String::as_str));
                state.ok_or_else(|| format!("no entry boots: {names:?}"))
            }
        }
    }

    /// An entry of ours starts the slot that its name says.
    fn starts_its_slot(&self, name: &str) -> Outcome {
        let Ok(entry) = name.parse::<Entry>() else { return Ok(()) };
        let content = self.read(&format!("{ENTRIES}/{name}")).unwrap_or_default();
        let content = String::from_utf8_lossy(&content);
        let wanted = format!("\nefi /{FOLDER}/{}/{KERNEL}\n", entry.slot);
        expect(content.ends_with(&wanted), || format!("{name} holds {content:?}"))
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
        Ok(found.starting_lba * SECTOR)
    }

    /// What a slot holds whose kernel its loader finds.
    fn describe(&self, slot: Slot) -> Option<Description> {
        let path = |name: &str| format!("{FOLDER}/{slot}/{name}");
        let is_there = |name: &str| self.open(&path(name), |_| Some(())).is_some();
        let needs_initrd = self.loader == Loader::Grub;
        if !is_there(KERNEL) || needs_initrd && !is_there(INITRD) {
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
        let fat = self.fat()?;
        let mut file = fat.root_dir().open_file(path).ok()?;
        work(&mut file)
    }

    /// The names in a folder of the ESP.
    fn names(&self, folder: &str) -> Option<Vec<String>> {
        let fat = self.fat()?;
        let folder = fat.root_dir().open_dir(folder).ok()?;
        Some(folder.iter().filter_map(Result::ok).map(|entry| entry.file_name()).collect())
    }

    fn fat(&self) -> Option<fatfs::FileSystem<Window<'_>>> {
        let (begin, end) = self.esp;
        let esp = Window { disk: &self.disk, begin, length: end - begin, at: 0 };
        fatfs::FileSystem::new(esp, fatfs::FsOptions::new()).ok()
    }
}

/// A copy of a part of the disk, which takes no room for what is empty.
fn part(disk: &Path, (begin, end): Span, path: &Path) -> Result<File, String> {
    Cmd::new("dd", &Sandbox::host())
        .args(["bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none"])
        .args([format!("skip={begin}"), format!("count={}", end - begin)])
        .args([format!("if={}", disk.display()), format!("of={}", path.display())])
        .run()
        .map_err(|e| e.to_string())?;
    OpenOptions::new().read(true).write(true).open(path).map_err(|e| e.to_string())
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
