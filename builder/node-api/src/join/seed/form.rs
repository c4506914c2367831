//! When the cluster is formed, and that it is formed once.

use std::collections::BTreeSet;

use super::{Action, CANDIDATES_MAX, Seed};
use crate::{
    cluster_status::word,
    join::{
        CLOCKS_APART_MAX, ELSEWHERE_FOR, Formation, Guard, Lack, NodeKey, Now, Phase, Report,
        STABLE_FOR, Stage,
    },
    roster::{Mode, Name, Node},
};

/// How long a report says how a node is, in milliseconds: it may be lost twice.
const FRESH_FOR: u64 = 20_000;
/// Pairs that are told of, at most. Set here: nobody reads more.
const PAIRS_MAX: usize = 32;

/// What a cluster is not formed for. Displays as what the operator sees, and may do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A node that has to be ready is not.
    #[error("{name} is not ready: {why}")]
    NotReady {
        /// The node.
        name: Name,
        /// What it is instead.
        why: Unready,
    },
    /// There are fewer workers ready than the roster wants.
    #[error("{ready} workers are ready, and {wanted} are the minimum")]
    Workers {
        /// Which are ready.
        ready: usize,
        /// The roster's minimum.
        wanted: usize,
    },
    /// The clocks of two nodes that are ready are apart.
    #[error("the clock of {fast} is {apart} ms before that of {slow}")]
    Clocks {
        /// The one whose clock shows the latest time.
        fast: Name,
        /// The one whose clock shows the earliest.
        slow: Name,
        /// Milliseconds between them.
        apart: u64,
    },
    /// Two nodes that are ready do not reach each other.
    #[error(
        "{from} does not reach {to} with {mtu} bytes: set the MTU of cards and switches, or another one in the roster"
    )]
    Unreached {
        /// Who says so.
        from: Name,
        /// Whom it does not reach.
        to: Name,
        /// The roster's MTU.
        mtu: u16,
    },
    /// A node is bound to another seed.
    #[error(
        "{name} has promised itself to the seed {seed}; if that is dead, replace the seed: raise the generation of its row"
    )]
    Promised {
        /// The node.
        name: Name,
        /// The key of the other seed.
        seed: NodeKey,
    },
    /// A machine is part of another formation.
    #[error(
        "the machine {0} is part of another formation; if its seed is dead, replace the seed: raise the generation of its row"
    )]
    Elsewhere(NodeKey),
}

/// Why a node is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// It has not come.
    #[error("no machine has come for it")]
    Nobody,
    /// It says nothing.
    #[error("it was not heard lately")]
    Silent,
    /// It has not the seed's roster.
    #[error("it has another roster yet")]
    Roster,
    /// It finds something missing.
    #[error("{0}")]
    Lacks(Lack),
    /// It has not come so far.
    #[error("it is {} yet", word(*.0))]
    Phase(Phase),
    /// Its clock is not the seed's.
    #[error("its clock is {0} ms off")]
    Clock(u64),
}

pub(super) fn is_fresh(at: u64, now: Now) -> bool {
    now.mono.saturating_sub(at) <= FRESH_FOR
}

impl Seed {
    /// How far the cluster is.
    pub(super) fn stage(&self, now: Now) -> Stage {
        match self.saved.fired {
            Some(formation) if self.saved.is_formed => Stage::Formed(formation),
            Some(formation) => Stage::Deploying(formation),
            None if self.is_stable(now) => Stage::Forming(self.formation()),
            None => Stage::Gathering,
        }
    }

    /// Deploys, if nothing is missing: all is well, has been for a minute, and everyone who must promised it.
    pub(super) fn form(&mut self, now: Now, out: &mut Vec<Action>) {
        let is_well = self.saved.fired.is_some() || self.obstacles(now).is_empty();
        self.well_since = is_well.then(|| self.well_since.unwrap_or(now.mono));
        let may_fire = self.saved.fired.is_none() || !self.config.guards.on(Guard::Once);
        if may_fire && self.is_stable(now) && self.is_promised() {
            self.saved.fired = Some(self.formation());
            self.begin(self.those_ready(now), now, out);
        }
        self.take_in_late(now, out);
    }

    fn formation(&self) -> Formation {
        Formation {
            cluster: self.roster.cluster,
            edition: self.edition,
            generation: self.roster.seed_generation(),
            seed: self.config.key,
        }
    }

    /// What the cluster is not formed for, in the roster's order; nothing when all is well, and a minute later it is.
    pub fn obstacles(&self, now: Now) -> Vec<Obstacle> {
        let formation = self.formation();
        let not_ready = self.quorum().filter_map(|row| {
            let why = self.unready(row, now)?;
            Some(Obstacle::NotReady { name: row.name.clone(), why })
        });
        let mut all: Vec<_> = not_ready.collect();
        let counted = self.counted(now);
        let ready = counted.iter().filter(|row| !row.is_control()).count();
        let wanted = self.roster.minimum_workers;
        if ready < wanted {
            all.push(Obstacle::Workers { ready, wanted });
        }
        all.extend(self.apart(&counted));
        all.extend(self.unreached(&counted));
        for (name, seen) in &self.seen {
            let promise = seen.report.promise.filter(|promise| !formation.may_follow(promise));
            // Without these the seed would see what the promise alone has to hold.
            let is_looked_at = self.config.guards.on(Guard::PromiseAsked)
                && self.config.guards.on(Guard::PromiseKept);
            if let (Some(promise), true) = (promise, is_looked_at) {
                all.push(Obstacle::Promised { name: name.clone(), seed: promise.seed });
            }
        }
        let lately = self.elsewhere.iter().filter(|(_, at)| now.mono - **at < ELSEWHERE_FOR);
        all.extend(lately.map(|(key, _)| Obstacle::Elsewhere(*key)));
        all
    }

