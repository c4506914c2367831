//! The two slots of an image: which one boots, which one is trusted, and what is on trial.
//!
//! One slot is *blessed*: it has been healthy. The other may be on *trial*: it may boot a counted
//! number of times, and each boot is counted before it begins, so that a kernel that hangs, a panic
//! and a cut of power all count. When the count is used up the blessed slot boots, until somebody
//! begins another trial. [`choose`] is that rule. Two loaders follow it and keep the state:
//!
//! - [`grub`]: GRUB by a script, the state in environment blocks on the ESP;
//! - [`entries`]: systemd-boot by its own boot counting, the state in the names of its entries.

pub mod entries;
pub mod grub;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::update::Version;

/// How often a slot on trial may boot before the blessed one is taken again.
pub const TRIES: u8 = 3;
/// The folder on the ESP that holds what the loader needs: a folder a slot, and the state.
pub const FOLDER: &str = "coremax";
/// The kernel in a slot's folder.
pub const KERNEL: &str = "vmlinuz";
/// The initrd in a slot's folder.
pub const INITRD: &str = "initrd.img";
/// The word of a kernel's command line by which the loader says which slot it took.
pub const PARAMETER: &str = "coremax.slot";

/// The word of a kernel's command line that says which version the loader took.
pub const VERSION: &str = "coremax.version";

/// What starts a slot's kernel, and keeps the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// GRUB, which keeps it in [`grub`]'s blocks.
    Grub,
    /// systemd-boot, which keeps it in [`entries`]' names.
    SystemdBoot,
}

/// An ESP as far as the state on it is concerned.
pub trait Esp {
    /// What may go wrong in reading it.
    type Error;

    /// Whether a file is on it, by its path.
    ///
    /// # Errors
    /// Those of reading.
    fn has(&self, path: &str) -> Result<bool, Self::Error>;

    /// A small file; nothing where it is not there.
    ///
    /// # Errors
    /// Those of reading.
    fn read(&self, path: &str) -> Result<Vec<u8>, Self::Error>;

    /// The names in a folder; none where it is not there.
    ///
    /// # Errors
    /// Those of reading.
    fn names(&self, folder: &str) -> Result<Vec<String>, Self::Error>;
}

impl Loader {
    /// The loader of an ESP, if it has the files of one.
    ///
    /// Each loader's image brings files that nothing ever removes; of GRUB's blocks any will do, since damage may take
    /// one. A folder of entries alone says nothing: other programs make one, too.
    ///
    /// # Errors
    /// The ESP's.
    pub fn find<E: Esp>(esp: &E) -> Result<Option<Self>, E::Error> {
        for block in [grub::BLESSED, grub::BLESSED_COPY, grub::TRIAL] {
            if esp.has(&format!("{FOLDER}/{block}"))? {
                return Ok(Some(Self::Grub));
            }
        }
        Ok(esp.has(entries::SETTINGS)?.then_some(Self::SystemdBoot))
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grub => "GRUB",
            Self::SystemdBoot => "systemd-boot",
        })
    }
}

/// One of the two places that an image can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The slot that a new image comes in.
    A,
    /// The slot that the first update goes to.
    B,
}

/// A slot that is being tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub slot: Slot,
    /// How often it may still boot; 0 says that it was tried and not blessed.
    pub tries: u8,
}

/// What is remembered across boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The slot that was healthy last.
    pub blessed: Slot,
    /// The slot that is on trial, or failed its trial.
    pub trial: Option<Trial>,
}

/// What may not be done in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The running slot is on trial, so that the other one is all there is to fall back to.
    #[error("slot {running} runs on trial, and slot {blessed} is the one to fall back to")]
    OnTrial {
        /// The slot that runs.
        running: Slot,
        /// The slot that must be kept.
        blessed: Slot,
    },
    /// The blessed slot would be tried.
    #[error("slot {0} is blessed already")]
    Blessed(Slot),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OnTrial { .. } => Some(
                "wait until the node has blessed this version, or run `coremax-node bless` or `coremax-node rollback`"
                    .into(),
            ),
            Self::Blessed(_) => None,
        }
    }
}

/// The slot that boots, and the state that the loader leaves behind. It has counted by then.
pub fn choose(state: &State) -> (Slot, State) {
    match state.trial {
        Some(Trial { slot, tries: tries @ 1.. }) => {
            let trial = Some(Trial { slot, tries: tries - 1 });
            (slot, State { trial, ..*state })
        }
        _ => (state.blessed, *state),
    }
}

