//! What an operator mends, as the documentation says.
//!
//! A machine that has a wrong name is reset, the generation of a row whose machine is another one raised, and a new epoch
//! signed, which opens the window again and is newer than any machine's. Where a promise binds a node to a seed that is no more, perhaps one that was lost
//! while it deployed, the seed is replaced too.

use std::{collections::BTreeSet, sync::Arc};

use coremax_node_api::{
    join::{
        NodeKey, Refusal,
        node::{Node, Waits},
        seed::{Obstacle, Seed},
    },
    roster::{Name, Roster},
};

use super::{
    machine::Machine,
    world::{Step, World},
};

impl World {
    /// Whether an operator finds what no program may mend.
    pub(super) fn is_there_to_mend(&self) -> bool {
        let Some(number) = self.seed() else { return false };
        let Some(seed) = &self.machines[number].seed else { return false };
        seed.edition().epoch < self.roster.epoch
            || self.machines.iter().any(|machine| is_newer(machine, seed))
            || self.is_closed(seed)
            || !self.misplaced(number).is_empty()
            || !self.stale_rows(number).is_empty()
    }

    /// Whether a row has no machine, and one that came for it has come too late.
    fn is_closed(&self, seed: &Seed) -> bool {
        let too_late = Some(Waits::Refused(Refusal::WindowClosed));
        let is_late = |machine: &Machine| machine.node.as_ref().map(Node::waits) == too_late;
        seed.saved().members.len() < seed.roster().nodes.len() && self.machines.iter().any(is_late)
    }

    /// Does all of it.
    pub(super) fn mend(&mut self) -> Step {
        let Some(seed_machine) = self.seed() else { return Ok(()) };
        let misplaced = self.misplaced(seed_machine);
        let mut stale = self.stale_rows(seed_machine);
        for number in misplaced {
            self.wipe(number);
        }
        let before = self.roster.clone();
        self.replace(&before, &stale);
        if !self.roster.faults().is_empty() {
            self.name_the_seed(&before, seed_machine, &mut stale);
        }
        self.roster.epoch = self.next_epoch();
        self.sign();
        if stale.contains(&self.roster.seed) {
            self.roster.seed_key = None;
            self.sign();
            self.wipe(seed_machine);
            self.machines[seed_machine].medium = Some(Arc::clone(&self.signed));
            return self.power_on(seed_machine);
        }
        self.put_in()
    }

    fn replace(&mut self, before: &Roster, rows: &BTreeSet<Name>) {
        for row in self.roster.nodes.iter_mut().filter(|row| rows.contains(&row.name)) {
            row.generation = before.next_generation(row);
        }
    }

    /// No controller is left that the seed began with: one that has formed the cluster is named in the roster, another
    /// one replaced.
    fn name_the_seed(&mut self, before: &Roster, seed_machine: usize, stale: &mut BTreeSet<Name>) {
        let machine = &self.machines[seed_machine];
        let fired = machine.disk.seed.as_ref().and_then(|seed| seed.fired);
        if fired.is_some() && !stale.contains(&self.roster.seed) {
            self.roster.seed_key = machine.key();
        } else {
            stale.insert(self.roster.seed.clone());
            self.roster = before.clone();
            self.replace(before, stale);
        }
    }

    /// Machines that the seed has not as what they say they are.
    fn misplaced(&self, seed_machine: usize) -> Vec<usize> {
        let Some(seed) = &self.machines[seed_machine].seed else { return Vec::new() };
        let is_misplaced = |number: &usize| {
            let Some(disk) = &self.machines[*number].disk.node else { return false };
            let row = seed.saved().members.iter().find(|(_, member)| member.key == disk.key);
            let has = disk.held.as_ref().map(|held| &held.name);
            let is_waiting = row.is_none() && has.is_none() && !self.is_named(*number);
            // Somebody who has the cluster's key said that it is the seed.
            let is_another_s = seed.saved().fired.is_some()
                && self.is_bound(*number, self.machines[seed_machine].key());
            !is_waiting
                && (is_another_s
                    || self.has_moved(*number)
                    || row.is_none()
                    || (has.is_some() && has != row.map(|(name, _)| name)))
        };
        let belonging = (0..self.machines.len())
            .filter(|number| self.belongs(*number) && *number != seed_machine);
        belonging.filter(is_misplaced).collect()
    }

    /// Whether a machine has a roster that no good one can follow.
    fn has_moved(&self, number: usize) -> bool {
        let disk = self.machines[number].disk.node.as_ref();
        let roster = disk.and_then(|disk| disk.roster.as_deref());
        let known = roster.and_then(|roster| self.known.get(roster));
        known.is_some_and(|known| self.roster.unfaithful_to(&known.roster).is_some())
    }

    /// Whether a row names this machine.
    pub(super) fn is_named(&self, number: usize) -> bool {
        let hardware = &self.machines[number].hardware;
        let mut rows = self.roster.nodes.iter().filter_map(|row| row.matches.as_ref());
        rows.any(|row| hardware.is_meant_by(row))
    }

    /// Whether a machine promised itself to another seed, and that was not given up.
    fn is_bound(&self, number: usize, seed: Option<NodeKey>) -> bool {
        let promise = self.machines[number].disk.node.as_ref().and_then(|disk| disk.promise);
        promise.is_some_and(|promise| {
            Some(promise.seed) != seed && promise.generation >= self.roster.seed_generation()
        })
    }

    /// Rows whose machine, as the seed has it, is not there, or will be wiped; and the seed's own, if somebody promised
    /// another seed.
    fn stale_rows(&self, seed_machine: usize) -> BTreeSet<Name> {
        let Some(seed) = &self.machines[seed_machine].seed else { return BTreeSet::new() };
        let misplaced = self.misplaced(seed_machine);
        let mut stale = BTreeSet::new();
        for (name, member) in &seed.saved().members {
            let is_there = |number: &usize| {
                self.belongs(*number)
                    && self.machines[*number].key() == Some(member.key)
                    && !misplaced.contains(number)
            };
            if !(0..self.machines.len()).any(|number| is_there(&number)) {
                stale.insert(name.clone());
            }
        }
        let key = self.machines[seed_machine].key();
        let mut belonging = (0..self.machines.len()).filter(|number| self.belongs(*number));
        let is_bound = belonging.any(|number| self.is_bound(number, key));
        // As the seed says itself: somebody, perhaps a machine that was replaced, is part of another formation.
        let obstacles = seed.obstacles(self.machines[seed_machine].now(self.time));
        let is_elsewhere = obstacles.iter().any(|o| matches!(o, Obstacle::Elsewhere(_)));
        if (is_bound || is_elsewhere) && seed.saved().fired.is_none() {
            stale.insert(self.roster.seed.clone());
        }
        stale
    }
}

/// Whether a machine has a roster that is newer than the seed's, or another one of its epoch.
fn is_newer(machine: &Machine, seed: &Seed) -> bool {
    machine.disk.node.as_ref().is_some_and(|disk| {
        let (theirs, ours) = (disk.edition, seed.edition());
        theirs.epoch > ours.epoch || (theirs.epoch == ours.epoch && theirs != ours)
    })
}
