//! `coremax cluster simulate`: many clusters, each in a storm of its own.

use anyhow::{Result, bail};
use coremax_cluster::simulate::{Settings, retell, run as simulate};

use crate::{
    args::{Global, Progress, Simulate},
    text::{say, tell},
};

/// How often it is told how far it is, in runs.
const TOLD_EVERY: u64 = 1_000;
/// How much is told of a run that goes wrong, in lines.
const TOLD_LINES: usize = 100;

pub(crate) fn run(global: &Global, wanted: &Simulate) -> Result<()> {
    let settings = Settings { trace: wanted.trace, ..Settings::default() };
    let first = wanted.seed.unwrap_or(0);
    let count = wanted.seeds.unwrap_or(if wanted.seed.is_some() { 1 } else { 1_000 });
    let (mut formed, mut violations) = (0, 0);
    for (done, seed) in (first..first.saturating_add(count)).enumerate() {
        let outcome = simulate(seed, settings);
        if wanted.trace {
            say(&outcome.trace.join("\n"))?;
        }
        formed += u64::from(outcome.is_formed);
        if let Some(violation) = outcome.violation {
            violations += 1;
            if !wanted.trace {
                tell(&retell(seed, settings, TOLD_LINES));
            }
            tell(&format!("run {seed}: {violation}\n  again: {}", settings.again(seed)));
        }
        if done as u64 % TOLD_EVERY == TOLD_EVERY - 1 && global.progress != Progress::None {
            tell(&format!("{} of {count} runs, {violations} violations", done + 1));
        }
    }
    say(&format!("seeds={count} formed={formed} violations={violations}"))?;
    if violations > 0 {
        bail!("{violations} of {count} runs broke a promise of the join");
    }
    Ok(())
}
