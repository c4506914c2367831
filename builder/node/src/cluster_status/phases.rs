//! `coremax-node network`, `discover`, `enrol`, `time`, `prepare`, `ready` and `formed`: a verb for each phase of the join,
//! which the daemon goes through, for people and units that need what it leaves.

use std::{path::Path, thread};

use anyhow::{Result, bail};
use coremax_node_api::{
    cluster_status::{ClusterStatus, Wait, waits, word},
    join::Phase,
};

use super::{STEP, read};
use crate::paths;

const VERBS: [(&str, Phase); 7] = [
    ("network", Phase::Networked),
    ("discover", Phase::Discovered),
    ("enrol", Phase::Enrolled),
    ("time", Phase::TimeSynced),
    ("prepare", Phase::Prepared),
    ("ready", Phase::Ready),
    ("formed", Phase::Formed),
];

/// The phase that a verb is about.
pub(crate) fn of(verb: &str) -> Option<Phase> {
    VERBS.iter().find(|(name, _)| *name == verb).map(|(_, phase)| *phase)
}

/// Returns once the machine has come through this phase of its join, for as long as that takes, and says what came of it;
/// meanwhile, on standard error, what it waits for. With `now` it waits for nothing.
///
/// # Errors
/// With `now`, where it has not come so far.
pub(crate) fn through(phase: Phase, now: bool) -> Result<()> {
    let mut said = String::new();
    loop {
        let status = read(Path::new(paths::STATUS));
        if let Ok(status) = &status
            && has_come(phase, status)
        {
            println!("{}", outcome(phase, status));
            return Ok(());
        }
        let why = status.map_or_else(|error| format!("{error:#}"), |status| obstacle(&status));
        if now {
            bail!("{why}");
        }
        if why != said {
            eprintln!("{why}");
            said = why;
        }
        thread::sleep(STEP);
    }
}

/// What holds for one boot counts once a seed has given orders in this one: a machine that was ready before is called so
/// from its start.
fn has_come(phase: Phase, status: &ClusterStatus) -> bool {
    let of_boot = [Phase::Discovered, Phase::TimeSynced, Phase::Ready].contains(&phase);
    let has_orders = matches!(status.waits, Wait::Others | Wait::Nothing);
    status.phase >= phase && (has_orders || !of_boot)
}

fn obstacle(status: &ClusterStatus) -> String {
    let problem = status.problem.as_deref().map(|problem| format!("; {problem}"));
    let (phase, waits) = (word(status.phase), waits(&status.waits));
    format!("this machine is {phase}, and waits for {waits}{}", problem.unwrap_or_default())
}

/// What a phase left.
fn outcome(phase: Phase, status: &ClusterStatus) -> String {
    let epoch = status.epoch;
    let or = |what: Option<String>| what.unwrap_or_else(|| "?".into());
    let name = || or(status.name.as_ref().map(ToString::to_string));
    match phase {
        Phase::Discovered => format!("a seed answers: {}", or(status.asks.clone())),
        Phase::Enrolled => {
            let address = or(status.address.map(|address| address.to_string()));
            format!("it is {}, {address}, by the roster of epoch {epoch}", name())
        }
        Phase::TimeSynced => "its clock is the seed's".into(),
        Phase::Prepared => format!("its files are those of the roster of epoch {epoch}"),
        Phase::Ready => format!("{} has what its roster names", name()),
        Phase::Formed => {
            format!("{} is part of {}", name(), or(status.cluster.map(|it| it.to_string())))
        }
        phase => format!("this machine is {}", word(phase)),
    }
}

#[cfg(test)]
mod tests {
    use coremax_node_api::join::Now;

    use super::*;

    #[test]
    fn what_came_of_each_phase_and_what_is_in_the_way() {
        let blank = ClusterStatus::blank(Now { mono: 0, wall: 0 }, None);
        let status = ClusterStatus {
            phase: Phase::Ready,
            waits: Wait::Approval,
            name: "control-2".parse().ok(),
            address: "10.0.0.12".parse().ok(),
            epoch: 3,
            asks: Some("10.0.0.11:7433".into()),
            ..blank
        };
        for (verb, want) in [
            ("network", "this machine is networked"),
            ("discover", "a seed answers: 10.0.0.11:7433"),
            ("enrol", "it is control-2, 10.0.0.12, by the roster of epoch 3"),
            ("prepare", "its files are those of the roster of epoch 3"),
            ("ready", "control-2 has what its roster names"),
        ] {
            assert_eq!(outcome(of(verb).unwrap(), &status), want);
        }
        assert_eq!(of("moon"), None);
        for (verb, waits, want) in [
            ("ready", Wait::Seed, false), // of the boot before
            ("time", Wait::Seed, false),
            ("enrol", Wait::Seed, true),
            ("ready", Wait::Others, true),
            ("ready", Wait::Nothing, true),
            ("formed", Wait::Nothing, false),
        ] {
            let status = ClusterStatus { waits: waits.clone(), ..status.clone() };
            assert_eq!(has_come(of(verb).unwrap(), &status), want, "{verb} {waits:?}");
        }
        let refused = ClusterStatus { problem: Some("no card".into()), ..status };
        let text = obstacle(&refused);
        assert!(text.starts_with("this machine is ready, and waits for "), "{text}");
        assert!(text.ends_with("; no card"), "{text}");
    }
}
