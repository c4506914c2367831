//! What must hold, whatever happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use coremax_node_api::{
    join::{
        Answer, CLOCKS_APART_MAX, Formation, Held, NodeKey, Refusal, Report, Verdict, node::Saved,
        seed::Rows,
    },
    roster::{Mode, Name},
};

use super::{
    machine::{Kind, Machine},
    rows::Had,
    world::{Step, World},
};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// A cluster is formed once; and again only by a seed that the operator put in the place of one that is no more.
    OneFormation,
    /// A seed deploys once for a machine, and begins again after a power cut or a failure alone.
    DeploysOnce,
    /// Whoever has to promise a formation has done so, on its disk.
    Promised,
    /// When a cluster is formed, its clocks are together; and no clock is set to what another one does not show.
    Clocks,
    /// When a cluster is formed, all have the roster that it is formed by.
    OneRoster,
    /// When a cluster is formed, all are prepared for that roster.
    Prepared,
    /// When a cluster is formed, its nodes reach each other with long packets.
    Mesh,
    /// When a cluster is formed, its nodes have what its roster names.
    Lack,
    /// Whoever has not the cluster's key hears `bad-key`, and is not believed.
    Strangers,
    /// A machine that was replaced stays out.
    Replaced,
    /// One seed gives one row to one machine, for ever, and one machine one row.
    OneRow,
    /// Nobody new gets a row after the window closed.
    Window,
    /// A copied disk says nothing.
    Copies,
    /// A promise that was told of is on the disk, and given up for a later epoch alone.
    PromiseKept,
    /// A node that promised obeys nobody else, until the operator gives up that seed.
    Authority,
    /// Rosters do not grow older.
    EpochKept,
    /// A machine keeps the row that it has, which a seed gave it.
    RowKept,
    /// The role and the address of a row that a machine has stay.
    RowFixed,
    /// Where rows name machines, nobody gets another one than that which names it, or that the operator gave it.
    Approved,
    /// Every roster that the operator signs for a seed can be put in.
    Seeds,
    /// A machine is part of what is formed when a deployment has reached it.
    Reached,
    /// Every run that heals ends formed.
    Heals,
    /// And without an operator, unless somebody did what nobody else can mend, and it is found to be so.
    Unaided,
}

/// What did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Who did what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// That this did not hold.
pub(super) fn broken<T>(invariant: Invariant, what: String) -> Result<T, Violation> {
    Err(Violation { invariant, what })
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The one formation.
    pub formed: Option<Decided>,
    /// Which machine was given a row, by the seed's key and row.
    pub given: BTreeMap<(NodeKey, Held), usize>,
    /// What each machine had, since it was last wiped.
    pub had: BTreeMap<usize, Had>,
    /// Which row the operator gave to which machine.
    pub approved: BTreeSet<(NodeKey, Name)>,
    /// Since when the window of a seed is open, and how often that seed has started since, by its key.
    pub windows: BTreeMap<NodeKey, (u64, u32)>,
    /// The rows that a deployment of the formation has reached.
    pub reached: BTreeSet<Held>,
    /// When a clock last jumped.
    pub last_jump: u64,
}

/// A formation, as a seed has it on its disk.
#[derive(Debug)]
pub(super) struct Decided {
    pub formation: Formation,
    pub by: usize,
    /// The start of the machine in which it was last begun, and for whom.
    begun: Option<(u32, Rows)>,
}

impl History {
    pub(super) fn forget(&mut self, machine: usize) {
        self.had.remove(&machine);
    }
}

