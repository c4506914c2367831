//! A disk by its partitions.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};

use crate::failed;

/// Bytes compared or copied at once.
const PIECE: usize = 1 << 20;
const SECTOR: u64 = 512;
/// What layers of one partition begin at multiples of.
const LAYER: u64 = 4096;

/// A raw disk.
pub(super) struct Disk {
    /// By name.
    pub(super) partitions: Vec<(String, Slice)>,
    /// What comes before the first of them: the table and what starts the machine.
    begin: Slice,
    /// The table in words.
    table: Vec<String>,
}

/// A part of a disk.
pub(super) struct Slice {
    disk: PathBuf,
    start: u64,
    length: u64,
    /// Where files that are cut out go.
    work: PathBuf,
}

impl Disk {
    /// The disk of an image, raw or qcow2.
    pub(super) fn open(image: &Path, work: &Path) -> Result<Self, String> {
        let disk = if image.extension().is_some_and(|extension| extension == "qcow2") {
            let raw = work.join("disk.raw");
            let program = Cmd::new("qemu-img", &Sandbox::host()).args(["convert", "-O", "raw"]);
            program.arg(image).arg(&raw).run().map_err(|error| failed(&error, "qemu-utils"))?;
            raw
        } else {
            image.to_owned()
        };
        let mut file = File::open(&disk).map_err(|e| format!("{}: {e}", disk.display()))?;
        let table =
            gptman::GPT::find_from(&mut file).map_err(|e| format!("{}: {e}", disk.display()))?;
        let used: Vec<_> = table.iter().filter(|(_, entry)| entry.is_used()).collect();
        let slice = |start: u64, end: u64| {
            let (start, length) = (start * SECTOR, (end - start) * SECTOR);
            Slice { disk: disk.clone(), start, length, work: work.to_owned() }
        };
        let first = used.iter().map(|(_, entry)| entry.starting_lba).min().unwrap_or(0);
        let partitions = used.iter().map(|(_, entry)| {
            (entry.partition_name.to_string(), slice(entry.starting_lba, entry.ending_lba + 1))
        });
        let table = used.iter().map(|(number, entry)| format!("{number}: {entry:?}"));
        Ok(Self {
            partitions: partitions.collect(),
            begin: slice(0, first),
            table: table.collect(),
        })
    }

    /// In the table, or before the partitions.
    pub(super) fn table_differences(&self, other: &Self) -> Vec<String> {
        let theirs = |line: &&String| !other.table.contains(line);
        let mut lines: Vec<_> =
            self.table.iter().filter(theirs).map(|line| format!("table: {line}")).collect();
        match self.begin.first_difference(&other.begin) {
            Ok(Some(at)) if lines.is_empty() => {
                lines.push(format!("before the partitions: the bytes from {at} on"));
            }
            Ok(_) => {}
            Err(error) => lines.push(format!("before the partitions: {error}")),
        }
        lines
    }
}

impl Slice {
    /// Where the first byte is that differs.
    pub(super) fn first_difference(&self, other: &Self) -> Result<Option<u64>, String> {
        if self.length != other.length {
            return Ok(Some(self.length.min(other.length)));
        }
        let (one, two) = (self.open()?, other.open()?);
        let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
        let mut at = 0;
        while at < self.length {
            let piece = usize::try_from(self.length - at).map_or(PIECE, |left| left.min(PIECE));
            let (ours, theirs) = (&mut ours[..piece], &mut theirs[..piece]);
            let read = one.read_exact_at(ours, self.start + at);
            read.and_then(|()| two.read_exact_at(theirs, other.start + at))
                .map_err(|e| e.to_string())?;
            if ours != theirs {
                let within = ours.iter().zip(&*theirs).position(|(one, two)| one != two);
                return Ok(Some(at + within.unwrap_or(0) as u64));
            }
            at += piece as u64;
        }
        Ok(None)
    }

    /// The file systems of squashfs that lie in it one after the other.
    pub(super) fn layers(&self) -> Result<Vec<Self>, String> {
        let mut layers = Vec::new();
        let mut at = 0;
        while at < self.length && self.bytes::<4>(at)? == *b"hsqs" {
            let length = u64::from_le_bytes(self.bytes(at + 40)?);
            layers.push(self.part(at, length));
            at += length.next_multiple_of(LAYER);
        }
        Ok(layers)
    }

    pub(super) fn is_ext4(&self) -> Result<bool, String> {
        Ok(self.length > 2048 && self.bytes(1024 + 56)? == [0x53, 0xef])
    }

    pub(super) fn is_fat(&self) -> Result<bool, String> {
        Ok(self.bytes(510)? == [0x55, 0xaa] && [self.bytes(54)?, self.bytes(82)?].contains(b"FAT"))
    }

    /// It alone, as a file.
    pub(super) fn cut_out(&self) -> Result<PathBuf, String> {
        let path = self.work.join(format!("{}", self.start));
        let copy = || -> io::Result<()> {
            let (disk, file) = (File::open(&self.disk)?, File::create(&path)?);
            file.set_len(self.length)?;
            let mut piece = vec![0; PIECE];
            for at in (0..self.length).step_by(PIECE) {
                let length =
                    usize::try_from(self.length - at).map_or(PIECE, |left| left.min(PIECE));
                disk.read_exact_at(&mut piece[..length], self.start + at)?;
                // Most of a data partition is a hole.
                if piece[..length].iter().any(|byte| *byte != 0) {
                    file.write_all_at(&piece[..length], at)?;
                }
            }
            Ok(())
        };
        copy().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    fn part(&self, start: u64, length: u64) -> Self {
        let (disk, work) = (self.disk.clone(), self.work.clone());
        Self { disk, start: self.start + start, length, work }
    }

    fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.open()?.read_exact_at(&mut bytes, self.start + at).map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    fn open(&self) -> Result<File, String> {
        File::open(&self.disk).map_err(|e| format!("{}: {e}", self.disk.display()))
    }
}
