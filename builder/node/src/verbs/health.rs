//! Whether the running version is healthy: its data outlives the boot, and what
//! coremax-health.target requires is up, and still up a moment later.
//!
//! Never the health of a cluster: a version does not become a bad one because another machine is down.

use std::{thread, time::Duration};

use anyhow::{Context, Result, bail};
use coremax_node_api::early_boot;

use crate::boot_test::systemd::{self, Unit};

/// What stands for health in the overlay's units, which start this.
const TARGET: &str = "coremax-health.target";
/// A service that dies at its start does so within this.
const SETTLE: Duration = Duration::from_secs(10);

/// Returns when it is healthy.
pub(super) fn wait() -> Result<()> {
    kept(&super::state()?.data)?;
    thread::sleep(SETTLE);
    let names = systemd::required_by(TARGET)?;
    let units = systemd::units(&names)?;
    let sick: Vec<_> =
        names.iter().zip(&units).filter_map(|(name, unit)| ill(name, unit)).collect();
    if sick.is_empty() { Ok(()) } else { bail!("{}", sick.join(", ")) }
}

/// What is blessed must be able to keep something; a node that was told to forget has nothing to keep.
fn kept(data: &early_boot::Data) -> Result<()> {
    match &data.problem {
        Some(problem) if !data.kept => Err(anyhow::anyhow!("{problem}"))
            .context("it runs from memory, for its data partition cannot be used"),
        _ => Ok(()),
    }
}

/// What is wrong with a unit that must be up. One that does its work once is done with it.
fn ill(name: &str, unit: &Unit) -> Option<String> {
    let done = unit.kind == "oneshot" && unit.active == "inactive";
    let state = if unit.load == "loaded" { &unit.active } else { &unit.load };
    (unit.active != "active" && !done).then(|| format!("{name} is {state}"))
}

#[cfg(test)]
mod tests {
    use coremax_node_api::early_boot::Data;

    use super::*;

    #[test]
    fn units_that_are_up_or_done() {
        for (load, active, kind, want) in [
            ("loaded", "active", "notify", None),
            ("loaded", "active", "", None),
            ("loaded", "inactive", "oneshot", None),
            ("loaded", "inactive", "simple", Some("x is inactive")),
            ("loaded", "failed", "oneshot", Some("x is failed")),
            ("loaded", "activating", "exec", Some("x is activating")),
            ("not-found", "inactive", "", Some("x is not-found")),
        ] {
            let [load, active, kind] = [load, active, kind].map(str::to_owned);
            let unit = Unit { load, active, kind, ..Unit::default() };
            assert_eq!(ill("x", &unit).as_deref(), want, "{unit:?}");
        }
    }

    #[test]
    fn memory_in_place_of_a_broken_disk_is_not_health() {
        let data = |kept, problem: Option<&str>| Data {
            kept,
            problem: problem.map(str::to_owned),
            ..Data::default()
        };
        for (data, well) in [
            (data(true, None), true),
            (data(true, Some("it is full")), true),
            (data(false, None), true),
            (data(false, Some("it is damaged")), false),
        ] {
            assert_eq!(kept(&data).is_ok(), well, "{data:?}");
        }
    }
}
