//! What must hold, whatever happens.
//!
//! - A cluster is formed once: by one machine, with every controller's promise on its disk and the clocks together.
//! - One seed gives one row to one machine, for ever; a machine keeps the name it has.
//! - Whoever has not the cluster's key hears `bad-key`, and is not believed.
//! - A machine that was replaced stays out; a copied disk says nothing; nobody new comes in after the window.
//! - A promise that was told of is on the disk, and given up for a later epoch alone; rosters do not grow older.

use std::collections::BTreeMap;

use coremax_node_api::join::{Answer, Formation, Held, NodeKey, Refusal, Report, Verdict, WINDOW};

use super::{
    machine::{Kind, Machine},
    world::World,
};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The one formation.
    pub formed: Option<Decided>,
    /// Which machine was given a row, by the seed's key and row.
    given: BTreeMap<(NodeKey, Held), usize>,
    /// What each machine had, since it was last wiped.
    had: BTreeMap<usize, Had>,
    /// Since when the window of a seed is open, and how often that seed has started since, by its key.
    pub windows: BTreeMap<NodeKey, (u64, u32)>,
    /// When a clock last jumped.
    pub last_jump: u64,
}

/// A formation, as a seed has it on its disk.
#[derive(Debug)]
pub(super) struct Decided {
    pub formation: Formation,
    pub by: usize,
    /// The start of the machine in which it was last begun.
    begun: Option<u32>,
}

#[derive(Debug, Default)]
struct Had {
    held: Option<Held>,
    epoch: u64,
    promise: Option<Formation>,
}

type Checked = Result<(), String>;

impl History {
    pub(super) fn forget(&mut self, machine: usize) {
        self.had.remove(&machine);
    }
}

impl World {
    /// A seed begins to deploy, or goes on after a power cut.
    pub(super) fn check_deployment(&mut self, machine: usize, formation: Formation) -> Checked {
        let starts = self.machines[machine].starts;
        match self.history.formed.as_mut() {
            Some(decided) if decided.formation == formation && decided.by == machine => {
                match decided.begun.replace(starts) {
                    Some(before) if before == starts => Err(format!("m{machine} deploys twice")),
                    _ => Ok(()),
                }
            }
            decided => {
                Err(format!("m{machine} deploys {formation:?}, and {decided:?} was decided"))
            }
        }
    }

    /// A seed has written that it deploys: from here on there is no way back.
    pub(super) fn check_decision(&mut self, machine: usize, formation: Formation) -> Checked {
        if let Some(before) = &self.history.formed {
            return Err(format!(
                "a second formation: {before:?}, then {formation:?} by m{machine}"
            ));
        }
        self.history.formed = Some(Decided { formation, by: machine, begun: None });
        if self.settings.formations_alone {
            return Ok(());
        }
        let Some(seed) = &self.machines[machine].seed else { return Ok(()) };
        let wall = self.machines[machine].clock.wall(self.time);
        let is_calm = self.time - self.history.last_jump > 30_000;
        for row in seed.roster().control_plane() {
            let Some(member) = seed.saved().members.get(&row.name) else {
                return Err(format!("formed without {}", row.name));
            };
            let has_promised = |machine: &&Machine| {
                let disk = machine.disk.node.as_ref();
                disk.is_some_and(|disk| disk.key == member.key && disk.promise == Some(formation))
            };
            let Some(found) = self.machines.iter().find(has_promised) else {
                return Err(format!("formed without the promise of {}", row.name));
            };
            if is_calm && found.clock.wall(self.time).abs_diff(wall) > 1_000 {
                return Err(format!("formed while the clock of {} is wrong", row.name));
            }
        }
        Ok(())
    }

    /// A seed answers a machine.
    pub(super) fn check_answer(&mut self, seed: usize, to: usize, answer: &Answer) -> Checked {
        if self.settings.formations_alone {
            return Ok(());
        }
        if self.machines[to].kind == Kind::Stranger
            && answer.verdict != Verdict::Refused(Refusal::BadKey)
        {
            return Err(format!("m{to}, which has not the key, is told {:?}", answer.verdict));
        }
        let Verdict::Member(orders) = &answer.verdict else { return Ok(()) };
        // A seed that was set up again with an old roster knows of no replacement since.
        if self.machines[to].retired_in.is_some_and(|epoch| epoch <= orders.epoch) {
            return Err(format!(
                "m{to}, which was replaced, is taken in again as {:?}",
                orders.held
            ));
        }
        let Some(key) = self.machines[seed].key() else { return Ok(()) };
        let given = self.history.given.get(&(key, orders.held.clone())).copied();
        match given {
            Some(before) if before != to => {
                Err(format!("{:?} was m{before}'s, and is given to m{to}", orders.held))
            }
            Some(_) => Ok(()),
            None => {
                self.history.given.insert((key, orders.held.clone()), to);
                let (opened, starts) =
                    self.history.windows.get(&key).copied().unwrap_or((self.time, 0));
                let most = WINDOW + WINDOW / 100 + 600_000 * u64::from(starts + 1);
                let late = self.time - opened > most;
                if late {
                    Err(format!("m{to} is taken in after the window closed"))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// A node reports.
    pub(super) fn check_report(&mut self, from: usize, report: &Report) -> Checked {
        if self.settings.formations_alone {
            return Ok(());
        }
        let machine = &self.machines[from];
        if machine.kind == Kind::Copy
            && machine.disk.node.as_ref().is_some_and(|disk| disk.hardware != machine.hardware)
        {
            return Err(format!("m{from} reports with a copied disk"));
        }
        let promise = machine.disk.node.as_ref().and_then(|disk| disk.promise);
        if report.promise != promise {
            return Err(format!(
                "m{from} tells of {:?}, and has {promise:?} on its disk",
                report.promise
            ));
        }
        Ok(())
    }

    /// A node's disk, after a write or a power cut.
    pub(super) fn check_disk(&mut self, number: usize) -> Checked {
        if self.settings.formations_alone {
            return Ok(());
        }
        let machine = &self.machines[number];
        let Some(disk) = &machine.disk.node else { return Ok(()) };
        if machine.kind != Kind::Honest {
            return Ok(());
        }
        let epoch =
            self.epochs.get(disk.roster.as_deref().unwrap_or_default()).copied().unwrap_or(0);
        let had = self.history.had.entry(number).or_default();
        let gave_up = had.promise.is_some_and(|before| {
            disk.promise.is_none_or(|after| {
                after != before && (after.epoch <= before.epoch || !after.may_follow(&before))
            })
        });
        if gave_up {
            return Err(format!(
                "m{number} promised {:?}, and then {:?}",
                had.promise, disk.promise
            ));
        }
        if epoch < had.epoch {
            return Err(format!("m{number} went from epoch {} to {epoch}", had.epoch));
        }
        if had.held.is_some() && had.held != disk.held {
            return Err(format!("m{number} was {:?}, and is {:?}", had.held, disk.held));
        }
        if let Some(held) = &disk.held {
            let mut given = self.history.given.iter();
            if !given.any(|((_, row), to)| row == held && *to == number) {
                return Err(format!("m{number} is {held:?}, which no seed gave it"));
            }
        }
        *had = Had { held: disk.held.clone(), epoch, promise: disk.promise };
        Ok(())
    }
}
