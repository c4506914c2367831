//! The file that says how far this machine is.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use coremax_node_api::join::status::{SeedStatus, Status};

use crate::durable;

/// Writes the file when something has changed, and what people want to know to standard error.
#[derive(Debug, Default)]
pub(super) struct Teller {
    last: Option<Status>,
}

impl Teller {
    /// # Errors
    /// The file cannot be written.
    pub(super) fn tell(&mut self, status: Status, path: &Path) -> Result<()> {
        let failed = || format!("writing {}", path.display());
        if self.last.as_ref() == Some(&status) {
            return Ok(());
        }
        for line in news(self.last.as_ref(), &status) {
            eprintln!("{line}");
        }
        let mut text = serde_json::to_vec(&status).with_context(failed)?;
        text.push(b'\n');
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)
            .and_then(|()| durable::replace_quickly(path, &text, 0o644))
            .with_context(failed)?;
        self.last = Some(status);
        Ok(())
    }
}

/// What a log should have: what comes and goes by itself is not among it.
fn news(last: Option<&Status>, status: &Status) -> Vec<String> {
    let mut news = Vec::new();
    let is_new = |of: fn(&Status) -> String| last.map(of) != Some(of(status));
    if is_new(|status| format!("{:?}{:?}", status.phase, status.name)) {
        let name = status.name.as_ref().map_or("no name yet", AsRef::as_ref);
        news.push(format!("{:?}: {name}, epoch {}", status.phase, status.epoch));
    }
    if is_new(|status| format!("{:?}", status.waits_for)) {
        news.push(format!("waits for {:?}", status.waits_for));
    }
    let said = |of: fn(&Status) -> &Option<String>| {
        of(status).clone().filter(|said| last.and_then(|last| of(last).as_ref()) != Some(said))
    };
    news.extend(said(|status| &status.hint).map(|hint| format!("hint, unproven: {hint}")));
    news.extend(said(|status| &status.problem).map(|problem| format!("problem: {problem}")));
    news.extend(status.seed.iter().flat_map(|seed| joined(last, seed)));
    news
}

fn joined(last: Option<&Status>, seed: &SeedStatus) -> Vec<String> {
    let before = last.and_then(|last| last.seed.as_ref());
    let is_new = |name: &&_| before.is_none_or(|before| !before.members.contains(*name));
    let mut news: Vec<_> =
        seed.members.iter().filter(is_new).map(|name| format!("seed: {name} has joined")).collect();
    if seed.is_formed && before.is_none_or(|before| !before.is_formed) {
        news.push("seed: the cluster is formed".into());
    }
    news
}

/// How many of each, by name.
pub(super) fn counts(of: &super::seats::TurnedAway) -> BTreeMap<String, u64> {
    let value = serde_json::to_value(of).unwrap_or_default();
    let counts: BTreeMap<String, u64> = serde_json::from_value(value).unwrap_or_default();
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