impl World {
    /// A seed begins to deploy, goes on after a power cut, or does it for others.
    pub(super) fn check_deployment(
        &mut self,
        machine: usize,
        formation: Formation,
        rows: &Rows,
    ) -> Step {
        let starts = self.machines[machine].starts;
        // By what it knows: a power cut may have come before a deployment's end was written.
        let known = self.machines[machine].disk.seed.as_ref().map(|seed| &seed.deployed);
        let is_done =
            |(name, of): (&Name, &u32)| known.is_some_and(|all| all.get(name) == Some(of));
        let is_all_done = !rows.is_empty() && rows.iter().all(is_done);
        match self.history.formed.as_mut() {
            Some(decided) if decided.formation == formation && decided.by == machine => {
                match decided.begun.replace((starts, rows.clone())) {
                    Some(before) if before.0 == starts && (before.1 == *rows || is_all_done) => {
                        broken(Invariant::DeploysOnce, format!("m{machine} deploys twice"))
                    }
                    _ => Ok(()),
                }
            }
            decided => broken(
                Invariant::OneFormation,
                format!("m{machine} deploys {formation:?}, and {decided:?} was decided"),
            ),
        }
    }

    /// A seed has written that it deploys: from here on there is no way back.
    pub(super) fn check_decision(&mut self, machine: usize, formation: Formation) -> Step {
        if let Some(before) = &self.history.formed
            && (self.is_there(before)
                || formation.generation <= before.formation.generation
                || !formation.may_follow(&before.formation))
        {
            return broken(
                Invariant::OneFormation,
                format!("a second one: {before:?}, then {formation:?} by m{machine}"),
            );
        }
        self.history.formed = Some(Decided { formation, by: machine, begun: None });
        self.history.reached.clear();
        if self.settings.formations_alone {
            return Ok(());
        }
        let Some(seed) = &self.machines[machine].seed else { return Ok(()) };
        let roster = seed.roster();
        let is_pool = roster.mode == Mode::Pool;
        for row in roster.nodes.iter().filter(|row| is_pool || row.is_control()) {
            let member = seed.saved().members.get(&row.name);
            // What a liar says is all that anybody can know of it.
            if member.is_some_and(|member| self.is_liar(member.key)) {
                continue;
            }
            let is_it = |machine: &&Machine| {
                let disk = machine.disk.node.as_ref();
                disk.is_some_and(|disk| {
                    member.is_some_and(|member| disk.key == member.key)
                        && disk.promise == Some(formation)
                })
            };
            let Some(found) = self.machines.iter().find(is_it) else {
                return broken(Invariant::Promised, format!("formed without {}", row.name));
            };
            self.check_member(found, machine, &seed.saved().roster, formation)?;
        }
        self.check_gates(machine, seed)
    }

    fn is_liar(&self, key: NodeKey) -> bool {
        let mut liars = self.machines.iter().filter(|machine| machine.kind == Kind::Liar);
        liars.any(|liar| liar.key() == Some(key))
    }

    /// Whether the machine that decided a formation is there still: what an operator finds out before replacing it.
    pub(super) fn is_there(&self, decided: &Decided) -> bool {
        let machine = &self.machines[decided.by];
        !machine.is_pulled && machine.key() == Some(decided.formation.seed)
    }

    /// A machine that is needed for what a seed decided.
    fn check_member(
        &self,
        found: &Machine,
        seed: usize,
        roster: &[u8],
        formation: Formation,
    ) -> Step {
        let name = found.disk.node.as_ref().and_then(|disk| disk.held.as_ref());
        let name = name.map_or_else(String::new, |held| held.name.to_string());
        let has = found.disk.node.as_ref().and_then(|disk| disk.roster.as_deref());
        if has != Some(roster) {
            return broken(Invariant::OneRoster, format!("{name} has another roster"));
        }
        if found.written != Some(formation.edition.epoch) {
            let what = format!("{name} is prepared for {:?}: {formation:?}", found.written);
            return broken(Invariant::Prepared, what);
        }
        let wall = self.machines[seed].clock.wall(self.time);
        let apart = found.clock.wall(self.time).abs_diff(wall);
        let is_calm = self.time - self.history.last_jump > 30_000;
        if is_calm && apart > CLOCKS_APART_MAX + CLOCKS_APART_MAX / 2 {
            let what = format!("formed while the clock of {name} is {apart} ms off");
            return broken(Invariant::Clocks, what);
        }
        Ok(())
    }

