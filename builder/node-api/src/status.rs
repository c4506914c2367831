//! What a node says of itself: versions, slots, and what was changed in /etc.
//!
//! Version rule: a field may be added, and an unknown field is ignored.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    reset::Reset,
    slot::{Slot, State, Trial, choose},
};

/// What a node says of itself. As text it is for people; JSON is for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The recipe of the running image.
    pub recipe: String,
    /// Its version.
    pub version: String,
    /// The slot it runs from.
    pub running: Slot,
    /// What the loader knows.
    pub state: State,
    /// The versions in the slots; none in one that is not whole.
    pub slots: BTreeMap<Slot, Option<String>>,
    /// What the next boot does away with, if it was asked to.
    pub reset: Option<Reset>,
    /// The files in /etc that hide the image's own, so that an update does not change them.
    pub shadowing: Vec<String>,
}

impl Status {
    /// The slot that the next boot takes.
    pub fn next(&self) -> Slot {
        choose(&self.state).0
    }

    fn standing(&self, slot: Slot) -> String {
        let mut words = Vec::new();
        if slot == self.running {
            words.push("running".to_owned());
        }
        if slot == self.state.blessed {
            words.push("blessed".to_owned());
        }
        match self.state.trial {
            Some(Trial { slot: tried, tries: 0 }) if tried == slot => {
                words.push("failed its trial".to_owned());
            }
            Some(Trial { slot: tried, tries }) if tried == slot => {
                words.push(format!("on trial, {tries} boots left"));
            }
            _ => {}
        }
        if slot == self.next() && slot != self.running {
            words.push("boots next".to_owned());
        }
        words.join(", ")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.recipe, self.version)?;
        for (slot, version) in &self.slots {
            let version = version.as_deref().unwrap_or("empty");
            let line = format!("  slot {slot}  {version:<16}  {}", self.standing(*slot));
            writeln!(f, "{}", line.trim_end())?;
        }
        match self.reset {
            Some(Reset::All) => writeln!(f, "  reset   the next boot clears all data")?,
            Some(Reset::KeepIdentity) => {
                writeln!(f, "  reset   the next boot clears all data but the node's identity")?;
            }
            None => {}
        }
        for path in &self.shadowing {
            writeln!(f, "  changed {path} (updates do not reach it)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let trial = Some(Trial { slot: Slot::B, tries: 3 });
        Status {
            recipe: "node".into(),
            version: "2026.11.22".into(),
            running: Slot::A,
            state: State { blessed: Slot::A, trial },
            slots: [(Slot::A, Some("2026.11.22".into())), (Slot::B, Some("2026.11.23".into()))]
                .into(),
            reset: Some(Reset::KeepIdentity),
            shadowing: vec!["/etc/hosts".into()],
        }
    }

    #[test]
    fn for_people() {
        let want = "node 2026.11.22
  slot a  2026.11.22        running, blessed
  slot b  2026.11.23        on trial, 3 boots left, boots next
  reset   the next boot clears all data but the node's identity
  changed /etc/hosts (updates do not reach it)
";
        assert_eq!(status().to_string(), want);
        let mut plain = Status { reset: None, shadowing: vec![], ..status() };
        plain.slots.insert(Slot::B, None);
        plain.state.trial = Some(Trial { slot: Slot::B, tries: 0 });
        let want = "node 2026.11.22
  slot a  2026.11.22        running, blessed
  slot b  empty             failed its trial
";
        assert_eq!(plain.to_string(), want);
    }

    #[test]
    fn for_programs() {
        let want = r#"{"recipe":"node","version":"2026.11.22","running":"a","state":{"blessed":"a","trial":{"slot":"b","tries":3}},"slots":{"a":"2026.11.22","b":"2026.11.23"},"reset":"keep-identity","shadowing":["/etc/hosts"]}"#;
        assert_eq!(serde_json::to_string(&status()).unwrap(), want);
        assert_eq!(serde_json::from_str::<Status>(want).unwrap(), status());
    }
}
