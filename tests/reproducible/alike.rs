//! Whether two results are the same: every file to the byte, but for what one list names with its reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use coremax_tests::{Outcome, differences, expect, files, is_same};
use serde_json::{Map, Value};

const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS";
/// Fields of the manifest that are not compared, and why not.
const FREE: [(&str, &str); 1] = [("stages", "how long the work took, and what was stored already")];

/// Looks for what differs between two folders of results.
pub(crate) fn compare(here: &Path, there: &Path) -> Outcome {
    let (ours, others) = (artefacts(here)?, artefacts(there)?);
    let names = |files: &[PathBuf]| files.iter().map(|file| name(file)).collect::<Vec<_>>();
    expect(names(&ours) == names(&others), || format!("{ours:?} became {others:?}"))?;
    let mut found = Vec::new();
    for (ours, other) in ours.iter().zip(&others) {
        if !is_same(ours, other)? {
            let told = if is_disk(ours) { differences(ours, other)? } else { Vec::new() };
            found.push(format!("{}: the bytes; {}", ours.display(), told.join("\n")));
        }
    }
    found.extend(fields_that_differ(&manifest(here)?, &manifest(there)?));
    if sums(here)? != sums(there)? {
        found.push(format!("{SUMS} differs"));
    }
    expect(found.is_empty(), || format!("these differ:\n{}", found.join("\n")))
}

/// What a build made, but for the manifest, and for its line among the sums.
pub(crate) fn artefacts(output: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = files(output);
    files.retain(|file| name(file) != MANIFEST && name(file) != SUMS);
    files.sort();
    expect(files.iter().any(|file| is_disk(file)), || format!("no image in {}", output.display()))?;
    Ok(files)
}

pub(crate) fn is_disk(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "qcow2" || extension == "raw")
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn manifest(output: &Path) -> Result<Map<String, Value>, String> {
    let text = fs::read(the(output, MANIFEST)?).map_err(|e| e.to_string())?;
    serde_json::from_slice(&text).map_err(|e| format!("{MANIFEST}: {e}"))
}

/// The lines of the sums, but for the manifest's own.
fn sums(output: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(the(output, SUMS)?).map_err(|e| e.to_string())?;
    Ok(text.lines().filter(|line| !line.ends_with(MANIFEST)).map(str::to_owned).collect())
}

/// The one file of this name.
fn the(output: &Path, wanted: &str) -> Result<PathBuf, String> {
    let found = files(output).into_iter().find(|file| name(file) == wanted);
    found.ok_or_else(|| format!("no {wanted} in {}", output.display()))
}

fn fields_that_differ(one: &Map<String, Value>, two: &Map<String, Value>) -> Vec<String> {
    let fields: BTreeSet<&str> = one.keys().chain(two.keys()).map(String::as_str).collect();
    let free: BTreeSet<&str> = FREE.iter().map(|(field, _)| *field).collect();
    let told = fields.difference(&free).filter(|field| one.get(**field) != two.get(**field));
    let told = told.map(|field| {
        format!("{MANIFEST}: {field}: {:?} and {:?}", one.get(*field), two.get(*field))
    });
    // A field that is there no longer excuses nothing.
    let stale = free.difference(&fields).map(|field| format!("{MANIFEST} has no {field}"));
    told.chain(stale).collect()
}
