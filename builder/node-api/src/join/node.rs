//! The node's side: finds a seed, does what it says as far as the operator signed it, and keeps its promise.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Answer, BACK_OFF, Beacon, CLOCKS_APART_MAX, Formation, Guard, Guards, Hardware, Held, NodeKey,
    Now, Orders, Peer, Phase, REPORT_EVERY, Refusal, Report, Stage, Verdict, cluster_hash,
};
use crate::{
    guid::Guid,
    roster::{Roster, signed},
    update::key::PublicKey,
};

/// The most seeds that a node tries in turn. Set here: beacons are anybody's, and must not push out one another
/// without end.
const SEEDS_MAX: usize = 8;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster that its medium names.
    pub cluster: Guid,
    /// What the operator signs rosters with.
    pub operators: Vec<PublicKey>,
    /// Which machine this is.
    pub hardware: Hardware,
    /// A new key, for a first boot.
    pub new_key: NodeKey,
    /// Where a seed may be. These are tried before those that beacons name.
    pub seeds: Vec<SocketAddr>,
    /// Random at each boot.
    pub random: u64,
    /// All but in tests.
    pub guards: Guards,
}

/// What is on the node's disk, written as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Made at the first boot.
    pub key: NodeKey,
    /// The machine that it was made on.
    pub hardware: Hardware,
    /// How far it came.
    pub phase: Phase,
    /// The row that it has, for ever.
    pub held: Option<Held>,
    /// The newest roster that it saw, signed.
    pub roster: Option<Arc<[u8]>>,
    /// What it promised.
    pub promise: Option<Formation>,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Input {
    /// Somebody says that a seed is there.
    Beacon(SocketAddr, Beacon),
    /// A seed answers.
    Answer(Peer, Answer),
    /// The time of the last [`Action::Wake`] has come.
    Wake,
    /// Work is done.
    Done(Work),
    /// Whether disks, peers and registry are as they should be.
    Health(bool),
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put this on the disk before what follows is done.
    Save(Box<Saved>),
    /// Report to the seed that is there.
    Send(SocketAddr, Box<Report>),
    /// Set the clock to these milliseconds since 1970.
    SetClock(i64),
    /// Begin with this, and say [`Input::Done`]. It may have been begun, or done, before.
    Do(Work),
    /// Wake up at this [`Now::mono`], and at no earlier one that was asked for before.
    Wake(u64),
}

/// Work that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Bring the network up.
    Network,
    /// Write what a node of this row and roster has.
    Prepare,
}

/// What the node waits for, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// A seed's answer.
    Seed,
    /// The operator's approval, or the other machines of the pool.
    Approval,
    /// That what refused it changes.
    Refused(Refusal),
    /// Its disk belongs to another machine: it does nothing until it is reset.
    ForeignDisk,
    /// The seed's roster is older than its own, not signed, or would give it another name.
    BadOrders,
    /// The others.
    Others,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    saved: Saved,
    roster: Option<Roster>,
    seeds: Vec<SocketAddr>,
    /// Which of the seeds is asked.
    turn: usize,
    waits: Waits,
    /// The number of the last report.
    number: u64,
    /// How many reports nobody answered.
    unanswered: u32,
    is_synced: bool,
    is_healthy: bool,
    is_preparing: bool,
}

impl Node {
    /// Starts a node with what is on its disk.
    pub fn start(config: Config, saved: Option<Saved>, now: Now) -> (Self, Vec<Action>) {
        let is_foreign = saved.as_ref().is_some_and(|saved| {
            config.guards.on(Guard::ForeignDisk)
                && !saved.hardware.is_same_machine(&config.hardware)
        });
        let fresh = saved.is_none();
        let saved = saved.unwrap_or_else(|| Saved {
            key: config.new_key,
            hardware: config.hardware.clone(),
            phase: Phase::Identified,
            held: None,
            roster: None,
            promise: None,
        });
        let roster = saved.roster.as_deref();
        let mut node = Self {
            roster: roster.and_then(|roster| open(roster, &config)),
            seeds: config.seeds.clone(),
            turn: 0,
            waits: if is_foreign { Waits::ForeignDisk } else { Waits::Seed },
            number: config.random,
            unanswered: 0,
            is_synced: false,
            is_healthy: false,
            is_preparing: false,
            saved,
            config,
        };
        let mut out = Vec::new();
        if fresh {
            node.save(&mut out);
        }
        if !is_foreign {
            node.go_on(now, &mut out);
        }
        (node, out)
    }

