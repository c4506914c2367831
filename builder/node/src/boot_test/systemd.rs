//! What systemd says, asked through systemctl(1) and journalctl(1).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use coremax_sandbox::{Cmd, Sandbox};

/// How often the tester hears what systemd is waiting for.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How soon the end of booting is noticed.
const STEP: Duration = Duration::from_millis(200);
/// Journal lines quoted for a failed unit, and the bytes that may be in them: an answer has a
/// longest length, and many units may fail.
const JOURNAL_LINES: &str = "10";
const JOURNAL_BYTES: usize = 4096;

/// systemd's state in its own word, such as `starting`, `running` or `degraded`.
pub(crate) fn state() -> Result<String> {
    // Its exit status repeats the word it prints.
    let output = systemctl(["is-system-running"]).output().context("asking for systemd's state")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns when no job of the boot is left, and now and then tells which ones still run.
pub(crate) fn wait_until_booted(mut waiting: impl FnMut(Vec<String>) -> Result<()>) -> Result<()> {
    let mut wait = systemctl(["is-system-running", "--wait"]).spawn().context("starting a wait")?;
    let mut next = Instant::now() + REPORT_EVERY;
    while wait.try_wait().context("waiting for the end of booting")?.is_none() {
        std::thread::sleep(STEP);
        if Instant::now() >= next {
            waiting(running_jobs()?)?;
            next = Instant::now() + REPORT_EVERY;
        }
    }
    Ok(())
}

fn running_jobs() -> Result<Vec<String>> {
    let text = stdout_of(systemctl(["list-jobs", "--plain", "--no-legend", "--full"]))?;
    Ok(text.lines().filter_map(running_job).collect())
}

/// The unit of a line `JOB UNIT TYPE STATE` whose job has begun.
fn running_job(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let unit = words.nth(1)?;
    (words.nth(1)? == "running").then(|| unit.to_owned())
}

/// Units that failed, each with the end of its journal.
pub(crate) fn failed_units() -> Result<Vec<(String, String)>> {
    let list = systemctl(["list-units", "--failed", "--plain", "--no-legend", "--full"]);
    stdout_of(list)?
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|unit| Ok((unit.to_owned(), journal_tail(unit)?)))
        .collect()
}

fn journal_tail(unit: &str) -> Result<String> {
    let arguments =
        ["--boot", "--no-pager", "--output=cat", "--lines", JOURNAL_LINES, "--unit", unit];
    let output = Cmd::new("journalctl", &Sandbox::host())
        .args(arguments)
        .output()
        .with_context(|| format!("reading the journal of {unit}"))?;
    let start = output.stdout.len().saturating_sub(JOURNAL_BYTES);
    Ok(String::from_utf8_lossy(&output.stdout[start..]).trim().to_owned())
}

/// What systemd knows of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Whether it was found: `loaded`, `not-found`, `masked`.
    pub(crate) load: String,
    /// `active`, `inactive`, `failed`, `activating`.
    pub(crate) active: String,
    /// The finer state, such as `running` or `exited`.
    pub(crate) sub: String,
    /// Of a service, how it starts: `oneshot`, `notify`.
    pub(crate) kind: String,
}

/// The units that `unit` cannot do without.
pub(crate) fn required_by(unit: &str) -> Result<Vec<String>> {
    let text = stdout_of(systemctl(["show", "--property=Requires", "--value", "--", unit]))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// The states of these units, in their order.
pub(crate) fn units(names: &[String]) -> Result<Vec<Unit>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let show =
        systemctl(["show", "--property=LoadState,ActiveState,SubState,Type", "--"]).args(names);
    let text = stdout_of(show)?;
    let mut units: Vec<Unit> = text.split("\n\n").map(parse_unit).collect();
    units.resize_with(names.len(), Unit::default);
    Ok(units)
}

fn parse_unit(block: &str) -> Unit {
    let mut properties = properties(block);
    let mut take = |name: &str| properties.remove(name).unwrap_or_default();
    Unit {
        load: take("LoadState"),
        active: take("ActiveState"),
        sub: take("SubState"),
        kind: take("Type"),
    }
}

/// The manager's own properties, by name.
pub(crate) fn manager(names: &str) -> Result<BTreeMap<String, String>> {
    Ok(properties(&stdout_of(systemctl(["show", "--property", names]))?))
}

fn properties(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Asks for an orderly power-off and returns.
pub(crate) fn power_off() -> Result<()> {
    systemctl(["--no-block", "poweroff"]).run().context("powering off")?;
    Ok(())
}

fn systemctl<const N: usize>(arguments: [&str; N]) -> Cmd {
    Cmd::new("systemctl", &Sandbox::host()).args(arguments)
}

fn stdout_of(cmd: Cmd) -> Result<String> {
    let output = cmd.run().context("asking systemd")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jobs_that_run_are_told_from_those_that_wait() {
        assert_eq!(running_job("  1 a.service start running"), Some("a.service".into()));
        assert_eq!(running_job("  2 multi-user.target start waiting"), None);
        assert_eq!(running_job("No jobs running."), None);
    }

    #[test]
    fn a_block_is_a_unit() {
        let unit = parse_unit("LoadState=loaded\nActiveState=active\nSubState=running\nMore=a=b");
        assert_eq!((&*unit.load, &*unit.active, &*unit.sub), ("loaded", "active", "running"));
        assert_eq!(parse_unit("junk"), Unit::default());
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "(.|\n){0,100}") {
            drop((running_job(&text), parse_unit(&text)));
        }
    }
}
