//! The journal of a deployment: a file that grows, each record on the disk before what follows it is done. Where it would
//! be too long it is written anew, with what says what comes next and no more.
//!
//! ```text
//! CRC JSON LF        CRC-32 (ISO 3309) of the JSON, 8 hex digits; one object a line
//! ```
//!
//! What a cut of power leaves of the last record is no record: it is cut off, and its work is done again. A line that is
//! none in the midst of others is a damaged disk, and nothing is deployed by it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use coremax_node_api::join::{Digest, Formation};
use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};

use super::decide::needed;
use crate::durable;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// Bytes of a journal, at most, read or written. Set here: some 3000 attempts, and all of them are in memory.
const LONGEST: u64 = 1 << 20;
/// Its mode: what a step is called says what is deployed.
const MODE: u32 = 0o600;

/// What happened. Times are in milliseconds since 1970, by the seed's clock, and decide nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what", deny_unknown_fields)]
pub(super) enum Record {
    /// This formation is deployed.
    Begin { formation: Formation, at: i64 },
    /// A step is about to be run.
    Start { epoch: u64, step: String, inputs: Digest, at: i64 },
    /// It ended.
    End { epoch: u64, step: String, code: i32, is_skipped: bool, at: i64 },
    /// All of them are done, for these rows.
    Finish { rows: Digest, at: i64 },
    /// Machines that came after that are taken in.
    Late { at: i64 },
}

/// A file at whose end is written. What is not synced may be lost, or half there.
pub(super) trait Medium {
    /// All of it.
    fn read(&mut self) -> io::Result<Vec<u8>>;
    /// Leaves so many bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Adds to its end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Brings it to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Puts these in place of all of it: the disk has them when this returns, and before either of the two.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A journal that was read, and is written on.
#[derive(Debug)]
pub(super) struct Journal<M> {
    medium: M,
    records: Vec<Record>,
    /// Bytes.
    length: u64,
}

impl<M: Medium> Journal<M> {
    /// Reads it, and cuts off what a cut of power left of a record.
    pub(super) fn read(mut medium: M) -> Result<Self> {
        let bytes = medium.read()?;
        let (records, whole) = parse(&bytes)?;
        if whole < bytes.len() {
            medium.truncate(whole as u64).context("cutting off half a record")?;
            medium.sync().context("cutting off half a record")?;
        }
        Ok(Self { medium, records, length: whole as u64 })
    }

    /// What happened so far.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns when it is on the disk. After an error the journal is read again before it is used: there may be half a
    /// record at its end.
    pub(super) fn write(&mut self, record: Record) -> Result<()> {
        let failed = "writing the deployment's journal";
        let line = line(&record).context(failed)?;
        let is_full = |length: u64| length + line.len() as u64 > LONGEST;
        if is_full(self.length) {
            self.shorten().context("writing the deployment's journal anew")?;
            ensure!(!is_full(self.length), "the deployment's journal is full: {LONGEST} bytes");
        }
        self.medium.append(line.as_bytes()).context(failed)?;
        self.medium.sync().context(failed)?;
        self.length += line.len() as u64;
        self.records.push(record);
        Ok(())
    }

    fn shorten(&mut self) -> Result<()> {
        let records = needed(&self.records);
        let text: String = records.iter().map(line).collect::<serde_json::Result<_>>()?;
        self.medium.replace(text.as_bytes())?;
        (self.records, self.length) = (records, text.len() as u64);
        Ok(())
    }
}

fn line(record: &Record) -> serde_json::Result<String> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{:08x} {json}\n", CRC.checksum(json.as_bytes())))
}

/// The records, and how many bytes they are.
fn parse(bytes: &[u8]) -> Result<(Vec<Record>, usize)> {
    let mut records = Vec::new();
    let mut whole = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let json = whole_line(line);
        let Some(record) = json.and_then(record) else {
            // What is whole and no record of ours may be that of a newer version: it is not ours to cut off.
            if json.is_some() {
                bail!("record {} is of another version", records.len() + 1);
            }
            let after = &bytes[whole + line.len()..];
            let is_last =
                after.split_inclusive(|byte| *byte == b'\n').all(|line| whole_line(line).is_none());
            if !is_last {
                bail!("record {} is damaged, and others follow it", records.len() + 1);
            }
            break;
        };
        records.push(record);
        whole += line.len();
    }
    Ok((records, whole))
}

/// The JSON of a line that is as it was written.
fn whole_line(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (crc, json) = line.split_once(' ')?;
    (crc == format!("{:08x}", CRC.checksum(json.as_bytes()))).then_some(json)
}

fn record(json: &str) -> Option<Record> {
    serde_json::from_str(json).ok()
}

/// A real file.
#[derive(Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    file: File,
}

