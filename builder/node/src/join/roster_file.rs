//! The signed roster that an operator puts on the seed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use coremax_node_api::{
    join::Hardware,
    roster::{Mode, Roster, signed},
    update::key::PublicKey,
};

/// Its place, and which file was there last.
#[derive(Debug)]
pub(super) struct RosterFile {
    pub path: PathBuf,
    seen: Option<Stamp>,
}

/// Another file has another one.
type Stamp = (u64, i64, i64, u64);

impl RosterFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// Whether there is one that makes this machine the seed.
    pub(super) fn makes_seed(mut self, operators: &[PublicKey], hardware: &Hardware) -> bool {
        let bytes = self.changed().and_then(Result::ok).unwrap_or_default();
        signed::open(&bytes, operators).is_ok_and(|roster| makes_seed(&roster, hardware))
    }

    /// What is in it, if that is another file than the last time.
    pub(super) fn changed(&mut self) -> Option<io::Result<Vec<u8>>> {
        let file = fs::metadata(&self.path).ok()?;
        let stamp = Some((file.ino(), file.ctime(), file.ctime_nsec(), file.len()));
        if self.seen == stamp {
            return None;
        }
        self.seen = stamp;
        Some(File::open(&self.path).and_then(signed::read))
    }
}

/// Whether a roster that is given to this machine makes it the seed: its row means it, or none means any.
pub(super) fn makes_seed(roster: &Roster, hardware: &Hardware) -> bool {
    let row = roster.node(&roster.seed);
    let matches = row.and_then(|row| row.matches.as_ref());
    match roster.mode {
        Mode::Pool => true,
        Mode::Static => matches.is_some_and(|matches| hardware.is_meant_by(matches)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_for_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RosterFile::new(folder.path().join("roster"));
        assert!(file.changed().is_none());
        for text in ["one", "other"] {
            fs::write(&file.path, text).unwrap();
            assert_eq!(file.changed().unwrap().unwrap(), text.as_bytes());
            assert!(file.changed().is_none());
        }
    }
}
