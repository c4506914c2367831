//! Reading every place that may tell a machine its cluster.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
};

use anyhow::Result;
use coremax_node_api::{
    identity::{FW_CFG, FW_CFG_ROSTER, LONGEST, Place, Reading, command_line::CommandLine},
    roster::signed,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use zeroize::Zeroizing;

use super::{command_line, media, openstack, smbios};

/// What is said where none of them has anything.
pub(crate) const TRIED: &str = "no coremax.identity= on the kernel's command line, no SMBIOS string of type 11, no fw_cfg file, no volume labelled COREMAX, cidata or \
    config-2 has an identity, and no metadata service of OpenStack's; `coremax cluster seed-medium` makes one";
/// The tables as firmware has them; what is below `entries` there takes a module that nothing loads.
const TABLES: &str = "/sys/firmware/dmi/tables/DMI";
/// Bytes of the tables, at most. Set by us: servers with a hundred memory modules have 20 kB.
const TABLES_MAX: u64 = 1 << 20;
const QEMU: &str = "/sys/firmware/qemu_fw_cfg/by_name";
/// What is at one place.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) reading: Reading,
    pub(crate) roster: Roster,
}

/// The signed roster beside an identity, as it is there; nothing where none is.
pub(crate) type Roster = Option<io::Result<Vec<u8>>>;

pub(super) fn there(read: io::Result<Vec<u8>>) -> Roster {
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        read => Some(read),
    }
}

/// What every place has, those that have nothing left out. Where a machine has kept its identity nothing is waited for: volumes
/// are [`media::seen_again`]'s then.
///
/// # Errors
/// Where this machine cannot be looked at, which says nothing of any place.
pub(crate) fn read(kept: &Path, line: &CommandLine) -> Result<Vec<Found>> {
    let kept = file(Place::Kept, kept);
    let own = kept.as_ref().and_then(|reading| Some(reading.document.as_ref().ok()?.cluster));
    let bare = |reading| Found { reading, roster: None };
    let (named, volumes) = match own {
        Some(own) => (command_line::against(line, own).map(bare), Vec::new()),
        None => (command_line::found(line), media::all()?),
    };
    let alone = strings(Path::new(TABLES)).into_iter().chain(kept).map(bare);
    let mut all: Vec<_> = named.into_iter().chain(alone).chain(fw_cfg()).chain(volumes).collect();
    // Nobody waits for the network who was told otherwise.
    if all.is_empty() {
        all.extend(openstack::at_service().map(bare));
    }
    if own.is_none() {
        let of_cluster =
            |found: Found| Found { reading: found.reading.of_cluster(line.cluster), ..found };
        all = all.into_iter().map(of_cluster).collect();
    }
    Ok(all)
}

fn fw_cfg() -> Option<Found> {
    let at = |name: &str| Path::new(QEMU).join(name).join("raw");
    let reading = file(Place::FwCfg, &at(FW_CFG))?;
    let roster = File::open(at(FW_CFG_ROSTER)).and_then(signed::read);
    Some(Found { reading, roster: there(roster) })
}

/// A file that is the document; nothing where it is not there.
fn file(place: Place, path: &Path) -> Option<Reading> {
    let opened = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let read =
        opened.map_err(io::Error::from).and_then(|file| secret(&mut File::from(file), LONGEST));
    reading(place, path.display().to_string(), read)
}

pub(super) fn reading(
    place: Place,
    at: String,
    read: io::Result<Zeroizing<Vec<u8>>>,
) -> Option<Reading> {
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Reading { place, at, document: Err(error.to_string()) }),
        Ok(bytes) => Some(Reading::of(place, at, &bytes)),
    }
}

/// One byte more than there are at most, so that what is longer is seen to be. Never moved, so that it can be cleared.
pub(super) fn secret(file: &mut dyn Read, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; most + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..])? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// The strings of SMBIOS that are ours.
fn strings(tables: &Path) -> Vec<Reading> {
    let at = || tables.display().to_string();
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(tables).and_then(|file| file.take(TABLES_MAX).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            vec![Reading { place: Place::Smbios, at: at(), document: Err(error.to_string()) }]
        }
        Ok(_) => {
            let documents = smbios::documents(&bytes).into_iter();
            let reading = |document: Result<Zeroizing<Vec<u8>>, String>| match document {
                Ok(bytes) => Reading::of(Place::Smbios, at(), &bytes),
                Err(why) => Reading { place: Place::Smbios, at: at(), document: Err(why) },
            };
            documents.map(reading).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use coremax_node_api::wire::ROSTER_MAX;

    use super::*;

    #[test]
    fn tables_that_are_not_there_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(strings(&folder.path().join("none")), []);
        let document = strings(folder.path()).remove(0).document;
        assert!(document.is_err(), "a folder cannot be read, which is no silence");
    }

    #[test]
    fn no_more_is_read_than_a_document_has() {
        let mut endless = io::repeat(b' ');
        assert_eq!(secret(&mut endless, LONGEST).unwrap().len(), LONGEST + 1);
        assert_eq!(signed::read(&mut endless).unwrap().len(), ROSTER_MAX + 1);
        let mut text: &[u8] = b"short";
        assert_eq!(**secret(&mut text, LONGEST).unwrap(), *b"short");
    }

    #[test]
    fn a_file_that_is_too_long_is_broken_and_one_that_is_not_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.json");
        assert_eq!(file(Place::FwCfg, &path), None);
        fs::write(&path, " ".repeat(LONGEST + 1)).unwrap();
        let why = file(Place::FwCfg, &path).unwrap().document.unwrap_err();
        assert!(why.contains("longer"), "{why}");
    }
}
