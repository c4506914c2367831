//! The system that was made to learn the numbers of accounts is the one that a build of the lock would make.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_tests::{Outcome, expect, tree_differences};
use serde_json::Value;

use crate::{Stage, succeeded};

pub(crate) fn is_stored(stage: &Stage) -> Outcome {
    let system = planned_system(stage)?;
    expect(system["stored"] == true, || format!("it would be made again: {system}"))
}

/// What earlier stories in this cache left under the names of locks: this one is to see them made.
pub(crate) fn forget(stage: &Stage) -> Outcome {
    let store = stage.cache.join("store");
    let is_of_lock = |path: &Path| {
        let text = fs::read_to_string(path.join("step.json")).unwrap_or_default();
        text.contains("same_as")
    };
    for entry in fs::read_dir(&store).into_iter().flatten().flatten() {
        if is_of_lock(&entry.path()) {
            fs::remove_dir_all(entry.path()).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The build before this one had nothing of what locking has made.
pub(crate) fn is_the_same(stage: &Stage) -> Outcome {
    let fingerprint = planned_system(stage)?["fingerprint"].clone();
    let fingerprint = fingerprint.as_str().ok_or("a step without a fingerprint")?;
    let (adopted, made) = (stage.cache.join("store"), stage.path("empty/store"));
    let (adopted, made) = (tree(&adopted, fingerprint)?, tree(&made, fingerprint)?);
    expect(adopted.is_dir() && made.is_dir(), || format!("{adopted:?} or {made:?} is not there"))?;
    let found = tree_differences(&adopted, &made)?;
    expect(found.is_empty(), || format!("these differ:\n{}", found.join("\n")))
}

fn planned_system(stage: &Stage) -> Result<Value, String> {
    let ran = stage.run(&["plan", "recipes/locked.toml", "--locked", "--json"]);
    succeeded(&ran)?;
    let plan: Value = serde_json::from_str(&ran.out).map_err(|e| e.to_string())?;
    let steps = plan["steps"].as_array().ok_or("a plan without steps")?;
    let system = steps.iter().find(|step| step["id"] == "system");
    system.cloned().ok_or_else(|| "no step is called system".into())
}

/// The tree of an entry, or of the one that it is an alias of.
fn tree(store: &Path, fingerprint: &str) -> Result<PathBuf, String> {
    let record = record(store, fingerprint)?;
    let made_as = record["same_as"].as_str().unwrap_or(fingerprint);
    Ok(store.join(made_as).join("out/tree"))
}

fn record(store: &Path, fingerprint: &str) -> Result<Value, String> {
    let record = store.join(fingerprint).join("step.json");
    let text = fs::read(&record).map_err(|e| format!("{}: {e}", record.display()))?;
    serde_json::from_slice(&text).map_err(|e| e.to_string())
}
