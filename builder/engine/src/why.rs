//! Why a step runs again: what it read in the last build of its recipe, beside what it would read now.
//!
//! ```text
//! CACHE/last/<recipe>.<base>.json    of each step, its fingerprint and what went into it, as the last build had it
//! ```

mod parts;

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
    fingerprint::{Part, Value},
    plan::Plan,
    run::Step,
};
use parts::{changes, is_of};

/// Where it is kept, below the cache.
pub(crate) const LAST: &str = "last";

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
        let reads = step.reads();
        let was_made = |value: &Value| self.maker(value);
        let is_made = |value: &Value| maker(steps, value).map(Step::id);
        let changes = changes((&before.parts, &was_made), (reads.parts(), &is_made));
        if changes.is_empty() {
            return say(
                depth,
                format!("{} runs again: it reads the same in another order", step.id()),
            );
        }
        let changes: Vec<_> =
            changes.into_iter().filter(|change| !change.is_of_a_build()).collect();
        if changes.is_empty() {
            let line = "runs for another version or signature alone, if a build wants them";
            return say(depth, format!("{} {line}", step.id()));
        }
        say(depth, format!("{} runs again:", step.id()));
        told.insert(step.id());
        let mut deeper = Vec::new();
        for change in changes {
            // What has only come or gone is this step's own matter, and no reason for the step that made it to run.
            let made = change.was.zip(change.now).and_then(|(_, now)| maker(steps, &now.value));
            match made {
                Some(other) => deeper.push(other),
                None => change.told().into_iter().for_each(|line| say(depth + 1, line)),
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

    /// The step that made a value in the last build.
    fn maker(&self, value: &Value) -> Option<&str> {
        let made = self.steps.iter().find(|(_, step)| is_of(value, &step.fingerprint));
        made.map(|(id, _)| id.as_str())
    }
}

/// The step of a plan that makes a value.
fn maker<'a>(steps: &'a [Box<dyn Step>], value: &Value) -> Option<&'a dyn Step> {
    steps.iter().map(AsRef::as_ref).find(|step| is_of(value, &step.fingerprint()))
}

#[cfg(test)]
mod tests {
    use coremax_fetch::Digest;

    use super::*;
    use crate::{event::Stage, fingerprint::Fingerprint, run::Outputs};

    /// A step that reads texts by label, and the outputs of others.
    struct Reader(&'static str, Fingerprint);

    impl Step for Reader {
        fn id(&self) -> &'static str {
            self.0
        }
        fn description(&self) -> String {
            String::new()
        }
        fn reads(&self) -> Fingerprint {
            self.1.clone()
        }
        fn needs(&self) -> &[&'static str] {
            &[]
        }
        fn run(&self, _: &Outputs, _: &Path, _: &Stage<'_>) -> Result<String> {
            Ok(String::new())
        }
    }

    /// Steps of a line each: a name, and what it reads; a label alone is that of a step before it.
    fn steps(text: &'static str) -> Vec<Box<dyn Step>> {
        let mut made: BTreeMap<&str, Digest> = BTreeMap::new();
        let mut steps: Vec<Box<dyn Step>> = Vec::new();
        for line in text.split("; ") {
            let (id, reads) = line.split_once(": ").unwrap();
            let print = reads.split(' ').fold(Fingerprint::new(id, 1), |print, part| {
                match part.split_once('=') {
                    Some((label, value)) => print.with(label, value),
                    None => print.with_digest("part", &made[part]),
                }
            });
            made.insert(id, print.clone().finish());
            steps.push(Box::new(Reader(id, print)));
        }
        steps
    }

    /// A mirror has built a package again: its version is the same, and it is another package.
    #[test]
    fn packages_with_other_bytes_are_told() {
        let steps = |bytes: &str| -> Vec<Box<dyn Step>> {
            let versions = [("hello".to_owned(), "1.0".to_owned())].into();
            let print =
                Fingerprint::new("system", 1).with("packages", Digest::of(bytes).as_bytes());
            vec![Box::new(Reader("system", print.listed(versions)))]
        };
        let (last, now) = (Last::of(&steps("a")), steps("b"));
        let told = last.compare(&now, now[0].as_ref()).join("|");
        assert_eq!(told, "system runs again:|  packages of the same versions with other bytes");
    }

    #[test]
    fn what_is_told_is_what_came_went_and_changed() {
        let last = "system: ids=1; site: system name=a; image: system site line=x";
        for (now, want) in [
            (
                last,
                "image runs: all that it reads is as in the last build, but what it made is stored no longer",
            ),
            (
                "system: ids=2; site: system name=a; image: system site line=x",
                "image runs again:|  system runs again:|    the ids: 1 -> 2|  site runs again:|    system (see above)",
            ),
            (
                "system: ids=1; site: system name=a; image: site system line=x",
                "image runs again: it reads the same in another order",
            ),
            (
                "system: ids=1; site: system name=a; image: system site line=x version=2",
                "image runs for another version or signature alone, if a build wants them",
            ),
            (
                "system: ids=1; site: system name=a; image: site line=x",
                "image runs again:|  what system makes, which is read no longer",
            ),
            (
                "system: ids=1; site: system name=b; more: a=b; image: more system site",
                "image runs again:|  what more makes, which the last build did not have\
                 |  the line: x, which is read no longer|  site runs again:|    the name: a -> b",
            ),
            ("new: a=b; image: new", "new runs: the last build had no such step"),
        ] {
            let (last, now) = (Last::of(&steps(last)), steps(now));
            let asked = if want.starts_with("new") { &now[0] } else { now.last().unwrap() };
            assert_eq!(last.compare(&now, asked.as_ref()).join("|"), want);
        }
    }
}
