//! The state of the slots as GRUB keeps it: environment blocks on the ESP.
//!
//! ```text
//! /coremax/blessed.env    blessed=a|b             written by the node alone, when it blesses
//! /coremax/blessed2.env   the same                written after the first is on the disk
//! /coremax/trial.env      trying=a|b, tries=3..0  counted down by GRUB before it boots that slot;
//!                                                 without variables when nothing is on trial
//! /coremax/a/, /coremax/b/
//!     vmlinuz, initrd.img
//!     slot.env            title=, version=, command_line=
//! ```
//!
//! A slot without `slot.env` is none: it is removed before anything else of a slot is changed, and
//! comes back when all of it is on the disk. The three blocks of the state are never made anew but
//! written over, one sector each: GRUB writes to where a file lies, and a sector is whole or not
//! there. Should one be torn all the same, or be anything else:
//!
//! - `trial.env`: nothing is on trial;
//! - `blessed.env`: `blessed2.env` decides. It may be one blessing older, and then names the slot
//!   that was good before;
//! - both: slot a is tried first, and slot b if a cannot be loaded. Either was healthy once, or is
//!   the slot an update was being written to, which has no `slot.env`.

use super::{FOLDER, Slot, State, TRIES, Trial};
use crate::env::{self, Env};

/// The block that names the blessed slot, in [`FOLDER`].
pub const BLESSED: &str = "blessed.env";
/// Its copy.
pub const BLESSED_COPY: &str = "blessed2.env";
/// The block that counts the boots of the slot on trial.
pub const TRIAL: &str = "trial.env";
/// The block that describes a slot, in the slot's folder.
pub const SLOT: &str = "slot.env";

/// The three blocks as they are found; one that cannot be read is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    /// [`BLESSED`].
    pub blessed: Vec<u8>,
    /// [`BLESSED_COPY`].
    pub copy: Vec<u8>,
    /// [`TRIAL`].
    pub trial: Vec<u8>,
}

/// What [`SLOT`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What the menu calls the slot.
    pub title: String,
    /// The version of the image in it.
    pub version: String,
    /// The kernel's arguments with a space between them.
    pub command_line: String,
}

impl Blocks {
    /// The blocks as they are on an ESP.
    ///
    /// # Errors
    /// The ESP's.
    pub fn read<E: super::Esp>(esp: &E) -> Result<Self, E::Error> {
        let block = |name| esp.read(&format!("{FOLDER}/{name}"));
        Ok(Self { blessed: block(BLESSED)?, copy: block(BLESSED_COPY)?, trial: block(TRIAL)? })
    }

    /// The state they tell.
    pub fn state(&self) -> State {
        let blessed = blessed(&self.blessed).or_else(|| blessed(&self.copy)).unwrap_or(Slot::A);
        State { blessed, trial: trial(&self.trial) }
    }

    /// The blocks of a state.
    pub fn of(state: &State) -> Self {
        let blessed = block(&[("blessed", state.blessed.as_str())]);
        let trial = match state.trial {
            None => block(&[]),
            Some(Trial { slot, tries }) => {
                let tries = tries.min(TRIES).to_string();
                block(&[("trying", slot.as_str()), ("tries", &tries)])
            }
        };
        Self { copy: blessed.clone(), blessed, trial }
    }

    /// What is to be written to have the state `to`, in this order, each synced before the next:
    /// the path on the ESP and its new content. What is as it should be is left alone.
    ///
    /// A cut of power in between leaves the state as it was, or as it will be, or the new blessing
    /// with what is left of the trial that led to it: the same slot boots.
    pub fn changes(&self, to: &State) -> Vec<(String, Vec<u8>)> {
        let new = Self::of(to);
        let is = [&self.blessed, &self.copy, &self.trial];
        [(BLESSED, new.blessed), (BLESSED_COPY, new.copy), (TRIAL, new.trial)]
            .into_iter()
            .zip(is)
            .filter(|((_, new), is)| new != *is)
            .map(|((name, new), _)| (format!("{FOLDER}/{name}"), new))
            .collect()
    }
}

impl Description {
    /// Reads a [`SLOT`] block.
    ///
    /// # Errors
    /// [`env::Error::NotABlock`], also for one that does not say all.
    pub fn parse(block: &[u8]) -> Result<Self, env::Error> {
        let env = Env::parse(block)?;
        let get =
            |name| env.get(name).map(std::borrow::Cow::into_owned).ok_or(env::Error::NotABlock);
        Ok(Self {
            title: get("title")?,
            version: get("version")?,
            command_line: get("command_line")?,
        })
    }

    /// The [`SLOT`] block.
    ///
    /// # Errors
    /// Control characters, and more than fits [`env::LONGEST`]. In the command line also what GRUB
    /// would take for something else when it splits the line into words: quotes, backslashes, and
    /// the patterns `*`, `?` and `[`.
    pub fn encode(&self) -> Result<Vec<u8>, env::Error> {
        if self.command_line.contains(['"', '\'', '\\', '*', '?', '[']) {
            return Err(env::Error::Text { text: self.command_line.clone() });
        }
        let pairs = [
            ("title", &*self.title),
            ("version", &*self.version),
            ("command_line", &*self.command_line),
        ];
        Env::new(&pairs)?.encode_long()
    }
}

