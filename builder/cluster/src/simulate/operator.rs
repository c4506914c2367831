//! How a run ends: the weather clears, and an operator mends what no program may.
//!
//! The operator sees what `coremax cluster status` shows, and switches off what does not belong there. Where only weather,
//! power and clocks were bad that is all: the cluster forms by itself. Where somebody did more, the operator comes again,
//! finds what no program may mend, and mends it (`mend.rs`).

use coremax_node_api::join::Phase;

use super::{
    check::{Invariant, broken},
    machine::{Kind, Machine},
    scenario::STORM_MIN,
    world::{Step, World},
};

const MINUTE: u64 = 60_000;
/// How often the operator comes again. One visit mends what is found at it.
const VISITS: usize = 2;
/// Between two visits: as long as a lie of another formation is believed (ten minutes), and what a cluster takes with
/// nothing in its way.
const PATIENCE: u64 = 15 * MINUTE;

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
            if !self.needs_operator || !self.is_there_to_mend() {
                return broken(Invariant::Unaided, self.why_not_formed());
            }
            self.tell(|| format!("visit {visit} of the operator"));
            self.mend()?;
        }
        self.play_until(self.time + PATIENCE, Self::is_formed)?;
        if self.is_formed() { Ok(()) } else { broken(Invariant::Heals, self.why_not_formed()) }
    }

    /// Whether there is a machine that comes when the window is closed.
    fn is_long(&self) -> bool {
        self.latest_power_on() > 60 * MINUTE
    }

    /// Whether the operator means this machine to be there.
    pub(super) fn belongs(&self, number: usize) -> bool {
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

    /// What an operator reads where a cluster is not formed.
    fn why_not_formed(&self) -> String {
        let number = self.seed();
        let seed = number.and_then(|number| Some((number, self.machines[number].seed.as_ref()?)));
        let obstacles = seed.map_or_else(Vec::new, |(number, seed)| {
            let now = self.machines[number].now(self.time);
            seed.obstacles(now).iter().map(ToString::to_string).collect()
        });
        let waits = self.machines.iter().enumerate().filter_map(|(number, machine)| {
            let node = machine.node.as_ref()?;
            Some(format!("m{number} {:?} {:?}", node.phase(), node.waits()))
        });
        format!("{}; {}", obstacles.join(", "), waits.collect::<Vec<_>>().join(", "))
    }
}
