//! What a run's number draws: the cluster, the weather, and what people do wrong.

use std::sync::Arc;

use coremax_node_api::roster::{Mode, Roster};

use super::{
    Settings, draw,
    event::Event,
    lies::Lies,
    machine::{Kind, Machine},
    people::signed_by,
    rng::Rng,
    world::{FORGED_EPOCH, Step, World, forger},
};

/// What people and chance do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// The power of a machine fails, and comes again.
    PowerCut(usize),
    /// The network falls into two.
    Partition,
    /// And comes together again.
    Rejoin,
    /// A seed is set up again, beside the first one: the first goes on behind a partition.
    SecondSeed,
    /// A seed's disk is lost, and it is set up again by the roster on its medium.
    RebuiltSeed,
    /// A disk is copied into another machine.
    Copy(usize),
    /// A machine dies, the operator replaces it, and after a while the dead one comes back.
    Replace(usize),
    /// A machine that has no row yet is reset.
    Reset(usize),
    /// The operator puts in the same roster with a new epoch.
    NewEpoch,
    /// The operator puts in a roster that changes a row and does not say so.
    Move,
    /// The operator gives a row to a machine that no row names.
    Approve(usize),
    /// A machine's card is changed.
    NewCard(usize),
    /// A clock jumps by years.
    Jump(usize),
    /// One that is no seed says that it is.
    Lure(usize),
    /// No long packet comes from a machine to another.
    Narrow(usize, usize),
    /// And they come again.
    Widen(usize, usize),
    /// The registry stops.
    NoRegistry,
    /// And answers again.
    Registry,
}

const MINUTE: u64 = 60_000;
/// What happens, happens before this.
pub(super) const STORM_MIN: u64 = 5 * MINUTE;

impl World {
    /// The world of this number, before its first moment.
    pub(super) fn new(number: u64, settings: Settings) -> Self {
        let mut rng = Rng::new(number);
        let weather = draw::weather(&mut rng);
        let roster = draw::draw_roster(&mut rng);
        let mut world = Self::empty(rng, roster, weather, settings);
        world.lies = Lies::draw(&mut world.rng);
        world.sign();
        world.people_machines();
        world.draw_acts();
        world
    }

    /// Brings in a machine for each row, off; with a clock of its own.
    pub(super) fn add_rows(&mut self) {
        let rows: Vec<_> = self.roster.nodes.iter().map(|row| row.name.clone()).collect();
        for (number, row) in rows.into_iter().enumerate() {
            let is_seed = row == self.roster.seed;
            let has_row = self.roster.mode == Mode::Static || is_seed;
            let mut machine = Machine::new(Kind::Honest, number, has_row.then_some(row));
            machine.medium = is_seed.then(|| Arc::clone(&self.signed));
            machine.clock.drift = i64::try_from(self.rng.range(0, 400)).unwrap_or(0) - 200;
            if self.rng.once_in(4) {
                let years = i64::try_from(self.rng.range(0, 21)).unwrap_or(0) - 10;
                machine.clock.offset = years * 365 * 86_400_000;
            }
            self.machines.push(machine);
            if self.roster.mode == Mode::Static && !self.is_named(number) {
                let time = self.rng.range(0, 2 * MINUTE);
                self.at(time, Event::Act(Act::Approve(number)));
            }
        }
    }

    fn people_machines(&mut self) {
        self.add_rows();
        for number in 0..self.machines.len() {
            let machine = &mut self.machines[number];
            machine.clock.is_stuck = machine.medium.is_none() && self.rng.once_in(40);
            if machine.clock.is_stuck {
                machine.clock.offset = 5_000;
            }
            let on = match self.rng.range(0, 100) {
                0 => {
                    self.needs_operator = true;
                    250 * MINUTE // when the window is closed
                }
                1..=20 => self.rng.range(0, 5 * MINUTE),
                _ => self.rng.range(0, 5_000),
            };
            self.at(on, Event::PowerOn(number));
        }
        if self.roster.mode == Mode::Pool && self.rng.once_in(2) {
            for _ in 0..self.rng.range(0, 5) {
                if self.may_add(Kind::Honest) {
                    let number = self.add(Kind::Honest);
                    let on = self.rng.range(0, 5 * MINUTE);
                    self.at(on, Event::PowerOn(number));
                }
            }
        }
        for (kind, once_in) in [(Kind::Stranger, 4), (Kind::Liar, 8), (Kind::Forger, 8)] {
            if self.rng.once_in(once_in) && (kind == Kind::Stranger || self.may_add(kind)) {
                let number = self.add(kind);
                self.needs_operator |= kind != Kind::Stranger;
                // A liar has to be there before the machine that it says it is.
                let latest = if kind == Kind::Liar { 2_000 } else { MINUTE };
                let on = self.rng.range(0, latest);
                self.at(on, Event::PowerOn(number));
                if kind != Kind::Liar {
                    let from = on + self.rng.range(0, 3 * MINUTE);
                    self.at(from, Event::Act(Act::Lure(number)));
                }
            }
        }
    }

    /// Whether another machine may come that has the cluster's key: a pool has fewer of them, seeds aside, than rows for two
    /// clusters. One that promises to both of two seeds counts twice.
    pub(super) fn may_add(&self, kind: Kind) -> bool {
        let weight = |kind| match kind {
            Kind::Honest | Kind::Forger => 1,
            Kind::Liar => 2,
            Kind::Copy | Kind::Stranger => 0,
        };
        let others = self.machines.iter().filter(|machine| machine.medium.is_none());
        let count: usize = others.map(|machine| weight(machine.kind)).sum();
        self.roster.mode == Mode::Static || count + weight(kind) < 2 * (self.roster.nodes.len() - 1)
    }

