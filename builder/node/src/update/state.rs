//! The state of the slots, read from and written to the ESP: GRUB's blocks, or the names of systemd-boot's entries.

use anyhow::{Context, Result};
use coremax_node_api::{
    env,
    slot::{
        Esp, FOLDER, Loader, Slot, State,
        entries::{self, Change, ENTRIES, Entry},
        grub::{Blocks, Description, SLOT},
    },
};

use super::{Medium, Place};

/// What an entry is called until it is whole.
const NEW: &str = "coremax.new";

/// The state as the loader sees it: where nothing of one is on the ESP, that of a new disk.
pub(crate) fn load(medium: &dyn Medium) -> Result<State> {
    State::read(&Files(medium))
}

/// The ESP of a medium.
struct Files<'a>(&'a dyn Medium);

impl Esp for Files<'_> {
    type Error = anyhow::Error;

    fn has(&self, path: &str) -> Result<bool> {
        let length = self.0.length(&Place::File(path.to_owned()));
        Ok(length.with_context(|| format!("looking for {path} on the ESP"))?.is_some())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        Ok(small(self.0, path)?.unwrap_or_default())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let names = self.0.list(folder);
        Ok(names.with_context(|| format!("listing {folder} on the ESP"))?.unwrap_or_default())
    }
}

/// Makes `to` the state, a block or an entry at a time.
pub(crate) fn save(medium: &mut dyn Medium, to: &State) -> Result<()> {
    if let Some(names) = names(medium)? {
        let changes = entries::changes(names.iter().map(String::as_str), to);
        return changes.into_iter().try_for_each(|change| enact(medium, change));
    }
    for (path, content) in Blocks::read(&Files(medium))?.changes(to) {
        write(medium, &path, &content).with_context(|| format!("writing {path} on the ESP"))?;
    }
    Ok(())
}

/// Keeps the loader away from a slot that is to be written.
pub(super) fn leave(medium: &mut dyn Medium, slot: Slot) -> Result<()> {
    // Those that are empty, too.
    let names = match loader(medium)? {
        Loader::Grub => return Ok(()),
        Loader::SystemdBoot => Files(medium).names(ENTRIES)?,
    };
    let entries = entries::entries_of(names.iter().map(String::as_str), slot);
    entries.into_iter().try_for_each(|entry| enact(medium, Change::Remove(entry)))
}

/// What starts the slots. A disk that does not tell is not written to: it would be told then, and perhaps wrongly.
pub(super) fn loader(medium: &dyn Medium) -> Result<Loader> {
    Loader::find(&Files(medium))?.context(
        "the ESP has neither GRUB's blocks in /coremax nor systemd-boot's /loader/loader.conf",
    )
}

/// The names of systemd-boot's entries; none where GRUB is the loader.
fn names(medium: &dyn Medium) -> Result<Option<Vec<String>>> {
    match loader(medium)? {
        Loader::Grub => Ok(None),
        Loader::SystemdBoot => entries::names(&Files(medium)).map(Some),
    }
}

fn enact(medium: &mut dyn Medium, change: Change) -> Result<()> {
    let path = |entry: Entry| format!("{ENTRIES}/{entry}");
    let done = match change {
        Change::Remove(entry) => medium.remove(&path(entry)),
        Change::Rename(from, to) => medium.rename(&path(from), &path(to)),
        Change::Write(entry) => {
            let title = description(medium, entry.slot)?.map(|found| found.title);
            let content = entries::content(entry.slot, &title.unwrap_or_default());
            let new = format!("{ENTRIES}/{NEW}");
            write(medium, &new, content.as_bytes()).and_then(|()| medium.rename(&new, &path(entry)))
        }
    };
    done.and_then(|()| medium.sync_folder(ENTRIES))
        .with_context(|| format!("changing {ENTRIES} on the ESP"))
}

/// What a slot holds; none for a slot that is not whole.
pub(crate) fn description(medium: &dyn Medium, slot: Slot) -> Result<Option<Description>> {
    let block = small(medium, &format!("{FOLDER}/{slot}/{SLOT}"))?;
    Ok(block.and_then(|block| Description::parse(&block).ok()))
}

