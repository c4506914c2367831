//! What this machine says of itself: the file that anybody may read, and its events in the journal.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use coremax_node_api::cluster_status::{ClusterStatus, Wait};

use crate::{
    cluster_status,
    events::{Event, tell},
};

/// How soon a change that nobody waits for is written, so that strangers do not make a disk write.
const SOON: Duration = Duration::from_secs(1);

/// Writes the file when something has changed, and says what a log should have.
#[derive(Debug, Default)]
pub(super) struct Teller {
    last: Option<(ClusterStatus, Instant)>,
    failed: Option<String>,
}

impl Teller {
    /// A file that cannot be written is said once: the join goes on without.
    pub(super) fn tell(&mut self, status: ClusterStatus, path: &Path) {
        if !self.is_news(&status) {
            return;
        }
        news(self.last.as_ref().map(|(last, _)| last), &status);
        let failed = cluster_status::publish(path, &status).err().map(|error| format!("{error:#}"));
        if let Some(why) = failed.as_ref().filter(|_| self.failed != failed) {
            eprintln!("{why}");
        }
        self.failed = failed;
        self.last = Some((status, Instant::now()));
    }

    /// What the file says.
    pub(super) fn told(&self) -> Option<&ClusterStatus> {
        self.last.as_ref().map(|(status, _)| status)
    }

    fn is_news(&self, status: &ClusterStatus) -> bool {
        let Some((last, at)) = &self.last else { return true };
        let is_other = ClusterStatus { written: status.written, ..last.clone() } != *status;
        let is_urgent = last.phase != status.phase
            || last.waits != status.waits
            || last.problem != status.problem;
        is_other && (is_urgent || at.elapsed() >= SOON)
    }
}

/// What comes and goes by itself is not among it.
fn news(last: Option<&ClusterStatus>, status: &ClusterStatus) {
    let name = status.name.as_ref().map_or("this machine", AsRef::as_ref);
    if last.is_none_or(|last| (last.phase, &last.name) != (status.phase, &status.name)) {
        let phase = cluster_status::word(status.phase);
        let fields = [("COREMAX_PHASE", phase)];
        tell(Event::Phase, &format!("{name} is {phase}, roster {}", status.epoch), &fields);
    }
    if last.is_none_or(|last| last.waits != status.waits) {
        let event = match &status.waits {
            Wait::Approval => Some((Event::Pending, "waits for a place in its cluster".to_owned())),
            Wait::Refused { why } => Some((Event::Refused, format!("is refused: {why}"))),
            Wait::ForeignDisk => Some((Event::ForeignDisk, "has another machine's disk".into())),
            Wait::BadOrders => {
                Some((Event::BadOrders, "was given orders that it may not follow".into()))
            }
            _ => None,
        };
        if let Some((event, what)) = event {
            tell(event, &format!("{name} {what}"), &[]);
        }
    }
    // A hint is not among it: anybody on the network writes those.
    if let Some(problem) = &status.problem
        && last.is_none_or(|last| last.problem.as_ref() != Some(problem))
    {
        eprintln!("problem: {problem}");
    }
}

/// How many of each, by name.
pub(super) fn counts(of: &super::seats::TurnedAway) -> BTreeMap<String, u64> {
    let value = serde_json::to_value(of).unwrap_or_default();
    let counts: BTreeMap<String, u64> = serde_json::from_value(value).unwrap_or_default();
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
