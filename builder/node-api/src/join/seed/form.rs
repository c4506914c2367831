//! When the cluster is formed, and that it is formed once.

use super::{Action, CANDIDATES_MAX, Seed};
use crate::{
    join::{ELSEWHERE_FOR, Formation, Guard, NodeKey, Now, Phase, Report, STABLE_FOR, Stage},
    roster::{Mode, Name, Node},
};

/// How long a report says how a node is, in milliseconds: it may be lost twice.
const FRESH_FOR: u64 = 20_000;

/// What a cluster is not formed for. Displays as what the operator sees, and may do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A node that has to be ready is not, or was not heard lately.
    #[error("{0} is not ready")]
    NotReady(Name),
    /// There are fewer workers ready than the roster wants.
    #[error("{ready} workers are ready, and {wanted} are the minimum")]
    Workers {
        /// Which are ready.
        ready: usize,
        /// The roster's minimum.
        wanted: usize,
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

impl Seed {
    /// How far the seed is.
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
            let formation = self.formation();
            self.saved.fired = Some(formation);
            self.save(now, out);
            out.push(Action::Deploy(formation));
        }
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
        let not_ready = self.quorum().filter(|row| !self.is_ready(row, now));
        let mut all: Vec<_> = not_ready.map(|row| Obstacle::NotReady(row.name.clone())).collect();
        let workers = self.roster.nodes.iter().filter(|row| !row.is_control());
        let (ready, wanted) =
            (workers.filter(|row| self.is_ready(row, now)).count(), self.roster.minimum_workers);
        if ready < wanted {
            all.push(Obstacle::Workers { ready, wanted });
        }
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
    fn quorum(&self) -> impl Iterator<Item = &Node> {
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

    fn is_ready(&self, row: &Node, now: Now) -> bool {
        self.seen.get(&row.name).is_some_and(|seen| {
            seen.report.phase == Phase::Ready
                && seen.report.edition == self.edition
                && now.mono.saturating_sub(seen.at) <= FRESH_FOR
                && (seen.is_clock_right || !self.config.guards.on(Guard::Clock))
        })
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
