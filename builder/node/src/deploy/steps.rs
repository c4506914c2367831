//! What is done to deploy a cluster: a table, for the payloads to add to.

use std::borrow::Cow;

use anyhow::Result;
use sha2::{Digest as _, Sha256};

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    /// Names it in the journal, for ever: letters and hyphens.
    pub(super) name: &'static str,
    /// For people.
    pub(super) what: &'static str,
    /// A program and its arguments. It may be run again after it failed or was interrupted.
    pub(super) run: &'static [&'static str],
    /// Whether what it is to do is done, so that it is not run.
    pub(super) skip: Check,
    /// Whether it can be run again though it was interrupted.
    pub(super) recover: Check,
    /// The files that it reads: when one changes before all is done, it is run again, and all after it.
    pub(super) inputs: &'static [&'static str],
}

/// A question to a program: yes is exit code 0.
#[derive(Debug)]
pub(super) enum Check {
    /// This program and its arguments. It changes nothing.
    #[allow(dead_code, reason = "the payloads' steps have some")]
    Program(&'static [&'static str]),
    /// There is none, and why.
    None(#[expect(dead_code, reason = "for whoever reads the table")] &'static str),
}

macro_rules! inventory {
    () => {
        "/var/lib/coremax/inventory/cluster.yml"
    };
}

macro_rules! limit {
    () => {
        "/var/lib/coremax/deploy/limit"
    };
}

/// What there is to do, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    /// When a cluster is formed.
    pub(super) first: &'static [Step],
    /// When machines come that were not there then.
    pub(super) late: &'static [Step],
}

/// All of them.
pub(super) const STEPS: Steps = Steps { first: &[PING], late: &[PING] };

const PING: Step = Step {
    name: "ping",
    what: "every node answers Ansible",
    run: &[
        "ansible",
        "--inventory",
        inventory!(),
        "--limit",
        concat!("@", limit!()),
        "--module-name",
        "ping",
        "all",
    ],
    skip: Check::None("it says how things are now"),
    recover: Check::None("it changes nothing"),
    inputs: &[inventory!(), limit!()],
};

impl Step {
    /// The SHA-256 of its program and of all that it reads.
    pub(super) fn digest(&self, read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let mut add = |bytes: Cow<'_, [u8]>| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        self.run.iter().for_each(|word| add(word.as_bytes().into()));
        add(b"".as_slice().into());
        for path in self.inputs {
            add(path.as_bytes().into());
            add(read(path)?.into());
        }
        Ok(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::paths;

    #[test]
    fn names_are_one_each_and_fit_into_a_file_name() {
        for steps in [STEPS.first, STEPS.late] {
            let names: BTreeSet<_> = steps.iter().map(|step| step.name).collect();
            assert_eq!(names.len(), steps.len());
            let is_plain = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            assert!(names.iter().all(is_plain));
        }
        assert!(inventory!().starts_with(paths::INVENTORIES));
        assert_eq!(limit!(), paths::DEPLOY_LIMIT);
    }

    #[test]
    fn a_digest_is_of_all_that_is_read() {
        let read = |text: &'static str| move |_: &str| Ok(text.as_bytes().to_vec());
        let ping = &PING;
        let first = ping.digest(&read("one")).unwrap();
        assert_eq!(ping.digest(&read("one")).unwrap(), first);
        assert_ne!(ping.digest(&read("two")).unwrap(), first);
        let other = Step { run: &["ansible", "--version"], inputs: ping.inputs, ..step("ping") };
        assert_ne!(other.digest(&read("one")).unwrap(), first);
        assert!(ping.digest(&|_| anyhow::bail!("not there")).is_err());
    }

    fn step(name: &'static str) -> Step {
        let none = || Check::None("");
        Step { name, what: "", run: &[], skip: none(), recover: none(), inputs: &[] }
    }
}