impl OnDisk {
    /// Opens it; a new one is in its folder for good when this returns.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(MODE).open(path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { path: path.to_owned(), file })
    }
}

impl Medium for OnDisk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&self.file).take(LONGEST + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 {
            0..=LONGEST => Ok(bytes),
            _ => Err(io::Error::other(format!("it is longer than {LONGEST} bytes"))),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        durable::replace(&self.path, bytes, MODE)?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use coremax_node_api::{
        guid::Guid,
        join::{Edition, NodeKey},
    };
    use proptest::prelude::*;

    use super::*;

    fn end(code: i32) -> Record {
        Record::End { epoch: 1, step: "ping".into(), code, is_skipped: false, at: 5 }
    }

    fn text(records: &[Record]) -> Vec<u8> {
        records.iter().flat_map(|record| line(record).unwrap().into_bytes()).collect()
    }

    #[test]
    fn what_a_newer_version_wrote_is_not_cut_off() {
        let newer = r#"{"what":"else","at":5}"#;
        let line = format!("{:08x} {newer}\n", CRC.checksum(newer.as_bytes()));
        let bytes = [text(&[end(0)]), line.into_bytes()].concat();
        assert!(parse(&bytes).unwrap_err().to_string().contains("record 2 is of another version"));
    }

    #[test]
    fn one_that_is_full_is_written_anew_and_no_longer_than_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let open = || Journal::read(OnDisk::open(&path).unwrap()).unwrap();
        let start = || Record::Start { epoch: 1, step: "ping".into(), inputs: [7; 32], at: 5 };
        let begin = Record::Begin { formation: formation(), at: 5 };
        let attempts = usize::try_from(LONGEST).unwrap() / text(&[start(), end(1)]).len();
        let mut all = vec![begin.clone()];
        all.extend((0..attempts).flat_map(|_| [start(), end(1)]));
        while text(&all).len() as u64 > LONGEST {
            all.pop();
        }
        std::fs::write(&path, text(&all)).unwrap();
        let mut journal = open();
        journal.write(start()).unwrap();
        journal.write(end(3)).unwrap();
        let now = open().records().to_vec();
        assert_eq!((now.first(), now.last()), (Some(&begin), Some(&end(3))));
        assert!(now.len() < 9, "{now:?}");
        journal.write(end(4)).unwrap();
        assert_eq!(open().records().len(), now.len() + 1, "it is the new file that is written on");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        // Nothing in this one can go: a name is longer than all there may be.
        let step = "x".repeat(usize::try_from(LONGEST).unwrap());
        let record = Record::Start { epoch: 1, step, inputs: [0; 32], at: 0 };
        let error = open().write(record).unwrap_err().to_string();
        assert_eq!(error, "the deployment's journal is full: 1048576 bytes");
        open().write(end(0)).unwrap();
    }

    fn formation() -> Formation {
        Formation {
            cluster: Guid::literal(1),
            edition: Edition::default(),
            generation: 0,
            seed: NodeKey([1; 32]),
        }
    }

    #[test]
    fn a_real_file_is_read_as_it_was_written_whatever_a_cut_left_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let open = || Journal::read(OnDisk::open(&path).unwrap()).unwrap();
        let mut journal = open();
        journal.write(end(1)).unwrap();
        journal.write(end(0)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole, text(&[end(1), end(0)]));
        for left in [&whole[..20], b"\0\0\0\0", b"\0\n\0\n", b"deadbeef {}\n"] {
            std::fs::write(&path, [&whole, left].concat()).unwrap();
            assert_eq!(open().records(), [end(1), end(0)]);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
            open().write(end(2)).unwrap();
            assert_eq!(open().records().len(), 3);
            std::fs::write(&path, &whole).unwrap();
        }
    }

    #[test]
    fn damage_in_the_midst_is_told() {
        let whole = text(&[end(1), end(2), end(3)]);
        let line = whole.len() / 3;
        for at in [0, line - 1, line, line + 20] {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            let error = parse(&bad).unwrap_err().to_string();
            assert!(error.contains("is damaged"), "{at}: {error}");
        }
        let mut last = whole.clone();
        last[2 * line + 20] ^= 1;
        assert_eq!(parse(&last).unwrap(), (vec![end(1), end(2)], 2 * line));
    }

    proptest! {
        #[test]
        fn every_prefix_is_the_records_that_are_whole(count in 0i32..5, cut in 0usize..600) {
            let records: Vec<_> = (0..count).map(end).collect();
            let whole = text(&records);
            let cut = cut.min(whole.len());
            let (read, length) = parse(&whole[..cut]).unwrap();
            prop_assert_eq!(&records[..read.len()], &read[..]);
            prop_assert_eq!(text(&read).len(), length);
            prop_assert!(cut - length < 200);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
