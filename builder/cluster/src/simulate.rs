//! The join, simulated: whole clusters of the real state machines on a network, disks and clocks of our own.
//!
//! A run is one number. It draws a cluster, the weather (loss, doubling, delay, partitions, links that only short packets pass), power cuts at journal
//! writes with and without their fsync, clocks years off, and people's mistakes: a seed rebuilt behind a partition, a
//! copied disk, a machine that dies, is replaced and comes back, one with a wrong key, one that lies. Then the
//! weather clears, and the cluster has to be formed. Where people did what only an operator may mend, an operator may come and
//! mend it (`operator.rs`); where all that happened was weather, power cuts and clocks, nobody may.
//!
//! Beside these storms there are [calm runs](cuts), in which the power fails once: at each journal write in turn.
//!
//! After every step the [invariants](Invariant) are looked at; the first one that does not hold ends the run, and the same
//! number tells the whole story again.

mod calm;
mod check;
mod deploy;
mod draw;
mod event;
mod gates;
mod lies;
mod machine;
mod mend;
mod network;
mod operator;
mod people;
mod power;
mod rng;
mod rows;
mod scenario;
mod world;

use coremax_node_api::join::Guards;

pub use calm::cuts;
pub use check::{Invariant, Violation};

use world::World;

/// What a simulation is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// The join's protections: all but in tests.
    pub guards: Guards,
    /// Machines that say their disk has written what it has not. Only in tests: no protocol stands that.
    pub lying_disks: bool,
    /// Nodes that take rosters signed by somebody else. Only in tests.
    pub trusting_nodes: bool,
    /// Look at formations alone, and at nothing that leads to them. Only in tests.
    pub formations_alone: bool,
    /// Not a storm: a calm run, and one power cut in it. At the journal write with half this number, counted from 0 over all
    /// machines: an even one before the write is done, an odd one after it.
    pub cut: Option<u64>,
    /// Tell what happens.
    pub trace: bool,
}

impl Settings {
    /// The command that plays and tells the run with this number again.
    pub fn again(self, seed: u64) -> String {
        let cut = self.cut.map_or_else(String::new, |cut| format!(" --cut {cut}"));
        format!("coremax cluster simulate --seed {seed}{cut} --trace")
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// Whether there is a cluster in the end, whose seed is there, with a machine in every row.
    pub is_formed: bool,
    /// How many journal writes were begun.
    pub writes: u64,
    /// What happened, if it was to be told: a line a step, with the milliseconds since the beginning.
    pub trace: Vec<String>,
}

/// Runs the simulation with this number. The same number and settings give the same outcome.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let mut world = match settings.cut {
        Some(_) => World::calm(seed, settings),
        None => World::new(seed, settings),
    };
    let violation = world.play().err();
    let (is_formed, writes) = (world.is_formed(), world.writes);
    Outcome { violation, is_formed, writes, trace: world.trace }
}

/// The end of what happens in the run with this number, of so many lines.
pub fn retell(seed: u64, settings: Settings, lines: usize) -> String {
    let trace = run(seed, Settings { trace: true, ..settings }).trace;
    trace[trace.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests;
