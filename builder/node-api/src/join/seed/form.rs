//! When the cluster is formed, and that it is formed once.

use super::{Action, Seed, Seen};
use crate::{
    join::{Formation, Guard, Now, Phase, STABLE_FOR, Stage},
    roster::Node,
};

/// How long a report says how a node is, in milliseconds: it may be lost twice.
const FRESH_FOR: u64 = 20_000;

impl Seed {
    /// How far the seed is.
    pub(super) fn stage(&self, now: Now) -> Stage {
        match self.saved.fired {
            Some(_) if self.saved.is_formed => Stage::Formed,
            Some(_) => Stage::Deploying,
            None if self.is_stable(now) => Stage::Forming(self.formation()),
            None => Stage::Gathering,
        }
    }

    /// Deploys, if nothing is missing: all is well, has been for a minute, and every controller promised it.
    pub(super) fn form(&mut self, now: Now, out: &mut Vec<Action>) {
        self.well_since = self.is_well(now).then(|| self.well_since.unwrap_or(now.mono));
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
            epoch: self.roster.epoch,
            generation: self.roster.seed_generation(),
            seed: self.config.key,
        }
    }

    /// Every controller is ready, and workers enough; and nobody is part of a cluster that this seed did not deploy.
    fn is_well(&self, now: Now) -> bool {
        let is_ready =
            |row: &Node| self.seen.get(&row.name).is_some_and(|seen| self.is_ready(seen, now));
        let workers =
            self.roster.nodes.iter().filter(|row| !row.is_control() && is_ready(row)).count();
        let is_another_s = |seen: &Seen| seen.report.phase >= Phase::Deploying;
        self.roster.control_plane().all(is_ready)
            && workers >= self.roster.minimum_workers
            && !self.seen.values().any(is_another_s)
    }

    fn is_ready(&self, seen: &Seen, now: Now) -> bool {
        seen.report.phase == Phase::Ready
            && seen.report.epoch == self.roster.epoch
            && now.mono.saturating_sub(seen.at) <= FRESH_FOR
            && (seen.is_clock_right || !self.config.guards.on(Guard::Clock))
    }

    fn is_stable(&self, now: Now) -> bool {
        self.well_since.is_some_and(|since| now.mono.saturating_sub(since) >= STABLE_FOR)
    }

    fn is_promised(&self) -> bool {
        let formation = Some(self.formation());
        let has_promised = |row: &Node| {
            self.seen.get(&row.name).is_some_and(|seen| seen.report.promise == formation)
        };
        !self.config.guards.on(Guard::PromiseAsked) || self.roster.control_plane().all(has_promised)
    }
}
