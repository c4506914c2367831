//! How a run ends: the weather clears, and an operator mends what no program may.
//!
//! The operator sees what `coremax cluster status` shows, switches off what does not belong there, and does what the
//! documentation says: signs a new epoch, resets a machine that has a wrong name, raises the generation of a row whose machine is
//! another one. Where a promise binds a node to a seed that is no more, perhaps one that was lost while it deployed, the
//! seed is replaced too.

use std::{collections::BTreeSet, sync::Arc};

use coremax_node_api::{
    join::{NodeKey, Phase, seed::Obstacle},
    roster::{Mode, Name, Roster},
};

use super::{
    check::{Invariant, broken},
    machine::{Kind, Machine},
    scenario::{Act, STORM_MIN},
    world::{Step, World},
};

const MINUTE: u64 = 60_000;
/// How often the operator looks again.
const VISITS: usize = 4;
/// Between two visits: three times what a cluster takes with nothing in its way.
const PATIENCE: u64 = 12 * MINUTE;

impl World {
    /// Plays a run to its end.
    pub(super) fn play(&mut self) -> Step {
        let is_long = self.is_long();
        let storm = if is_long { 260 * MINUTE } else { STORM_MIN + self.rng.range(0, 4) * MINUTE };
        let long_calm = if is_long { 20 * MINUTE } else { storm };
        self.play_until(long_calm, |_| false)?;
        if is_long {
            self.clear();
        }
        self.play_until(storm, |_| false)?;
        self.clear();
        self.switch_off_what_is_foreign()?;
        for visit in 0..VISITS {
            for number in 0..self.machines.len() {
                if self.belongs(number) {
                    self.power_on(number)?;
                }
            }
            let end = self.time + PATIENCE;
            self.play_until(end, Self::is_formed)?;
            if self.is_formed() {
                return Ok(());
            }
            self.tell(|| format!("visit {visit} of the operator"));
            // A newer roster heals most; what it does not, a person has to.
            if visit == 0 {
                self.act(Act::NewEpoch)?;
            } else {
                self.mend()?;
            }
        }
        self.play_until(self.time + PATIENCE, Self::is_formed)?;
        if self.is_formed() {
            Ok(())
        } else {
            broken(Invariant::Heals, "not formed, though nothing is in the way".to_owned())
        }
    }

    /// Whether there is a machine that comes when the window is closed.
    fn is_long(&self) -> bool {
        self.latest_power_on() > 60 * MINUTE
    }

    fn belongs(&self, number: usize) -> bool {
        let machine = &self.machines[number];
        machine.kind == Kind::Honest && machine.retired_in.is_none() && !machine.is_extra
    }

    fn switch_off_what_is_foreign(&mut self) -> Step {
        for number in 0..self.machines.len() {
            self.machines[number].side = 0;
            self.machines[number].clock.is_stuck = false;
            let Machine { kind, retired_in, .. } = self.machines[number];
            // Strangers, and those that were replaced, stay: they must do no harm.
            if !self.belongs(number) && kind != Kind::Stranger && retired_in.is_none() {
                self.cut_power(number)?;
                self.machines[number].is_pulled = true;
            }
        }
        Ok(())
    }

    /// Whether there is a cluster: the seed that formed it is there, and so is a machine for each row, part of it; and
    /// nobody who has a row is not.
    pub(super) fn is_formed(&self) -> bool {
        let Some(decided) = &self.history.formed else { return false };
        let is_there = self.belongs(decided.by)
            && self.machines[decided.by].key() == Some(decided.formation.seed);
        let saved = |number: usize| Some(self.machines[number].node.as_ref()?.saved());
        let is_part = |number: &usize| {
            saved(*number).is_some_and(|saved| {
                saved.phase == Phase::Formed && saved.promise == Some(decided.formation)
            })
        };
        let has_row = |number: &usize| saved(*number).is_none_or(|saved| saved.held.is_some());
        let belonging = || (0..self.machines.len()).filter(|number| self.belongs(*number));
        is_there
            && belonging().filter(has_row).all(|number| is_part(&number))
            && belonging().filter(is_part).count() == self.roster.nodes.len()
    }

    fn mend(&mut self) -> Step {
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
        self.roster.epoch += 1;
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
            let is_waiting = row.is_none() && has.is_none() && self.roster.mode == Mode::Pool;
            // Somebody who has the cluster's key said that it is the seed.
            let is_another_s = seed.saved().fired.is_some()
                && self.is_bound(*number, self.machines[seed_machine].key());
            !is_waiting
                && (is_another_s
                    || row.is_none()
                    || (has.is_some() && has != row.map(|(name, _)| name)))
        };
        let belonging = (0..self.machines.len())
            .filter(|number| self.belongs(*number) && *number != seed_machine);
        belonging.filter(is_misplaced).collect()
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