    /// A machine sets its clock by what another one answered.
    pub(super) fn check_clock(&mut self, number: usize, wall: i64) -> Step {
        let Some(by) = self.answering else { return Ok(()) };
        let promise = self.machines[number].disk.node.as_ref().and_then(|disk| disk.promise);
        let key = self.machines[by].key();
        if key.is_some_and(|key| !self.may_order(number, key, promise)) {
            let what = format!("m{number} sets its clock by m{by}'s, and promised {promise:?}");
            return broken(Invariant::Authority, what);
        }
        if self.machines[by].kind != Kind::Honest {
            return Ok(());
        }
        let apart = self.machines[by].clock.wall(self.time).abs_diff(wall);
        let is_calm = self.time - self.history.last_jump > 30_000;
        if self.machines[number].seed.is_some() {
            self.history.last_jump = self.time;
        }
        if is_calm && apart > CLOCKS_APART_MAX && !self.settings.formations_alone {
            let what = format!("m{number} sets its clock by m{by}'s, and {apart} ms beside it");
            return broken(Invariant::Clocks, what);
        }
        Ok(())
    }

    /// What a node did at somebody's answer.
    pub(super) fn check_authority(&self, number: usize, by: NodeKey, before: &Saved) -> Step {
        let after = self.machines[number].disk.node.as_ref();
        if after == Some(before) || self.may_order(number, by, before.promise) {
            return Ok(());
        }
        let what = format!("m{number} obeys {by:?}, and promised {:?}", before.promise);
        broken(Invariant::Authority, what)
    }

    /// Whether a node that promised this may do what this seed says.
    fn may_order(&self, number: usize, by: NodeKey, promise: Option<Formation>) -> bool {
        let machine = &self.machines[number];
        let is_given_up = |promise: Formation| machine.generation_of_seed() > promise.generation;
        promise.is_none_or(|promise| promise.seed == by || is_given_up(promise))
            || !machine.is_on()
            || self.settings.formations_alone
    }

    /// A seed answers a machine.
    pub(super) fn check_answer(&mut self, seed: usize, to: usize, answer: &Answer) -> Step {
        if self.settings.formations_alone {
            return Ok(());
        }
        if self.machines[to].kind == Kind::Stranger
            && answer.verdict != Verdict::Refused(Refusal::BadKey)
        {
            return broken(
                Invariant::Strangers,
                format!("m{to}, which has not the key, is told {:?}", answer.verdict),
            );
        }
        let Verdict::Member(orders) = &answer.verdict else { return Ok(()) };
        // A seed that was set up again with an old roster knows of no replacement since.
        if self.machines[to].retired_in.is_some_and(|epoch| epoch <= orders.edition.epoch) {
            return broken(
                Invariant::Replaced,
                format!("m{to}, which was replaced, is taken in again as {:?}", orders.held),
            );
        }
        let Some(key) = self.machines[seed].key() else { return Ok(()) };
        let given = self.history.given.get(&(key, orders.held.clone())).copied();
        match given {
            Some(before) if before != to => broken(
                Invariant::OneRow,
                format!("{:?} was m{before}'s, and is given to m{to}", orders.held),
            ),
            Some(_) => Ok(()),
            None => {
                self.history.given.insert((key, orders.held.clone()), to);
                Ok(())
            }
        }
    }

    /// A node reports.
    pub(super) fn check_report(&mut self, from: usize, report: &Report) -> Step {
        if self.settings.formations_alone {
            return Ok(());
        }
        let machine = &self.machines[from];
        if machine.copied.is_some() && machine.key() == machine.copied {
            return broken(Invariant::Copies, format!("m{from} reports with a copied disk"));
        }
        let promise = machine.disk.node.as_ref().and_then(|disk| disk.promise);
        if report.promise != promise {
            return broken(
                Invariant::PromiseKept,
                format!("m{from} tells of {:?}, and has {promise:?} on its disk", report.promise),
            );
        }
        Ok(())
    }
}
