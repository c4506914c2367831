//! Why a step runs again: what it read in the last build of its recipe, beside what it would read now.
//!
//! ```text
//! CACHE/last/<recipe>.<base>.json    of each step, its fingerprint and what went into it, as the last build had it
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use coremax_fetch::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    builder::Builder,
    differences::differences,
    fingerprint::{Fingerprint, Part, Value},
    plan::Plan,
    run::Step,
};

/// Where it is kept, below the cache.
pub(crate) const LAST: &str = "last";
/// Names of a list that are told one by one, at most. Ours: half a screen.
const MOST: usize = 12;
/// What a build gives its image, and a plan does not have.
const OF_A_BUILD: [&str; 2] = ["version", "certificate"];

/// What the steps of a build read, by step.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    steps: BTreeMap<String, Read>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    fingerprint: Digest,
    parts: Vec<Part>,
}

impl Builder {
    /// Why a step of the plan runs again, a line a reason; or that it does not.
    pub fn why(&self, plan: &Plan, step: &str) -> Option<String> {
        let step = plan.steps.iter().find(|planned| planned.id() == step)?;
        if self.store.get(&step.fingerprint()).is_some() {
            return Some(format!("{} does not run: it is stored", step.id()));
        }
        let Some(last) = Last::load(&place(&self.cache, plan)) else {
            return Some(format!("{} runs: no build of this recipe was seen here", step.id()));
        };
        Some(last.compare(&plan.steps, step.as_ref()).join("\n"))
    }

    /// Remembers what the steps of a plan read, for the next one. A cache that cannot be written only costs the answer.
    pub(crate) fn remember(&self, plan: &Plan) {
        let _ = Last::of(&plan.steps).store(&place(&self.cache, plan));
    }
}

fn place(cache: &Path, plan: &Plan) -> PathBuf {
    cache.join(LAST).join(format!("{}.{}.json", plan.recipe.name, plan.recipe.base))
}

impl Last {
    fn of(steps: &[Box<dyn Step>]) -> Self {
        let read = |step: &dyn Step| {
            let reads = step.reads();
            let parts = reads.parts().to_vec();
            (step.id().to_owned(), Read { fingerprint: reads.finish(), parts })
        };
        Self { steps: steps.iter().map(AsRef::as_ref).map(read).collect() }
    }

    fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Whole or not at all.
    fn store(&self, path: &Path) -> Result<()> {
        let folder = path.parent().context("a folder")?;
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.persist(path)?;
        Ok(())
    }

    /// What has changed for a step, and for those that it builds on, the deeper ones further in.
    fn compare(&self, steps: &[Box<dyn Step>], step: &dyn Step) -> Vec<String> {
        let mut lines = Vec::new();
        let mut told = BTreeSet::new();
        self.compare_into(steps, step, 0, &mut told, &mut lines);
        lines
    }

    fn compare_into(
        &self,
        steps: &[Box<dyn Step>],
        step: &dyn Step,
        depth: usize,
        told: &mut BTreeSet<&'static str>,
        lines: &mut Vec<String>,
    ) {
        let mut say = |depth: usize, line: String| lines.push("  ".repeat(depth) + &line);
        let Some(before) = self.steps.get(step.id()) else {
            return say(depth, format!("{} runs: the last build had no such step", step.id()));
        };
        if before.fingerprint == step.fingerprint() {
            let line = "runs: all that it reads is as in the last build, but what it made is stored no longer";
            return say(depth, format!("{} {line}", step.id()));
        }
        let now = step.reads();
        let changes: Vec<_> = before.changes(&now).collect();
        if changes.is_empty() {
            let line = "runs for another version or signature alone, if a build wants them";
            return say(depth, format!("{} {line}", step.id()));
        }
        say(depth, format!("{} runs again:", step.id()));
        told.insert(step.id());
        let mut deeper = Vec::new();
        for (was, part) in changes {
            let made_by = |step: &&dyn Step| is_of(&part.value, &step.fingerprint());
            match steps.iter().map(AsRef::as_ref).find(made_by) {
                Some(other) => deeper.push(other),
                None => changed(was.map(|was| &was.value), part)
                    .into_iter()
                    .for_each(|line| say(depth + 1, line)),
            }
        }
        for other in deeper {
            if told.contains(other.id()) {
                lines.push("  ".repeat(depth + 1) + &format!("{} (see above)", other.id()));
            } else {
                self.compare_into(steps, other, depth + 1, told, lines);
            }
        }
    }
}

impl Read {
    /// What is read now and was another value, or was not there; but for what each build gives its image.
    fn changes<'a>(
        &'a self,
        now: &'a Fingerprint,
    ) -> impl Iterator<Item = (Option<&'a Part>, &'a Part)> {
        let parts = now.parts().iter().enumerate().map(|(number, part)| {
            (self.parts.get(number).filter(|was| was.label == part.label), part)
        });
        parts.filter(|(was, part)| {
            !OF_A_BUILD.contains(&part.label.as_str())
                && was.is_none_or(|was| was.value != part.value)
        })
    }
}

/// Whether a value is this fingerprint, as itself or in JSON.
fn is_of(value: &Value, fingerprint: &Digest) -> bool {
    match value {
        Value::Digest(digest) => digest == fingerprint,
        Value::Text(text) => text.trim_matches('"') == fingerprint.to_string(),
        Value::List(_) => false,
    }
}

/// In words, what has become of a value.
fn changed(was: Option<&Value>, now: &Part) -> Vec<String> {
    match (was, &now.value) {
        (_, _) if matches!(now.label.as_str(), "identity" | "salt") => {
            vec!["the UUIDs in it, which are made of the system's fingerprint".to_owned()]
        }
        (Some(Value::List(was)), Value::List(now)) => listed(was, now),
        (Some(Value::Text(was)), Value::Text(text)) => {
            vec![format!("the {}: {was} -> {text}", now.label)]
        }
        (None, _) => vec![format!("the {}, which the last build did not have", now.label)],
        _ => vec![format!("the {}", now.label)],
    }
}

/// What of a list has come, gone or changed, as much of it as fits.
fn listed(was: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = differences(was, now);
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("and {more} more"));
    }
    if lines.is_empty() {
        lines.push("packages of the same versions with other bytes".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_change_is_told_in_words() {
        let long = "f".repeat(64);
        for (label, was, now, want) in [
            (
                "packages",
                Value::List(list("a=1 b=1 c=1")),
                Value::List(list("a=2 b=1 d=1")),
                vec!["a 1 -> 2", "c 1 removed", "d 1 added"],
            ),
            (
                "brought along",
                Value::List(list("m=x")),
                Value::List([("m".to_owned(), long)].into()),
                vec!["m has changed"],
            ),
            (
                "command line",
                Value::Text("[\"quiet\"]".into()),
                Value::Text("[]".into()),
                vec!["the command line: [\"quiet\"] -> []"],
            ),
            (
                "node program",
                Value::Digest(Digest::of("a")),
                Value::Digest(Digest::of("b")),
                vec!["the node program"],
            ),
        ] {
            let part = Part { label: label.to_owned(), value: now };
            assert_eq!(changed(Some(&was), &part), want, "{label}");
        }
        let many: BTreeMap<_, _> = (0..30).map(|n| (format!("p{n:02}"), String::new())).collect();
        let told = listed(&BTreeMap::new(), &many);
        assert_eq!((told.len(), told.last().map(String::as_str)), (MOST + 1, Some("and 18 more")));
    }
}
