//! `coremax cluster simulate`: many clusters, each in a storm of its own, or with each power cut that there may be.

use anyhow::{Result, bail};
use coremax_cluster::simulate::{Outcome, Settings, cuts, retell, run as simulate};

use crate::{
    args::{Global, Progress, Simulate},
    text::{say, tell},
};

/// How many runs there are in a storm.
const STORMS: u64 = 1_000;
/// How many calm ones have all their power cuts.
const CALM_RUNS: u64 = 20;
/// How often it is told how far it is, in runs.
const TOLD_EVERY: u64 = 1_000;
/// How much is told of a run that goes wrong, in lines.
const TOLD_LINES: usize = 100;

pub(crate) fn run(global: &Global, wanted: &Simulate) -> Result<()> {
    let settings = Settings { trace: wanted.trace, cut: wanted.cut, ..Settings::default() };
    let first = wanted.seed.unwrap_or(0);
    let default = match wanted {
        Simulate { seed: Some(_), .. } => 1,
        Simulate { cuts: true, .. } => CALM_RUNS,
        _ => STORMS,
    };
    let count = wanted.seeds.unwrap_or(default);
    let mut tally = Tally::default();
    for (done, seed) in (first..first.saturating_add(count)).enumerate() {
        if wanted.cuts {
            cuts(seed, settings)
                .try_for_each(|(with, outcome)| tally.take(seed, with, &outcome))?;
        } else {
            tally.take(seed, settings, &simulate(seed, settings))?;
        }
        if done as u64 % TOLD_EVERY == TOLD_EVERY - 1 && global.progress != Progress::None {
            tell(&format!("{} of {count} runs, {} violations", done + 1, tally.violations));
        }
    }
    let Tally { runs, formed, violations } = tally;
    let cuts = if wanted.cuts { format!(" cuts={runs}") } else { String::new() };
    say(&format!("seeds={count}{cuts} formed={formed} violations={violations}"))?;
    if violations > 0 {
        bail!("{violations} of {runs} runs broke a promise of the join");
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    runs: u64,
    formed: u64,
    violations: u64,
}

impl Tally {
    /// Counts a run, and tells of one that went wrong.
    fn take(&mut self, seed: u64, settings: Settings, outcome: &Outcome) -> Result<()> {
        self.runs += 1;
        self.formed += u64::from(outcome.is_formed);
        if settings.trace {
            say(&outcome.trace.join("\n"))?;
        }
        if let Some(violation) = &outcome.violation {
            self.violations += 1;
            if !settings.trace {
                tell(&retell(seed, settings, TOLD_LINES));
            }
            tell(&format!("run {seed}: {violation}\n  again: {}", settings.again(seed)));
        }
        Ok(())
    }
}
