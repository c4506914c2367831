//! The node's side: finds a seed, does what it says as far as the operator signed it, and keeps its promise.

mod health;
mod obey;
mod seeds;

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Answer, BACK_OFF, Beacon, Build, Edition, Formation, Guard, Guards, Hardware, Health, Held,
    NodeKey, Now, PENDING_EVERY, Peer, Phase, REPORT_EVERY, Refusal, Report, Verdict, cluster_hash,
};
use crate::{
    base64_text,
    guid::Guid,
    roster::{Roster, signed},
    update::key::PublicKey,
};
use seeds::Seeds;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster that its medium names.
    pub cluster: Guid,
    /// What the operator signs rosters with.
    pub operators: Vec<PublicKey>,
    /// Which machine this is.
    pub hardware: Hardware,
    /// What it is made of.
    pub build: Build,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Made at the first boot.
    pub key: NodeKey,
    /// The machine that it was made on, with the cards that it had last.
    pub hardware: Hardware,
    /// How far it came.
    pub phase: Phase,
    /// The row that it has, for ever.
    pub held: Option<Held>,
    /// The newest roster that it saw, signed.
    #[serde(with = "base64_text::option", default)]
    pub roster: Option<Arc<[u8]>>,
    /// Which one that is, whether or not it can be opened still.
    pub edition: Edition,
    /// The epoch that it was prepared for last.
    pub prepared: u64,
    /// What it promised, or is part of.
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
    /// What it found around it.
    Health(Health),
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
    /// Begin with this when what was to be done before is done, and say [`Input::Done`]. It may have been begun, or
    /// done, before.
    Do(Work),
    /// Wake up at this [`Now::mono`], and at no earlier one that was asked for before.
    Wake(u64),
}

/// Work that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Bring the network up.
    Network,
    /// Write what a node of this row has by the roster of this epoch.
    Prepare(u64),
}

/// What the node waits for, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waits {
    /// A seed's answer.
    Seed,
    /// The operator's approval, or the other machines of the pool.
    Approval,
    /// That what refused it changes.
    Refused(Refusal),
    /// Its disk belongs to another machine: it does nothing until it is reset.
    ForeignDisk,
    /// The seed's roster is older than its own, not signed, or would give it another name; or it has promised itself
    /// to another seed.
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
    seeds: Seeds,
    waits: Waits,
    /// The number of the last report.
    number: u64,
    /// When it was sent, by [`Now::mono`].
    sent: u64,
    is_answered: bool,
    /// The last answer was orders that it took.
    has_obeyed: bool,
    /// How many reports were not answered by orders that it obeyed.
    unanswered: u32,
    /// A beacon has put the next report forward.
    is_hurried: bool,
    is_synced: bool,
    /// What it found around it last.
    health: Option<Health>,
    /// The epoch that it is being prepared for.
    preparing: Option<u64>,
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
            edition: Edition::default(),
            prepared: 0,
            promise: None,
        });
        let roster = saved.roster.as_deref();
        let mut node = Self {
            roster: roster.and_then(|roster| open(roster, &config)),
            seeds: Seeds::new(config.seeds.clone()),
            waits: if is_foreign { Waits::ForeignDisk } else { Waits::Seed },
            number: config.random,
            sent: 0,
            is_answered: false,
            has_obeyed: false,
            unanswered: 0,
            is_hurried: false,
            is_synced: false,
            health: None,
            preparing: None,
            saved,
            config,
        };
        let mut out = Vec::new();
        let has_other_cards = !is_foreign && node.saved.hardware != node.config.hardware;
        if has_other_cards {
            node.saved.hardware = node.config.hardware.clone();
        }
        if fresh || has_other_cards {
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
            Input::Done(Work::Prepare(epoch)) => self.prepared(epoch, &mut out),
            Input::Health(health) => self.health = Some(health),
        }
        out
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        match self.saved.phase {
            Phase::Networked if self.waits != Waits::Seed => Phase::Discovered,
            Phase::Enrolled if self.is_synced => Phase::TimeSynced,
            Phase::Prepared if self.is_synced && self.is_healthy() => Phase::Ready,
            phase => phase,
        }
    }

    /// What it waits for.
    pub fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether the last [`Input::Answer`] was orders that it took: who else gives it something is not to be heard.
    pub const fn has_obeyed(&self) -> bool {
        self.has_obeyed
    }

    /// What is on its disk, if all that was asked for was done.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// The newest roster that it saw.
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
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
        // With the card that it came by: an address of the link's own is one on each link.
        let mut seed = from;
        seed.set_port(beacon.port);
        if !is_ours || self.saved.phase < Phase::Networked || !self.seeds.hear(seed) {
            return;
        }
        // Once a report: whoever sends beacons from ever new addresses puts off none.
        if self.waits == Waits::Seed && self.unanswered > 0 && !self.is_hurried {
            self.is_hurried = true;
            out.push(Action::Wake(now.mono + self.jitter(BACK_OFF.0)));
        }
    }

    fn take(&mut self, from: Peer, answer: Answer, now: Now, out: &mut Vec<Action>) {
        self.has_obeyed = false;
        let is_believed = from.is_proven || !self.config.guards.on(Guard::Proof);
        // An answer to another report is late or doubled: the clock in it is not the seed's now.
        if !is_believed || answer.number != self.number || self.is_answered {
            return;
        }
        self.is_answered = true;
        let obeyed = match answer.verdict {
            Verdict::Pending => Err(Waits::Approval),
            Verdict::Refused(refusal) => Err(Waits::Refused(refusal)),
            Verdict::Member(orders) => self.obey(from, &orders, now, out).ok_or(Waits::BadOrders),
        };
        match obeyed {
            Ok(obeyed) => {
                self.waits = Waits::Others;
                self.has_obeyed = true;
                self.unanswered = 0;
                self.seeds.keep();
                if obeyed.has_promised {
                    self.report(Now { wall: obeyed.wall, ..now }, out);
                }
            }
            // Whoever this was, another one may be the seed.
            Err(waits) => {
                self.waits = waits;
                self.seeds.next();
            }
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

    /// Reports to a seed, and sets the time of the next report.
    fn report(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.saved.phase < Phase::Networked {
            return;
        }
        // The one that answers is asked again; who does not gives way to the next.
        if !self.is_answered && self.unanswered > 1 {
            self.seeds.next();
        }
        let wait = match (self.waits, self.unanswered) {
            (Waits::Others, 0 | 1) => REPORT_EVERY,
            (Waits::Approval, _) if self.is_answered => PENDING_EVERY,
            // Each of several seeds has its turn as often as the only one.
            (_, unanswered) => {
                let wait = (BACK_OFF.0 << unanswered.min(5)).min(BACK_OFF.1);
                (wait / self.seeds.count()).max(BACK_OFF.0)
            }
        };
        self.number = self.number.wrapping_add(1);
        (self.sent, self.is_answered, self.is_hurried) = (now.mono, false, false);
        let report = Report {
            number: self.number,
            hardware: self.config.hardware.clone(),
            held: self.saved.held.clone(),
            edition: self.roster.as_ref().map_or_else(Edition::default, |_| self.saved.edition),
            phase: self.phase(),
            wall: now.wall,
            lacks: self.lacks(),
            unreached: self.unreached(),
            promise: self.saved.promise,
            build: self.config.build.clone(),
            enrol: None,
        };
        if let Some(seed) = self.seeds.asked() {
            out.push(Action::Send(seed, Box::new(report)));
        }
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
