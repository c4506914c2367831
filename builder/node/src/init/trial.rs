//! A boot of a version on trial: systemd is given the units that bless it, or give it up.
//!
//! They are enabled in /run, so that every other boot knows nothing of them.

use std::{
    convert::Infallible,
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
};

use anyhow::{Context, Result};
use coremax_node_api::{
    early_boot::TRIAL,
    slot::{Esp, State},
};

use super::{console, esp, mounts};

/// Where systemd finds what holds for one boot.
const FOR_THIS_BOOT: &str = "/run/systemd/system";
const UNITS: &str = "/usr/lib/systemd/system";
/// Units of the image, and what starts them.
const WANTED: [(&str, &str); 3] = [
    ("sysinit.target", "coremax-deadline.timer"),
    ("multi-user.target", "coremax-bless.service"),
    ("emergency.target", "coremax-fallback.service"),
];

/// Enables the units if the slot that boots is on trial.
pub(crate) fn prepare(slot: Option<&str>) {
    let Some(slot) = slot.and_then(|slot| slot.parse().ok()) else { return };
    if !state(Path::new(esp::AT)).is_on_trial(slot) {
        return;
    }
    console::log(&format!("slot {slot} is on trial"));
    if let Err(error) = enable() {
        console::log(&format!("the trial will not be blessed: {error:#}"));
    }
}

fn state(esp: &Path) -> State {
    let Ok(state) = State::read(&Mounted(esp));
    state
}

/// The ESP where it is mounted. What cannot be read is read as the loader reads it: as nothing.
struct Mounted<'a>(&'a Path);

impl Esp for Mounted<'_> {
    type Error = Infallible;

    fn has(&self, path: &str) -> Result<bool, Infallible> {
        Ok(self.0.join(path).exists())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Infallible> {
        Ok(fs::read(self.0.join(path)).unwrap_or_default())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, Infallible> {
        let entries = fs::read_dir(self.0.join(folder)).into_iter().flatten().flatten();
        Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }
}

fn enable() -> Result<()> {
    for (by, unit) in WANTED {
        let folder = Path::new(FOR_THIS_BOOT).join(format!("{by}.wants"));
        mounts::folder(&folder)?;
        symlink(Path::new(UNITS).join(unit), folder.join(unit))
            .with_context(|| format!("enabling {unit}"))?;
    }
    File::create(TRIAL).map(drop).with_context(|| format!("making {TRIAL}"))
}

#[cfg(test)]
mod tests {
    use coremax_node_api::slot::{
        FOLDER, Slot, Trial,
        entries::{self, ENTRIES},
        grub::Blocks,
    };

    use super::*;

    #[test]
    fn the_state_as_the_loader_has_it() {
        let esp = tempfile::tempdir().unwrap();
        assert_eq!(state(esp.path()), State::NEW);
        let folder = esp.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        let trial = Some(Trial { slot: Slot::B, tries: 1 });
        let blocks = Blocks::of(&State { trial, ..State::NEW });
        fs::write(folder.join("blessed.env"), blocks.blessed).unwrap();
        fs::write(folder.join("trial.env"), blocks.trial).unwrap();
        let found = state(esp.path());
        assert!(found.is_on_trial(Slot::B) && !found.is_on_trial(Slot::A));
        fs::create_dir_all(esp.path().join(ENTRIES)).unwrap();
        for name in ["coremax-1-b.conf", "coremax-2-a+2-1.conf"] {
            fs::write(esp.path().join(ENTRIES).join(name), "efi /kernel\n").unwrap();
        }
        fs::write(esp.path().join(ENTRIES).join("coremax-3-b+3-0.conf"), "").unwrap(); // by a cut
        assert!(state(esp.path()).is_on_trial(Slot::B), "entries are nothing beside GRUB's blocks");
        fs::write(esp.path().join(entries::SETTINGS), "").unwrap();
        fs::remove_file(folder.join("blessed.env")).unwrap();
        assert!(state(esp.path()).is_on_trial(Slot::B), "one block is enough");
        fs::remove_dir_all(folder).unwrap();
        assert!(state(esp.path()).is_on_trial(Slot::A));
        fs::remove_file(esp.path().join(entries::SETTINGS)).unwrap();
        assert_eq!(state(esp.path()), State::NEW, "nor are they without systemd-boot's settings");
    }
}
