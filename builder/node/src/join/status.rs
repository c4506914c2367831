//! What this machine says of itself: the file that anybody may read, and its events in the journal.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use coremax_node_api::cluster_status::{ClusterStatus, Wait};

use crate::{
    cluster_status,
    events::{Event, tell},
};

/// Writes the file when something has changed, and says what a log should have.
#[derive(Debug, Default)]
pub(super) struct Teller {
    last: Option<ClusterStatus>,
}

impl Teller {
    /// # Errors
    /// The file cannot be written.
    pub(super) fn tell(&mut self, status: ClusterStatus, path: &Path) -> Result<()> {
        let is_news = self
            .last
            .as_ref()
            .is_none_or(|last| ClusterStatus { written: status.written, ..last.clone() } != status);
        if is_news {
            news(self.last.as_ref(), &status);
            cluster_status::publish(path, &status)?;
            self.last = Some(status);
        }
        Ok(())
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
    type Said = fn(&ClusterStatus) -> &Option<String>;
    let said: [(&str, Said); 2] =
        [("problem", |status| &status.problem), ("hint, unproven", |status| &status.hint)];
    for (kind, of) in said {
        if let Some(text) = of(status)
            && last.is_none_or(|last| of(last).as_ref() != Some(text))
        {
            eprintln!("{kind}: {text}");
        }
    }
}

/// How many of each, by name.
pub(super) fn counts(of: &super::seats::TurnedAway) -> BTreeMap<String, u64> {
    let value = serde_json::to_value(of).unwrap_or_default();
    let counts: BTreeMap<String, u64> = serde_json::from_value(value).unwrap_or_default();
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