/// The slot that boots where some slots cannot be loaded: the chosen one or else the other, which
/// is not counted. None if neither can. `loads` says of a slot whether its kernel can be loaded.
pub fn boot(state: &State, loads: impl Fn(Slot) -> bool) -> (Option<Slot>, State) {
    let (slot, after) = choose(state);
    ([slot, slot.other()].into_iter().find(|slot| loads(*slot)), after)
}

impl State {
    /// What a new image has.
    pub const NEW: Self = Self { blessed: Slot::A, trial: None };

    /// As the loader sees it: where nothing of one is on the ESP, that of a new disk.
    ///
    /// # Errors
    /// The ESP's.
    pub fn read<E: Esp>(esp: &E) -> Result<Self, E::Error> {
        match Loader::find(esp)? {
            None => Ok(Self::NEW),
            Some(Loader::Grub) => Ok(grub::Blocks::read(esp)?.state()),
            Some(Loader::SystemdBoot) => {
                let names = entries::names(esp)?;
                Ok(entries::state(names.iter().map(String::as_str)).unwrap_or(Self::NEW))
            }
        }
    }

    /// The slot that an update is to be written to: not the one that runs, nor the blessed one.
    ///
    /// # Errors
    /// [`Error::OnTrial`].
    pub fn free_slot(&self, running: Slot) -> Result<Slot, Error> {
        if running != self.blessed {
            return Err(Error::OnTrial { running, blessed: self.blessed });
        }
        Ok(running.other())
    }

    /// From the next boot on `slot` is tried, [`TRIES`] times.
    ///
    /// # Errors
    /// [`Error::Blessed`].
    pub fn begin_trial(&self, slot: Slot) -> Result<Self, Error> {
        if slot == self.blessed {
            return Err(Error::Blessed(slot));
        }
        Ok(Self { trial: Some(Trial { slot, tries: TRIES }), ..*self })
    }

    /// Whether a boot of `running` is one of its trial, the last one included, which leaves no tries.
    pub fn is_on_trial(&self, running: Slot) -> bool {
        running != self.blessed && self.trial.is_some_and(|trial| trial.slot == running)
    }

    /// No slot is tried any more, and none is remembered as having failed.
    pub fn end_trial(&self) -> Self {
        Self { trial: None, ..*self }
    }

    /// `running` is healthy. A trial of the other slot, begun in this very boot perhaps, or failed
    /// before, stays as it is.
    pub fn bless(&self, running: Slot) -> Self {
        let trial = self.trial.filter(|trial| trial.slot != running);
        Self { blessed: running, trial }
    }

    /// Away from `running`, or from a trial that is to come. What is on trial has failed; what is
    /// blessed gives way to the other slot, which must prove itself as an update must: so a
    /// rollback to what does not work comes back too.
    pub fn roll_back(&self, running: Slot) -> Self {
        let trial = match self.trial {
            Some(Trial { slot, tries }) if tries > 0 || slot == running => Trial { slot, tries: 0 },
            _ if running != self.blessed => return *self,
            _ => Trial { slot: running.other(), tries: TRIES },
        };
        Self { trial: Some(trial), ..*self }
    }
}

impl Slot {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The one that this is not.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The slot that a kernel's command line says the loader took.
    pub fn of_command_line(text: &str) -> Option<Self> {
        of_command_line(text, PARAMETER)
    }
}

/// The version that a kernel's command line says the loader took.
pub fn version_of_command_line(text: &str) -> Option<Version> {
    of_command_line(text, VERSION)
}

/// The last value of `name` that is one.
fn of_command_line<T: FromStr>(text: &str, name: &str) -> Option<T> {
    let value = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    text.split_ascii_whitespace().rev().find_map(value)
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was offered as a slot is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a slot (a or b)")]
pub struct NotASlot(String);

impl FromStr for Slot {
    type Err = NotASlot;

    fn from_str(text: &str) -> Result<Self, NotASlot> {
        match text {
            "a" => Ok(Self::A),
            "b" => Ok(Self::B),
            _ => Err(NotASlot(text.chars().take(20).collect())),
        }
    }
}

#[cfg(test)]
mod tests;