    /// Brings in a machine that is off.
    pub(super) fn add(&mut self, kind: Kind) -> usize {
        let number = self.machines.len();
        self.machines.push(Machine::new(kind, number, None));
        if kind == Kind::Forger {
            let theirs = Roster { epoch: FORGED_EPOCH, ..self.roster.clone() };
            self.forged = signed_by(&forger(), &theirs, &mut self.known);
        }
        number
    }

    fn draw_acts(&mut self) {
        for _ in 0..self.rng.range(0, 6) {
            let machine = self.rng.index(self.roster.nodes.len());
            let act = match self.rng.range(0, 18) {
                0 | 1 => Act::PowerCut(machine),
                2 | 3 => Act::Partition,
                4 => Act::Rejoin,
                5 => Act::SecondSeed,
                6 => Act::RebuiltSeed,
                7 => Act::Copy(machine),
                8 => Act::Replace(machine),
                9 => Act::NewEpoch,
                10 => Act::Reset(machine),
                11 | 12 => Act::Narrow(machine, self.rng.index(self.roster.nodes.len())),
                13 => Act::NoRegistry,
                14 => Act::Move,
                15 | 16 => Act::NewCard(machine),
                _ => Act::Jump(machine),
            };
            let time = self.rng.range(0, STORM_MIN);
            self.at(time, Event::Act(act));
        }
    }

    pub(super) fn act(&mut self, act: Act) -> Step {
        self.tell(|| format!("{act:?}"));
        match act {
            Act::PowerCut(number) => {
                self.cut_power(number)?;
                let back = self.time + self.rng.range(1_000, MINUTE);
                self.at(back, Event::PowerOn(number));
            }
            Act::Partition => {
                for number in 0..self.machines.len() {
                    self.machines[number].side = u8::from(self.rng.once_in(2));
                }
            }
            Act::Rejoin => self.machines.iter_mut().for_each(|machine| machine.side = 0),
            Act::SecondSeed => return self.second_seed(),
            Act::RebuiltSeed => {
                let Some(number) = self.seed() else { return Ok(()) };
                self.needs_operator = true;
                self.wipe(number);
                let back = self.time + self.rng.range(1_000, MINUTE);
                self.at(back, Event::PowerOn(number));
            }
            Act::Copy(of) => {
                let number = self.add(Kind::Copy);
                self.machines[number].medium = self.machines[of].medium.clone();
                self.machines[number].disk = self.machines[of].disk.clone();
                self.machines[number].copied = self.machines[of].key();
                return if self.machines[number].disk.node.is_some() {
                    self.power_on(number)
                } else {
                    Ok(())
                };
            }
            Act::Replace(number) => return self.replace_dead(number),
            Act::Reset(number) => {
                let disk = self.machines[number].disk.node.as_ref();
                let is_waiting = disk.is_some_and(|disk| disk.held.is_none());
                if is_waiting && self.machines[number].medium.is_none() {
                    self.needs_operator = true;
                    self.wipe(number);
                    let back = self.time + self.rng.range(1_000, MINUTE);
                    self.at(back, Event::PowerOn(number));
                }
            }
            Act::NewEpoch => {
                self.roster.epoch = self.next_epoch();
                self.sign();
                return self.put_in();
            }
            Act::Move => return self.move_row(),
            Act::Approve(number) => return self.approve(number),
            Act::NewCard(number) => return self.change_card(number),
            Act::Jump(number) => {
                self.history.last_jump = self.time;
                self.machines[number].clock.offset += 3 * 365 * 86_400_000;
            }
            Act::Narrow(from, to) => self.narrow(from, to),
            Act::Widen(from, to) => drop(self.narrow.remove(&(from, to))),
            Act::NoRegistry => self.stop_registry(),
            Act::Registry => self.registry_down = None,
            Act::Lure(number) => {
                self.lure(number);
                if self.time < 10 * MINUTE {
                    let again = self.time + self.rng.range(1_000, 20_000);
                    self.at(again, Event::Act(Act::Lure(number)));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl World {
    /// A pool with as many machines to spare as there are controllers beside the seed. When its rows are given, those, a
    /// worker and a second seed are cut off from the others.
    pub(super) fn split_pool(settings: Settings) -> Self {
        let mut rng = Rng::new(1);
        let weather = draw::Weather { is_unicast: false, ..draw::weather(&mut rng) };
        let mut world = Self::empty(rng, draw::roster(Mode::Pool, 3, 4), weather, settings);
        world.weather.clear();
        world.sign();
        for number in 0..7 {
            world.add(Kind::Honest);
            let is_seed = number == 0 || number == 6;
            world.machines[number].medium = is_seed.then(|| Arc::clone(&world.signed));
            world.machines[number].row = is_seed.then(|| world.roster.seed.clone());
            world.machines[number].is_extra = number == 6;
        }
        (0..6).for_each(|number| world.at(0, Event::PowerOn(number)));
        world
    }

    pub(super) fn play_split_pool(&mut self) -> Step {
        self.play_until(65_000, |_| false)?;
        for number in 3..7 {
            self.machines[number].side = 1;
        }
        self.power_on(6)?;
        self.play_until(10 * MINUTE, |_| false)
    }
}
