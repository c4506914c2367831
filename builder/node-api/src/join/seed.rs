//! The seed's side: gives machines their rows, and forms the cluster once.

mod admit;
mod deploy;
mod form;
mod put_in;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Answer, BEACON_EVERY, Beacon, Build, Edition, Formation, Guard, Guards, Hardware, Held,
    NodeKey, Now, Orders, Peer, Refusal, Report, Stage, Verdict, WINDOW, cluster_hash,
};
use crate::{
    base64_text,
    roster::{Name, Roster, signed},
    update::key::PublicKey,
};
pub use form::{Obstacle, Unready};

/// How often the time that the window is open is written, in milliseconds: what a crash may add to it.
const WINDOW_SAVED_EVERY: u64 = 60_000;
/// The most machines that are remembered without a row. Set here: a liar has names without end.
const CANDIDATES_MAX: usize = 1000;

/// What a seed is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the operator signs rosters with.
    pub operators: Vec<PublicKey>,
    /// The machine's own key, as its node has it.
    pub key: NodeKey,
    /// Where it listens, TCP.
    pub port: u16,
    /// All but in tests.
    pub guards: Guards,
}

/// What is on the seed's disk, written as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The newest roster that was put in, signed.
    #[serde(with = "base64_text")]
    pub roster: Arc<[u8]>,
    /// Which machine has which row.
    pub members: BTreeMap<Name, Member>,
    /// The keys of those that had one.
    pub revoked: BTreeSet<NodeKey>,
    /// The rows that the operator gave to machines no row names.
    pub approved: BTreeMap<NodeKey, Name>,
    /// The last generation of rows that are no more: none comes again with that.
    pub gone: BTreeMap<Name, u32>,
    /// For how long the window was open, in milliseconds.
    pub window_used: u64,
    /// What was deployed, from its very beginning.
    pub fired: Option<Formation>,
    /// Whether that came to its end.
    pub is_formed: bool,
    /// Whom the deployment under way is for; nobody while there is none.
    pub deploying: Rows,
    /// Whom one has reached.
    pub deployed: Rows,
}

/// Rows, and the generation that each of them had.
pub type Rows = BTreeMap<Name, u32>;

/// The machine that has a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its key.
    pub key: NodeKey,
    /// What it is told by.
    pub hardware: Hardware,
    /// The generation of the row that it has.
    pub generation: u32,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Input {
    /// A node reports.
    Report(Peer, Box<Report>),
    /// The time of the last [`Action::Wake`] has come.
    Wake,
    /// The operator puts in a newer roster.
    Roster(Arc<[u8]>),
    /// The operator gives a row to a machine that waits.
    Approve(NodeKey, Name),
    /// The deployment came to its end.
    Deployed,
    /// It did not, and will be tried again: perhaps for others, who are there now.
    NotDeployed,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put this on the disk before what follows is done.
    Save(Box<Saved>),
    /// Answer on the channel that the report came by.
    Answer(Box<Answer>),
    /// Say to all that a seed is here.
    Beacon(Beacon),
    /// Wake up at this [`Now::mono`], and at no earlier one that was asked for before.
    Wake(u64),
    /// Deploy for these rows, or go on with it: there may have been a crash since it was begun. It takes the place of
    /// the one before, if that has not come to its end. Without rows there is nothing to deploy any more.
    Deploy(Formation, Rows),
}

/// Why a roster is not put in, or no seed can be started with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not the operator's.
    #[error("reading the roster")]
    Signed(#[source] signed::Error),
    /// It is of another cluster.
    #[error("the roster is of another cluster")]
    OtherCluster,
    /// It is not newer.
    #[error("the roster is of epoch {theirs}, and that of epoch {ours} is in already")]
    Older {
        /// Of the new roster.
        theirs: u64,
        /// Of the one that holds.
        ours: u64,
    },
    /// It changes what never changes.
    #[error("the roster changes {name} otherwise than a new roster may")]
    Unfaithful {
        /// The row.
        name: Name,
    },
    /// This machine is not the seed in it: another one is named, or took its row.
    #[error("this machine is not the seed of the roster")]
    NotTheSeed,
    /// A machine cannot get this row by the operator's word.
    #[error("{name} cannot be given to {key}: {why}")]
    Approve {
        /// The row.
        name: Name,
        /// The machine.
        key: NodeKey,
        /// What is in the way.
        why: &'static str,
    },
}

