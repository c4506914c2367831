//! What a node does that a seed says.

use std::sync::Arc;

use super::{Action, Node, Work, open};
use crate::{
    join::{
        CLOCKS_APART_MAX, Edition, Formation, Guard, NodeKey, Now, Orders, Peer, Phase,
        ROUND_TRIP_MAX, Stage,
    },
    roster::{Mode, Roster},
};

/// What came of orders.
pub(super) struct Obeyed {
    pub has_promised: bool,
    /// The node's clock, as it is now.
    pub wall: i64,
}

impl Node {
    /// Does what a seed says, or nothing of it.
    pub(super) fn obey(
        &mut self,
        from: Peer,
        orders: &Orders,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Option<Obeyed> {
        let (signed, roster) = self.roster_of(orders)?;
        let row = roster.node(&orders.held.name)?;
        let is_renamed = self.saved.held.as_ref().is_some_and(|held| *held != orders.held);
        if row.generation != orders.held.generation
            || (is_renamed && self.config.guards.on(Guard::Name))
            || !self.may_order(from.key, &roster)
        {
            return None;
        }
        let must_promise = row.is_control() || roster.mode == Mode::Pool;
        let before = self.saved.clone();
        self.saved.held = Some(orders.held.clone());
        if self.saved.edition != orders.edition {
            self.follow(&roster);
        }
        (self.saved.roster, self.saved.edition) = (Some(signed), orders.edition);
        self.roster = Some(roster);
        self.saved.phase = self.saved.phase.max(Phase::Enrolled);
        match orders.stage {
            Stage::Forming(formation) if must_promise => self.promise(from.key, formation),
            Stage::Deploying(formation) => self.join_in(from.key, formation, Phase::Deploying),
            Stage::Formed(formation) => self.join_in(from.key, formation, Phase::Formed),
            Stage::Gathering | Stage::Forming(_) => {}
        }
        let is_joined = self.saved.phase >= Phase::Deploying;
        let has_promised = self.saved.promise != before.promise && !is_joined;
        if self.saved != before {
            self.save(out);
        }
        let wall = self.set_clock(orders.wall, now, out);
        self.prepare(out);
        Some(Obeyed { has_promised, wall })
    }

    /// The roster that the orders are given by: signed, of this cluster, and none older than the node's own.
    fn roster_of(&self, orders: &Orders) -> Option<(Arc<[u8]>, Roster)> {
        let own = self.saved.edition;
        let (signed, roster, edition) = match &orders.roster {
            Some(signed) => {
                let roster = open(signed, &self.config)?;
                let edition = Edition::of(&roster, self.config.guards);
                (Arc::clone(signed), roster, edition)
            }
            None => (self.saved.roster.clone()?, self.roster.clone()?, own),
        };
        let is_newer = edition.epoch > own.epoch || !self.config.guards.on(Guard::Epoch);
        let own_roster = self.roster.as_ref();
        let is_faithful = || {
            own_roster.is_none_or(|own| roster.unfaithful_to(own).is_none())
                || !self.config.guards.on(Guard::Epoch)
                || !self.config.guards.on(Guard::Faithful)
        };
        let is_it = edition == orders.edition && roster.cluster == self.config.cluster;
        (is_it && (edition == own || (is_newer && is_faithful()))).then_some((signed, roster))
    }

    /// Whether this seed may say anything: the one that was promised to, or one that the operator put in its place.
    fn may_order(&self, seed: NodeKey, roster: &Roster) -> bool {
        let is_named = roster.seed_key.is_none_or(|named| named == seed);
        let is_bound = self.saved.promise.is_some_and(|promise| {
            promise.seed != seed && promise.generation >= roster.seed_generation()
        });
        let is_open = [Guard::Authority, Guard::PromiseKept]
            .iter()
            .any(|guard| !self.config.guards.on(*guard));
        is_named && (!is_bound || is_open)
    }

    /// Goes over to another roster: who was prepared has to prepare again, and so has who is part of a formation whose
    /// seed the operator gave up.
    fn follow(&mut self, roster: &Roster) {
        let is_given_up = |promise: Formation| promise.generation < roster.seed_generation();
        let is_orphan = self.saved.promise.is_some_and(is_given_up);
        let is_prepared = self.saved.phase >= Phase::Prepared;
        if is_prepared && !self.config.guards.on(Guard::Prepare) {
            self.saved.prepared = roster.epoch;
        } else if self.saved.phase == Phase::Prepared || is_orphan {
            self.saved.phase = self.saved.phase.min(Phase::Enrolled);
        }
    }

    /// Promises a formation, unless another one was promised.
    fn promise(&mut self, seed: NodeKey, formation: Formation) {
        let Some(roster) = &self.roster else { return };
        let is_its_own = formation
            == Formation {
                cluster: roster.cluster,
                edition: self.saved.edition,
                generation: roster.seed_generation(),
                seed,
            };
        if is_its_own && self.is_free_for(formation) && self.saved.phase == Phase::Prepared {
            self.saved.promise = Some(formation);
        }
    }

    /// Becomes part of what is formed. A node that comes late prepares itself like the others before.
    fn join_in(&mut self, seed: NodeKey, formation: Formation, phase: Phase) {
        let Some(roster) = &self.roster else { return };
        // An honest seed has the generation that the roster says, and was no seed in an epoch to come: who follows one that
        // says otherwise would be out of the operator's reach.
        let is_the_seed_s = formation.seed == seed
            && formation.cluster == self.config.cluster
            && formation.generation == roster.seed_generation()
            && formation.edition.epoch <= self.saved.edition.epoch;
        if is_the_seed_s && self.is_free_for(formation) && self.saved.phase >= Phase::Prepared {
            self.saved.promise = Some(formation);
            self.saved.phase = self.saved.phase.max(phase);
        }
    }

    fn is_free_for(&self, formation: Formation) -> bool {
        let is_later = |before: &Formation| match self.config.guards.on(Guard::Epoch) {
            true => formation.may_follow(before),
            false => {
                let edition = Edition { epoch: u64::MAX, ..formation.edition };
                Formation { edition, ..formation }.may_follow(before)
            }
        };
        let is_free = self.saved.promise.as_ref().is_none_or(is_later);
        is_free || !self.config.guards.on(Guard::PromiseKept)
    }

    /// Sets the clock by the seed's, if this answer says what the seed's is. The clock, as it is now.
    fn set_clock(&mut self, wall: i64, now: Now, out: &mut Vec<Action>) -> i64 {
        let trip = now.mono.saturating_sub(self.sent);
        if trip > ROUND_TRIP_MAX && self.config.guards.on(Guard::RoundTrip) {
            return now.wall;
        }
        self.is_synced = true;
        let wall = wall.saturating_add_unsigned(trip / 2);
        // What an answer says is true to half its way. Once there are programs that a clock that jumps would hurt, small
        // differences are chrony's to mend.
        let is_in_use = self.saved.phase >= Phase::Deploying;
        let small = if is_in_use { 2 * CLOCKS_APART_MAX } else { CLOCKS_APART_MAX / 4 };
        if wall.abs_diff(now.wall) <= small + trip / 2 {
            return now.wall;
        }
        out.push(Action::SetClock(wall));
        wall
    }

    fn prepare(&mut self, out: &mut Vec<Action>) {
        let epoch = self.saved.edition.epoch;
        if self.saved.prepared != epoch && self.preparing != Some(epoch) {
            self.preparing = Some(epoch);
            out.push(Action::Do(Work::Prepare(epoch)));
        }
    }

    pub(super) fn prepared(&mut self, epoch: u64, out: &mut Vec<Action>) {
        // Another roster may have come meanwhile: that one is being prepared for.
        if epoch == self.saved.edition.epoch && self.preparing.take_if(|of| *of == epoch).is_some()
        {
            self.saved.prepared = epoch;
            self.saved.phase = self.saved.phase.max(Phase::Prepared);
            self.save(out);
        }
    }
}
