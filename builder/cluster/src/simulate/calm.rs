//! Calm runs: nothing goes wrong but one power cut, at a write that is told.

use coremax_node_api::roster::{Mode, Roster};

use super::{
    Outcome, Settings,
    draw::{self, Weather},
    event::Event,
    rng::Rng,
    run,
    scenario::Act,
    world::World,
};

const MINUTE: u64 = 60_000;

/// The calm run with this number once for each power cut that there may be, at each journal write of each machine, lost and
/// done, and last without any. With each the settings that play it again.
pub fn cuts(seed: u64, settings: Settings) -> impl Iterator<Item = (Settings, Outcome)> {
    let with = move |cut| {
        let settings = Settings { cut: Some(cut), ..settings };
        (cut, settings, run(seed, settings))
    };
    let mut is_last = false;
    (0..).map(with).map_while(move |(cut, settings, outcome)| {
        let is_over = std::mem::replace(&mut is_last, cut / 2 >= outcome.writes);
        (!is_over).then_some((settings, outcome))
    })
}

impl World {
    /// The calm world of this number: every other one is a pool, and in half of them the operator puts in a newer roster
    /// while the cluster gathers, forms, or deploys. In some a worker waits for the operator's word.
    pub(super) fn calm(number: u64, settings: Settings) -> Self {
        let mut rng = Rng::new(number);
        let weather = Weather::fair(&mut rng);
        let mode = if number.is_multiple_of(2) { Mode::Static } else { Mode::Pool };
        let controllers = if number % 10 > 7 { 5 } else { 3 };
        let workers = usize::try_from(number / 2 % 4).unwrap_or(0);
        let minimum_workers = rng.index(workers + 1);
        let mut roster =
            Roster { minimum_workers, ..draw::roster(mode, controllers, controllers + workers) };
        if number.is_multiple_of(4) {
            draw::misname(&mut roster);
        }
        let mut world = Self::empty(rng, roster, weather, settings);
        world.sign();
        world.add_rows();
        for machine in 0..world.machines.len() {
            let on = world.rng.range(0, 5_000);
            world.at(on, Event::PowerOn(machine));
        }
        if number % 4 > 1 {
            let time = world.rng.range(0, 4 * MINUTE);
            world.at(time, Event::Act(Act::NewEpoch));
        }
        world
    }
}
