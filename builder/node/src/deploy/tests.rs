//! A deployment that is cut at every moment, and goes on.

use std::{cell::RefCell, io, rc::Rc};

use anyhow::bail;
use coremax_node_api::{
    guid::Guid,
    join::{Edition, NodeKey},
};
use proptest::prelude::*;

use super::*;

const fn step(name: &'static str, run: &'static [&'static str], recover: Check) -> Step {
    Step { name, what: name, run, skip: Check::None(""), recover, inputs: &[] }
}

/// Three steps; the second wants to be asked when it was interrupted. Who comes late has one.
const STORY: Steps = Steps { first: &THREE, late: &LATE };
static LATE: [Step; 1] = [step("late", &["late"], Check::None(""))];
static THREE: [Step; 3] = [
    step("first", &["first"], Check::None("")),
    step("second", &["second"], Check::Program(&["check"])),
    step("third", &["third"], Check::None("")),
];

fn formation() -> Formation {
    Formation {
        cluster: Guid::literal(1),
        edition: Edition { epoch: 1, digest: [0; 32] },
        generation: 0,
        seed: NodeKey([1; 32]),
    }
}

/// A machine: its disk, what was done on it, and when the power goes.
#[derive(Default)]
struct Machine {
    synced: Vec<u8>,
    /// What is written behind that, and may be lost.
    pending: Vec<u8>,
    /// Programs in the order in which they were begun, and those that came to their end.
    begun: Vec<&'static str>,
    ended: Vec<&'static str>,
    /// How many things happen yet.
    left: Option<usize>,
    /// The exit codes of programs that do not end well.
    codes: Vec<(&'static str, i32)>,
    inputs: u8,
}

impl Machine {
    fn happens(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the power is cut")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The power comes back: so much of what was not synced is there, and behind it nothing or zeros.
    fn start_again(&mut self, kept: usize, zeros: usize) {
        let kept = kept.min(self.pending.len());
        let pending = std::mem::take(&mut self.pending);
        self.synced.extend_from_slice(&pending[..kept]);
        if kept < pending.len() {
            self.synced.resize(self.synced.len() + zeros.min(pending.len() - kept), 0);
        }
        self.left = None;
    }
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Machine>>);

impl Medium for Shared {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let machine = self.0.borrow();
        Ok([&machine.synced[..], &machine.pending].concat())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        machine.happens()?;
        machine.synced.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        machine.pending.extend_from_slice(bytes);
        machine.happens()
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        machine.happens()?;
        let pending = std::mem::take(&mut machine.pending);
        machine.synced.extend(pending);
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        machine.happens()?;
        (machine.synced, machine.pending) = (bytes.to_vec(), Vec::new());
        machine.happens()
    }
}

impl Executor for Shared {
    fn inputs(&mut self, _: &Step) -> Result<[u8; 32]> {
        Ok([self.0.borrow().inputs; 32])
    }

    fn run(&mut self, step: &Step, program: &[&str]) -> Result<i32> {
        let mut machine = self.0.borrow_mut();
        machine.happens()?;
        let name = if program == ["check"] { "check" } else { step.name };
        machine.begun.push(name);
        machine.happens()?;
        machine.ended.push(name);
        let code = machine.codes.iter().find(|(other, _)| *other == name);
        Ok(code.map_or(0, |(_, code)| *code))
    }

    fn now(&self) -> i64 {
        0
    }
}

fn deploy(machine: &Shared) -> Result<Outcome> {
    deploy_for(machine, 1)
}

fn deploy_for(machine: &Shared, rows: u8) -> Result<Outcome> {
    let mut journal = Journal::read(machine.clone())?;
    carry_on(&mut journal, &formation(), [rows; 32], STORY, &mut machine.clone())
}

#[test]
fn who_comes_late_is_taken_in_once_wherever_that_is_cut() {
    for left in 0..20 {
        let machine = Shared::default();
        assert_eq!(deploy(&machine).unwrap(), Outcome::Deployed);
        machine.0.borrow_mut().left = Some(left);
        let is_whole = deploy_for(&machine, 2).is_ok();
        machine.0.borrow_mut().start_again(0, 0);
        let ended = machine.0.borrow().ended.len();
        assert_eq!(deploy_for(&machine, 2).unwrap(), Outcome::Deployed);
        let all = machine.0.borrow().ended[3..].to_vec();
        assert!(all.iter().all(|step| *step == "late") && !all.is_empty(), "{left}: {all:?}");
        assert!(!is_whole || ended == machine.0.borrow().ended.len(), "it is done twice");
        assert_eq!(deploy_for(&machine, 3).unwrap(), Outcome::Deployed);
        assert_eq!(machine.0.borrow().ended.len(), 3 + all.len() + 1);
    }
}

#[test]
fn rows_are_told_apart_by_their_machines() {
    let rows = |names: &[(&str, u32)]| -> Rows {
        names.iter().map(|(name, generation)| (name.parse().unwrap(), *generation)).collect()
    };
    let all = [rows(&[]), rows(&[("a", 0)]), rows(&[("a", 1)]), rows(&[("a", 0), ("b", 0)])];
    let digests: std::collections::BTreeSet<_> = all.iter().map(digest).collect();
    assert_eq!(digests.len(), all.len());
}

#[test]
fn once_and_in_order() {
    let machine = Shared::default();
    assert_eq!(deploy(&machine).unwrap(), Outcome::Deployed);
    assert_eq!(machine.0.borrow().ended, ["first", "second", "third"]);
    machine.0.borrow_mut().inputs = 1; // a newer roster, when all is done
    assert_eq!(deploy(&machine).unwrap(), Outcome::Deployed);
    assert_eq!(machine.0.borrow().ended.len(), 3);
}

#[test]
fn a_step_that_fails_is_tried_again_and_what_follows_waits() {
    let machine = Shared::default();
    machine.0.borrow_mut().codes = vec![("second", 4)];
    let want = Outcome::Failed { step: "second", why: "it ended with 4".into() };
    assert_eq!(deploy(&machine).unwrap(), want);
    assert_eq!(deploy(&machine).unwrap(), want);
    machine.0.borrow_mut().codes.clear();
    assert_eq!(deploy(&machine).unwrap(), Outcome::Deployed);
    assert_eq!(machine.0.borrow().ended, ["first", "second", "second", "second", "third"]);
}

#[test]
fn what_cannot_be_recovered_is_not_run() {
    let machine = Shared::default();
    machine.0.borrow_mut().codes = vec![("check", 1)];
    machine.0.borrow_mut().left = Some(2 + 6 + 3); // begun, the first step, and the second one's start and half of it
    deploy(&machine).unwrap_err();
    machine.0.borrow_mut().start_again(0, 0);
    assert_eq!(machine.0.borrow().begun, ["first", "second"]);
    let Outcome::Failed { step: "second", why } = deploy(&machine).unwrap() else { panic!() };
    assert!(why.contains("cannot be run again"), "{why}");
    assert_eq!(machine.0.borrow().begun, ["first", "second", "check"]);
}

#[test]
fn what_is_done_already_is_skipped() {
    static DONE: [Step; 1] =
        [Step { skip: Check::Program(&["check"]), ..step("first", &["first"], Check::None("")) }];
    let machine = Shared::default();
    let mut journal = Journal::read(machine.clone()).unwrap();
    let steps = Steps { first: &DONE, late: &[] };
    let done = carry_on(&mut journal, &formation(), [1; 32], steps, &mut machine.clone()).unwrap();
    assert_eq!((done, &*machine.0.borrow().begun), (Outcome::Deployed, &["check"][..]));
    let is_skip = |record: &Record| matches!(record, Record::End { is_skipped: true, code: 0, .. });
    assert!(journal.records().iter().any(is_skip));
}

#[test]
fn one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = lock(folder.path()).unwrap();
    let error = lock(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "another deployment is at work");
    drop(first);
    lock(folder.path()).unwrap();
}

#[test]
fn codes_are_a_shells() {
    for (script, want) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)] {
        let output = Cmd::new("sh", &Sandbox::host()).args(["-c", script]).output().unwrap();
        assert_eq!(code(output.status), want, "{script}");
    }
}