    /// Takes in what happens.
    pub fn step(&mut self, input: Input, now: Now) -> Vec<Action> {
        let mut out = Vec::new();
        if self.waits == Waits::ForeignDisk {
            return out;
        }
        match input {
            Input::Beacon(from, beacon) => self.hear(from, beacon, now, &mut out),
            Input::Answer(from, answer) => self.take(from, answer, now, &mut out),
            Input::Wake => {
                self.unanswered = self.unanswered.saturating_add(1);
                self.report(now, &mut out);
            }
            Input::Done(Work::Network) => {
                self.reach(Phase::Networked, &mut out);
                self.report(now, &mut out);
            }
            Input::Done(Work::Prepare) => {
                self.is_preparing = false;
                self.reach(Phase::Prepared, &mut out);
            }
            Input::Health(is_healthy) => self.is_healthy = is_healthy,
        }
        out
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        match self.saved.phase {
            Phase::Networked if self.waits != Waits::Seed => Phase::Discovered,
            Phase::Enrolled if self.is_synced => Phase::TimeSynced,
            Phase::Prepared if self.is_synced && self.is_healthy => Phase::Ready,
            phase => phase,
        }
    }

    /// What it waits for.
    pub fn waits(&self) -> Waits {
        self.waits
    }

    /// What is on its disk, if all that was asked for was done.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Begins again where a crash, or the end of the phase before, left it.
    fn go_on(&mut self, now: Now, out: &mut Vec<Action>) {
        match self.saved.phase {
            Phase::Blank | Phase::Identified => out.push(Action::Do(Work::Network)),
            _ => self.report(now, out),
        }
    }

    /// A beacon gives an address to try, and nothing else.
    fn hear(&mut self, from: SocketAddr, beacon: Beacon, now: Now, out: &mut Vec<Action>) {
        let is_ours = beacon.cluster == cluster_hash(self.config.cluster);
        if !is_ours || self.saved.phase < Phase::Networked || self.seeds.contains(&from) {
            return;
        }
        if self.seeds.len() >= SEEDS_MAX {
            let first_heard = self.config.seeds.len().min(SEEDS_MAX - 1);
            self.seeds.remove(first_heard);
        }
        self.seeds.push(from);
        // Once a report: whoever sends beacons from ever new addresses puts off none.
        if self.waits == Waits::Seed && self.unanswered > 0 {
            self.unanswered = 0;
            out.push(Action::Wake(now.mono + self.jitter(BACK_OFF.0)));
        }
    }

    fn take(&mut self, from: Peer, answer: Answer, now: Now, out: &mut Vec<Action>) {
        let is_believed = from.is_proven || !self.config.guards.on(Guard::Proof);
        // An answer to another report is late or doubled: the clock in it is not the seed's now.
        if !is_believed || answer.number != self.number {
            return;
        }
        self.unanswered = 0;
        self.waits = match answer.verdict {
            Verdict::Pending => Waits::Approval,
            Verdict::Refused(refusal) => Waits::Refused(refusal),
            Verdict::Member(orders) => match self.obey(from, &orders, now, out) {
                Some(()) => Waits::Others,
                None => Waits::BadOrders,
            },
        };
    }