/// GRUB writes to where a file lies, so a block that is there is written over and not replaced.
fn write(medium: &mut dyn Medium, path: &str, content: &[u8]) -> std::io::Result<()> {
    let place = Place::File(path.to_owned());
    let is_new = medium.length(&place)? != Some(content.len() as u64);
    if is_new {
        medium.create(path)?;
    }
    medium.write_at(&place, 0, content)?;
    medium.sync(&place)?;
    let folder = path.rsplit_once('/').map_or(FOLDER, |(folder, _)| folder);
    if is_new { medium.sync_folder(folder) } else { Ok(()) }
}

/// A file no longer than a block is; none where there is no such file.
fn small(medium: &dyn Medium, path: &str) -> Result<Option<Vec<u8>>> {
    let place = Place::File(path.to_owned());
    let read = || {
        let Some(length) = medium.length(&place)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(env::LONGEST).min(env::LONGEST)];
        medium.read_at(&place, 0, &mut bytes)?;
        Ok::<_, std::io::Error>(Some(bytes))
    };
    read().with_context(|| format!("reading {path} on the ESP"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::recorder::{Disk, Recorder},
        *,
    };

    /// A disk of systemd-boot's whose slot b holds version 2.
    fn sealed() -> Recorder {
        let (title, version) = ("node 2".to_owned(), "2".to_owned());
        let description = Description { title, version, command_line: "quiet".into() };
        let files = [
            (entries::SETTINGS.to_owned(), b"editor no\n".to_vec()),
            (format!("{ENTRIES}/{}", Entry::NEW), entries::content(Slot::A, "node 1").into_bytes()),
            (format!("{FOLDER}/b/{SLOT}"), description.encode().unwrap()),
        ];
        let places = files.map(|(path, content)| (Place::File(path), content)).into();
        Recorder::new(Disk { places, ..Disk::default() })
    }

    #[test]
    fn a_trial_in_the_names_of_entries() {
        let mut medium = sealed();
        assert_eq!(load(&medium).unwrap(), State::NEW);
        let to = State::NEW.begin_trial(Slot::B).unwrap();
        save(&mut medium, &to).unwrap();
        assert_eq!(load(&medium).unwrap(), to);
        let entry = Place::File(format!("{ENTRIES}/coremax-2-b+3-0.conf"));
        assert_eq!(medium.now.places[&entry], entries::content(Slot::B, "node 2").into_bytes());
        save(&mut medium, &to.bless(Slot::B)).unwrap();
        assert_eq!(load(&medium).unwrap(), State { blessed: Slot::B, trial: None });
        leave(&mut medium, Slot::A).unwrap();
        assert_eq!(names(&medium).unwrap().unwrap(), ["coremax-2-b.conf"]);
    }

    /// As a cut in the middle of a rename leaves it on FAT.
    #[test]
    fn an_empty_entry_is_none() {
        let mut medium = sealed();
        let entry = Place::File(format!("{ENTRIES}/coremax-2-b+3-0.conf"));
        medium.now.places.insert(entry.clone(), Vec::new());
        assert_eq!(load(&medium).unwrap(), State::NEW);
        let to = State::NEW.begin_trial(Slot::B).unwrap();
        save(&mut medium, &to).unwrap();
        assert_eq!(load(&medium).unwrap(), to);
        assert!(!medium.now.places[&entry].is_empty());
        medium.now.places.insert(entry.clone(), Vec::new());
        leave(&mut medium, Slot::B).unwrap();
        assert!(!medium.now.places.contains_key(&entry));
    }

    #[test]
    fn power_may_go_while_a_trial_begins() {
        let mut medium = sealed();
        let to = State::NEW.begin_trial(Slot::B).unwrap();
        save(&mut medium, &to).unwrap();
        for done in 0..=medium.ops.len() {
            for is_there in [false, true] {
                let left = Recorder::new(medium.cut(done, || is_there));
                let state = load(&left).unwrap();
                assert!(state == State::NEW || state == to, "after {done}: {state:?}");
            }
        }
        let left = Recorder::new(medium.cut(medium.ops.len(), || false));
        assert_eq!(load(&left).unwrap(), to);
    }
}