/// How a roster follows another one, for whoever wrote one that does not.
pub const FAITHFUL: &str = "roles, address and machine of a row stay while its generation does; a generation that is \
                            raised, and that of a new controller, is above the seed's; the seed's own is above all";

impl Error {
    /// What mends it, where that is known.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Older { .. } => Some("raise the epoch, and sign the roster again"),
            Self::Unfaithful { .. } => Some(FAITHFUL),
            Self::NotTheSeed => Some(
                "a machine that was replaced is reset; seed-key is for the seed that has formed the cluster, and goes \
                 when that is replaced",
            ),
            Self::Signed(_) | Self::OtherCluster | Self::Approve { .. } => None,
        }
    }
}

/// A seed.
#[derive(Debug)]
pub struct Seed {
    config: Config,
    roster: Roster,
    edition: Edition,
    saved: Saved,
    /// What changed that is not on the disk.
    is_changed: bool,
    /// The last report of each member since the seed was started.
    seen: BTreeMap<Name, Seen>,
    /// Machines that have no row yet.
    candidates: BTreeMap<NodeKey, Candidate>,
    /// When machines said last that they are part of another formation.
    elsewhere: BTreeMap<NodeKey, u64>,
    /// When the last candidate came.
    last_candidate: u64,
    /// When it was started.
    started: u64,
    /// Since when all is well.
    well_since: Option<u64>,
    /// Since when [`Saved::window_used`] holds.
    window_from: u64,
    beacons: u64,
}

/// A machine that has no row yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it is told by.
    pub hardware: Hardware,
    /// What it is made of.
    pub build: Build,
    /// When it last reported, by [`Now::mono`].
    pub at: u64,
}

#[derive(Debug)]
struct Seen {
    at: u64,
    report: Report,
    /// Milliseconds that its clock is ahead of the seed's, and when that was seen.
    ahead: (i64, u64),
}

/// How far a clock is ahead, as the last report and one a little before it say. A report ages on its way: one that was late
/// looks like a clock that is behind, and then the one before it is believed for as long as it is fresh.
fn ahead(report: &Report, before: Option<(i64, u64)>, now: Now) -> (i64, u64) {
    let ahead = report.wall.saturating_sub(now.wall);
    let is_better = |(before, at): &(i64, u64)| {
        ahead < 0 && before.unsigned_abs() < ahead.unsigned_abs() && form::is_fresh(*at, now)
    };
    before.filter(is_better).unwrap_or((ahead, now.mono))
}

impl Seed {
    /// Starts a seed with what is on its disk, or else with the operator's roster alone.
    ///
    /// # Errors
    /// [`Error::Signed`], and [`Error::NotTheSeed`] where the roster names the seed that formed the cluster.
    pub fn start(
        config: Config,
        roster: &Arc<[u8]>,
        saved: Option<Saved>,
        now: Now,
    ) -> Result<(Self, Vec<Action>), Error> {
        let saved = saved.unwrap_or_else(|| Saved {
            roster: Arc::clone(roster),
            members: BTreeMap::new(),
            revoked: BTreeSet::new(),
            approved: BTreeMap::new(),
            gone: BTreeMap::new(),
            window_used: 0,
            fired: None,
            is_formed: false,
            deploying: Rows::new(),
            deployed: Rows::new(),
        });
        let roster = signed::open(&saved.roster, &config.operators).map_err(Error::Signed)?;
        if !put_in::is_the_seed(&roster, &config, &saved) {
            return Err(Error::NotTheSeed);
        }
        let mut seed = Self {
            edition: Edition::of(&roster, config.guards),
            roster,
            is_changed: false,
            elsewhere: BTreeMap::new(),
            seen: BTreeMap::new(),
            candidates: BTreeMap::new(),
            last_candidate: now.mono,
            started: now.mono,
            well_since: None,
            window_from: now.mono,
            beacons: 0,
            saved,
            config,
        };
        let mut out = Vec::new();
        seed.save(now, &mut out);
        if !seed.saved.deploying.is_empty() && seed.config.guards.on(Guard::Resume) {
            seed.deploy(&mut out);
        }
        seed.tick(now, &mut out);
        Ok((seed, out))
    }