/// What holds of a machine whose power was cut, before it goes on and after.
fn goes_on(machine: &Shared) -> Result<()> {
    let begun = machine.0.borrow().begun.clone();
    let ended_in_journal = {
        let journal = Journal::read(machine.clone())?;
        let is_end = |record: &&Record| matches!(record, Record::End { .. });
        journal.records().iter().filter(is_end).count()
    };
    let steps = |names: &[&'static str]| -> Vec<_> {
        names.iter().copied().filter(|name| *name != "check").collect()
    };
    if ended_in_journal > steps(&machine.0.borrow().ended).len() {
        bail!("the journal has an end of what did not end");
    }
    if deploy(machine)? != Outcome::Deployed {
        bail!("it does not come to its end");
    }
    let after = machine.0.borrow().begun[begun.len()..].to_vec();
    let all: Vec<_> = THREE.iter().map(|step| step.name).collect();
    if steps(&after) != all[ended_in_journal..] {
        bail!("{after:?} was done after {ended_in_journal} ends");
    }
    // What was begun and has no end was begun before, and the one that wants to be asked was.
    let is_interrupted = steps(&begun).len() > ended_in_journal;
    let is_asked = after.first() == Some(&"check");
    if is_asked && ended_in_journal != 1 || is_interrupted && ended_in_journal == 1 && !is_asked {
        bail!("{begun:?}, {after:?}: asked or not asked");
    }
    let count = machine.0.borrow().begun.len();
    if deploy(machine)? != Outcome::Deployed || machine.0.borrow().begun.len() != count {
        bail!("it is deployed twice");
    }
    Ok(())
}

proptest! {
    /// Wherever it is cut, whatever is lost of what was not synced: it goes on with the step that has no end.
    #[test]
    fn every_cut_goes_on(kept in 0usize..250, zeros in 0usize..250) {
        for left in 0.. {
            let machine = Shared::default();
            machine.0.borrow_mut().left = Some(left);
            let is_whole = deploy(&machine).is_ok();
            machine.0.borrow_mut().start_again(kept, zeros);
            if let Err(error) = goes_on(&machine) {
                prop_assert!(false, "cut after {}: {:#}", left, error);
            }
            if is_whole {
                prop_assert!(left > 15);
                break;
            }
        }
    }

    /// The same where the power goes again, and again.
    #[test]
    fn many_cuts_go_on(cuts in prop::collection::vec((0usize..14, 0usize..250, 0usize..9), 0..8)) {
        let machine = Shared::default();
        for (left, kept, zeros) in cuts {
            machine.0.borrow_mut().left = Some(left);
            let _ = deploy(&machine);
            machine.0.borrow_mut().start_again(kept, zeros);
        }
        prop_assert_eq!(deploy(&machine).unwrap(), Outcome::Deployed);
        let ended = machine.0.borrow().ended.clone();
        let first = |name: &str| ended.iter().position(|other| *other == name).unwrap();
        prop_assert!(first("first") < first("second") && first("second") < first("third"));
    }
}