fn blessed(block: &[u8]) -> Option<Slot> {
    Env::parse(block).ok()?.get("blessed")?.parse().ok()
}

/// A trial that GRUB would begin: one that it can also count.
fn trial(block: &[u8]) -> Option<Trial> {
    let env = Env::parse(block).ok().filter(|_| env::is_changeable(block))?;
    let slot = env.get("trying")?.parse().ok()?;
    let known = |tries: &u8| *env.get_once("tries").unwrap_or_default() == *tries.to_string();
    (0..=TRIES).find(known).map(|tries| Trial { slot, tries })
}

fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
    // Names and values are this module's own, and short.
    Env::new(pairs).and_then(|env| env.encode()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{choose, tests::any_state},
        *,
    };

    fn blocks(blessed: &str, copy: &str, trial: &str) -> Blocks {
        let block = |text: &str| format!("# GRUB Environment Block\n{text}####").into_bytes();
        Blocks { blessed: block(blessed), copy: block(copy), trial: block(trial) }
    }

    #[test]
    fn what_blocks_tell() {
        let b3 = Some(Trial { slot: Slot::B, tries: 3 });
        for (blessed, copy, trial, want) in [
            ("blessed=b\n", "blessed=a\n", "", (Slot::B, None)),
            ("blessed=c\n", "blessed=b\n", "", (Slot::B, None)),
            ("", "blessed=b\n", "", (Slot::B, None)),
            ("", "", "", (Slot::A, None)),
            ("blessed=a\n", "", "trying=b\ntries=3\n", (Slot::A, b3)),
            ("blessed=a\n", "", "trying=b\ntries=4\n", (Slot::A, None)),
            ("blessed=a\n", "", "trying=b\ntries=03\n", (Slot::A, None)),
            ("blessed=a\n", "", "trying=\ntries=3\n", (Slot::A, None)),
            ("blessed=a\n", "", "tries=3\n", (Slot::A, None)),
            // GRUB would read one and count the other down.
            ("blessed=a\n", "", "trying=b\ntries=3\ntries=3\n", (Slot::A, None)),
            // GRUB would not find room to write in.
            ("blessed=a\n", "", "trying=b\ntries=3\nx", (Slot::A, None)),
        ] {
            let found = blocks(blessed, copy, trial).state();
            assert_eq!((found.blessed, found.trial), want, "{blessed:?} {copy:?} {trial:?}");
        }
        assert_eq!(Blocks::default().state(), State::NEW);
    }

    #[test]
    fn descriptions() {
        let slot = Description {
            title: "Debian's node 2026.11.22".into(),
            version: "2026.11.22".into(),
            command_line: "coremax.root=00ff console=ttyS0,115200n8".into(),
        };
        assert_eq!(Description::parse(&slot.encode().unwrap()), Ok(slot.clone()));
        for bad in ["a\nb", "a\"b", "a*", "a\\b", "[a]"] {
            assert!(Description { command_line: bad.into(), ..slot.clone() }.encode().is_err());
        }
        assert!(Description::parse(&block(&[("title", "x")])).is_err());
    }

    proptest! {
        #[test]
        fn a_state_is_read_as_written(state in any_state()) {
            prop_assert_eq!(Blocks::of(&state).state(), state);
            prop_assert!(Blocks::of(&state).changes(&state).is_empty());
        }

        /// Every cut between two writes, and every block torn, still names a slot that was meant.
        #[test]
        fn a_cut_change_is_no_third_state(from in any_state(), to in any_state(), cut in 0usize..4, torn in any::<bool>()) {
            let mut now = Blocks::of(&from);
            let changes = now.changes(&to);
            for (at, (path, content)) in changes.iter().enumerate().take(cut + 1) {
                let lost = vec![0; content.len()];
                let content = match at == cut {
                    true if torn => &lost,
                    true => break,
                    false => content,
                };
                match path.strip_prefix("coremax/").unwrap() {
                    BLESSED => now.blessed.clone_from(content),
                    BLESSED_COPY => now.copy.clone_from(content),
                    _ => now.trial.clone_from(content),
                }
            }
            let state = now.state();
            prop_assert!([from.blessed, to.blessed].contains(&state.blessed));
            prop_assert!([from.trial, to.trial, None].contains(&state.trial));
            let chosen = choose(&state).0;
            prop_assert!([choose(&from).0, choose(&to).0, from.blessed, to.blessed].contains(&chosen));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let whole = [&b"# GRUB Environment Block\n"[..], &bytes].concat();
            for block in [&bytes, &whole] {
                let block = block.clone();
                let blocks = Blocks { blessed: block.clone(), copy: block.clone(), trial: block };
                let _ = (blocks.state(), Description::parse(&blocks.copy));
            }
        }
    }
}
