//! What differs between two lists of names and values, in words.

use std::collections::{BTreeMap, BTreeSet};

/// Values this long are digests, which say nothing to people.
const DIGEST: usize = 64;

/// A line for each name that has come, gone or changed, in the names' order.
pub(crate) fn differences(
    was: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Vec<String> {
    let names: BTreeSet<_> = was.keys().chain(now.keys()).collect();
    let shown = |value: &str| value.len() < DIGEST;
    let line = |name: &String| match (was.get(name), now.get(name)) {
        (Some(was), Some(now)) if was == now => None,
        (Some(was), Some(now)) if shown(was) && shown(now) => {
            Some(format!("{name} {was} -> {now}"))
        }
        (Some(_), Some(_)) => Some(format!("{name} has changed")),
        (None, Some(now)) if shown(now) => Some(format!("{name} {now} added")),
        (None, _) => Some(format!("{name} added")),
        (Some(was), None) if shown(was) => Some(format!("{name} {was} removed")),
        (Some(_), None) => Some(format!("{name} removed")),
    };
    names.into_iter().filter_map(line).collect()
}