    /// Takes in what happens.
    ///
    /// # Errors
    /// An [`Error`] for [`Input::Roster`] and [`Input::Approve`] alone; nothing has changed then.
    pub fn step(&mut self, input: Input, now: Now) -> Result<Vec<Action>, Error> {
        let mut out = Vec::new();
        match input {
            Input::Report(from, report) => self.hear(from, *report, now, &mut out),
            Input::Wake => self.tick(now, &mut out),
            Input::Roster(roster) => self.put_in(roster, now, &mut out)?,
            Input::Approve(key, name) => {
                self.approve(key, name)?;
                self.save(now, &mut out);
            }
            Input::Deployed => self.deployed(now, &mut out),
            Input::NotDeployed => self.look_again(now, &mut out),
        }
        Ok(out)
    }

    /// What is on its disk, if all that was asked for was done.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// The machines that wait for a row, by their keys: what the operator may approve.
    pub fn waiting(&self) -> &BTreeMap<NodeKey, Candidate> {
        &self.candidates
    }

    /// What the machine of a row is made of, as it said last; nothing where it was not heard since the seed was started.
    pub fn build(&self, name: &Name) -> Option<&Build> {
        self.seen.get(name).map(|seen| &seen.report.build)
    }

    /// The roster that holds.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Which roster that is.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// For how many minutes new machines are taken yet; 0 once the window is closed.
    pub fn window(&self, now: Now) -> u16 {
        let left = WINDOW.saturating_sub(self.window_used(now)).div_ceil(60_000);
        u16::try_from(left).unwrap_or(u16::MAX)
    }

    /// How far the cluster is.
    pub fn stage_at(&self, now: Now) -> Stage {
        self.stage(now)
    }

    /// Hears a node, and answers it.
    fn hear(&mut self, from: Peer, report: Report, now: Now, out: &mut Vec<Action>) {
        let number = report.number;
        let verdict = if !from.is_proven && self.config.guards.on(Guard::Proof) {
            Verdict::Refused(Refusal::BadKey)
        } else {
            self.note_elsewhere(from.key, &report, now);
            let admitted = self.admit(from.key, &report, now);
            if self.is_changed {
                self.save(now, out);
            }
            match admitted {
                Ok(Some(name)) => self.note(name, report, now, out),
                Ok(None) => Verdict::Pending,
                Err(refusal) => Verdict::Refused(refusal),
            }
        };
        out.push(Action::Answer(Box::new(Answer { number, verdict, gift: None })));
    }

    /// Takes down what a member says. Its orders, which are what all of it comes to.
    fn note(&mut self, name: Name, report: Report, now: Now, out: &mut Vec<Action>) -> Verdict {
        let edition = self.edition;
        let roster = (report.edition != edition).then(|| Arc::clone(&self.saved.roster));
        let generation = self.saved.members[&name].generation;
        let ahead = ahead(&report, self.seen.get(&name).map(|seen| seen.ahead), now);
        self.seen.insert(name.clone(), Seen { at: now.mono, report, ahead });
        self.form(now, out);
        let (stage, held) = (self.stage_of(&name, now), Held { name, generation });
        Verdict::Member(Orders { held, edition, roster, wall: now.wall, stage })
    }

    /// What is done without a reason from outside.
    fn tick(&mut self, now: Now, out: &mut Vec<Action>) {
        let unsaved = self.window_used(now) - self.saved.window_used;
        let is_window_saved = self.saved.window_used >= WINDOW || unsaved < WINDOW_SAVED_EVERY;
        if self.sort_pool(now) || !is_window_saved {
            self.save(now, out);
        }
        self.form(now, out);
        let cluster = cluster_hash(self.roster.cluster);
        let (epoch, port) = (self.roster.epoch, self.config.port);
        out.push(Action::Beacon(Beacon { cluster, epoch, port }));
        self.beacons += 1;
        let jitter = self.beacons.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56; // 0 to 255 ms
        out.push(Action::Wake(now.mono + BEACON_EVERY + jitter));
    }

    fn window_used(&self, now: Now) -> u64 {
        self.saved.window_used + (now.mono - self.window_from)
    }

    fn is_window_open(&self, now: Now) -> bool {
        self.window_used(now) < WINDOW || !self.config.guards.on(Guard::Window)
    }

    fn save(&mut self, now: Now, out: &mut Vec<Action>) {
        self.saved.window_used = self.window_used(now);
        self.window_from = now.mono;
        self.is_changed = false;
        out.push(Action::Save(Box::new(self.saved.clone())));
    }
}