    /// Does what a seed says, or nothing of it.
    fn obey(&mut self, from: Peer, orders: &Orders, now: Now, out: &mut Vec<Action>) -> Option<()> {
        let (signed, roster) = self.roster_of(orders)?;
        let row = roster.node(&orders.held.name)?;
        let is_renamed = self.saved.held.as_ref().is_some_and(|held| *held != orders.held);
        if row.generation != orders.held.generation
            || (is_renamed && self.config.guards.on(Guard::Name))
        {
            return None;
        }
        let is_control = row.is_control();
        let before = self.saved.clone();
        self.saved.held = Some(orders.held.clone());
        self.saved.roster = Some(signed);
        self.roster = Some(roster);
        self.saved.phase = self.saved.phase.max(Phase::Enrolled);
        // A node that comes late prepares itself like the others, whatever the cluster is at.
        let is_prepared = self.saved.phase >= Phase::Prepared;
        match orders.stage {
            Stage::Forming(formation) if is_control => self.promise(from.key, formation),
            Stage::Deploying if is_prepared => {
                self.saved.phase = self.saved.phase.max(Phase::Deploying);
            }
            Stage::Formed if is_prepared => self.saved.phase = Phase::Formed,
            Stage::Gathering | Stage::Forming(_) | Stage::Deploying | Stage::Formed => {}
        }
        let has_promised = self.saved.promise != before.promise;
        if self.saved != before {
            self.save(out);
        }
        if orders.wall.abs_diff(now.wall) > CLOCKS_APART_MAX / 2 {
            out.push(Action::SetClock(orders.wall));
        }
        self.is_synced = true;
        if self.saved.phase == Phase::Enrolled && !self.is_preparing {
            self.is_preparing = true;
            out.push(Action::Do(Work::Prepare));
        }
        if has_promised {
            // The clock was right, or else no promise would have been asked for.
            self.report(now, out);
        }
        Some(())
    }

    /// The roster that the orders are given by: signed, of this cluster, and none older than the node's own.
    fn roster_of(&self, orders: &Orders) -> Option<(Arc<[u8]>, Roster)> {
        let own = self.roster.as_ref().map_or(0, |roster| roster.epoch);
        let (signed, roster) = match &orders.roster {
            Some(signed) => (Arc::clone(signed), open(signed, &self.config)?),
            None => (self.saved.roster.clone()?, self.roster.clone()?),
        };
        let is_new_enough = roster.epoch >= own || !self.config.guards.on(Guard::Epoch);
        let is_it = roster.epoch == orders.epoch && roster.cluster == self.config.cluster;
        (is_it && is_new_enough).then_some((signed, roster))
    }

    /// Promises a formation, unless another one was promised.
    fn promise(&mut self, seed: NodeKey, formation: Formation) {
        let Some(roster) = &self.roster else { return };
        let is_its_own = formation
            == Formation {
                cluster: roster.cluster,
                epoch: roster.epoch,
                generation: roster.seed_generation(),
                seed,
            };
        let is_free = self.saved.promise.is_none_or(|before| {
            let is_later = match self.config.guards.on(Guard::Epoch) {
                true => formation.may_follow(&before),
                false => Formation { epoch: u64::MAX, ..formation }.may_follow(&before),
            };
            is_later || !self.config.guards.on(Guard::PromiseKept)
        });
        if is_its_own && is_free && self.saved.phase == Phase::Prepared {
            self.saved.promise = Some(formation);
        }
    }

    fn reach(&mut self, phase: Phase, out: &mut Vec<Action>) {
        if self.saved.phase < phase {
            self.saved.phase = phase;
            self.save(out);
        }
    }

    fn save(&self, out: &mut Vec<Action>) {
        out.push(Action::Save(Box::new(self.saved.clone())));
    }

    /// Reports to the next seed, and sets the time of the next report.
    fn report(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.saved.phase < Phase::Networked {
            return;
        }
        self.number = self.number.wrapping_add(1);
        let report = Report {
            number: self.number,
            hardware: self.config.hardware.clone(),
            held: self.saved.held.clone(),
            epoch: self.roster.as_ref().map_or(0, |roster| roster.epoch),
            phase: self.phase(),
            wall: now.wall,
            promise: self.saved.promise,
        };
        // The one that answers is asked again; who does not gives way to the next.
        if self.unanswered > 1 {
            self.turn = self.turn.wrapping_add(1);
        }
        if let Some(seed) = self.seeds.get(self.turn % self.seeds.len().max(1)) {
            out.push(Action::Send(*seed, Box::new(report)));
        }
        let wait = match (self.waits, self.unanswered) {
            (Waits::Others, 0 | 1) => REPORT_EVERY,
            (_, unanswered) => (BACK_OFF.0 << unanswered.min(5)).min(BACK_OFF.1),
        };
        out.push(Action::Wake(now.mono + wait - self.jitter(wait / 4)));
    }

    /// Less than `most`, so that machines with one power switch do not speak at once.
    fn jitter(&self, most: u64) -> u64 {
        let mixed = (self.number ^ self.config.random).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) % most.max(1)
    }
}

fn open(signed: &[u8], config: &Config) -> Option<Roster> {
    signed::open(signed, &config.operators).ok()
}