    /// Those who have to be ready and to promise: the control plane, and in a pool everybody. Any two seeds have one of
    /// them in common.
    pub(super) fn quorum(&self) -> impl Iterator<Item = &Node> {
        let is_whole = self.roster.mode == Mode::Pool && self.config.guards.on(Guard::WholePool);
        self.roster.nodes.iter().filter(move |row| is_whole || row.is_control())
    }

    /// Whoever is part of a formation that this seed did not make stands in the way of another one, whether it has a
    /// place here or not; unless the operator gave up that formation's seed.
    pub(super) fn note_elsewhere(&mut self, key: NodeKey, report: &Report, now: Now) {
        let generation = self.roster.seed_generation();
        let is_given_up = report.promise.is_some_and(|promise| promise.generation < generation);
        let is_part = report.phase >= Phase::Deploying && !is_given_up;
        self.elsewhere.retain(|_, at| now.mono.saturating_sub(*at) <= ELSEWHERE_FOR);
        if !is_part || self.saved.fired.is_some() {
            self.elsewhere.remove(&key);
        } else if self.elsewhere.contains_key(&key) || self.elsewhere.len() < CANDIDATES_MAX {
            self.elsewhere.insert(key, now.mono);
        }
    }

    /// The nodes that the cluster would be formed with now: all that are ready. What keeps others away holds nobody up,
    /// unless they have to be ready.
    pub fn counted(&self, now: Now) -> Vec<&Node> {
        self.roster.nodes.iter().filter(|row| self.unready(row, now).is_none()).collect()
    }

    pub(super) fn unready(&self, row: &Node, now: Now) -> Option<Unready> {
        let Some(seen) = self.seen.get(&row.name) else {
            let has_come = self.saved.members.contains_key(&row.name);
            return Some(if has_come { Unready::Silent } else { Unready::Nobody });
        };
        let lack = seen.report.lacks.first().filter(|_| self.config.guards.on(Guard::Lack));
        let off = seen.ahead.0.unsigned_abs();
        let is_clock_looked_at = self.config.guards.on(Guard::Clock);
        if !is_fresh(seen.at, now) {
            Some(Unready::Silent)
        } else if seen.report.edition != self.edition {
            Some(Unready::Roster)
        } else if let Some(lack) = lack {
            Some(Unready::Lacks(*lack))
        } else if seen.report.phase != Phase::Ready {
            Some(Unready::Phase(seen.report.phase))
        } else if off > CLOCKS_APART_MAX && is_clock_looked_at {
            Some(Unready::Clock(off))
        } else {
            None
        }
    }

    /// The two clocks that are furthest apart, if that is too far.
    pub(super) fn apart(&self, counted: &[&Node]) -> Option<Obstacle> {
        let ahead = |row: &&&Node| self.seen.get(&row.name).map_or(0, |seen| seen.ahead.0);
        let (fast, slow) = (counted.iter().max_by_key(ahead)?, counted.iter().min_by_key(ahead)?);
        let apart = ahead(&fast).abs_diff(ahead(&slow));
        let is_far = apart > CLOCKS_APART_MAX && self.config.guards.on(Guard::Clock);
        let (fast, slow) = (fast.name.clone(), slow.name.clone());
        is_far.then_some(Obstacle::Clocks { fast, slow, apart })
    }

    /// The pairs of which one says that it does not reach the other, each once.
    fn unreached(&self, counted: &[&Node]) -> Vec<Obstacle> {
        let numbers: BTreeSet<u8> =
            counted.iter().filter_map(|row| self.roster.number(&row.name)).collect();
        let row = |number: u8| self.roster.nodes.get(usize::from(number));
        let mut pairs = BTreeSet::new();
        let mut obstacles = Vec::new();
        for from in numbers.iter().filter(|_| self.config.guards.on(Guard::Mesh)) {
            let Some(seen) = row(*from).and_then(|row| self.seen.get(&row.name)) else { continue };
            for to in seen.report.unreached.intersection(&numbers) {
                let is_new = pairs.insert((from.min(to), from.max(to)));
                if let (Some(from), Some(to), true) = (row(*from), row(*to), is_new) {
                    let (from, to) = (from.name.clone(), to.name.clone());
                    obstacles.push(Obstacle::Unreached { from, to, mtu: self.roster.mtu });
                }
                if obstacles.len() == PAIRS_MAX {
                    return obstacles;
                }
            }
        }
        obstacles
    }

    fn is_stable(&self, now: Now) -> bool {
        self.well_since.is_some_and(|since| now.mono.saturating_sub(since) >= STABLE_FOR)
    }

    fn is_promised(&self) -> bool {
        let formation = Some(self.formation());
        let has_promised = |row: &Node| {
            self.seen.get(&row.name).is_some_and(|seen| seen.report.promise == formation)
        };
        !self.config.guards.on(Guard::PromiseAsked) || self.quorum().all(has_promised)
    }
}
