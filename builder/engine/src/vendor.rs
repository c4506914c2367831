//! Gathering what locked builds read, for a site that has no network.
//!
//! ```text
//! DIR/sha256/ab/<64 hex digits>    the inputs, by what they contain: the cache's own layout
//! DIR/index.txt                    name, version, size and SHA-256 of each, a line each, to read
//! ```
//!
//! A build asks by digest, and reads the whole of a file before it believes it: the index is for people.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use coremax_fetch::{Cache, Fetcher, Input, Transport, file_url};

use crate::{
    builder::{Builder, explained, inputs},
    event::{Observer, Stage, Unit},
    read::Request,
    run::Step,
};

/// What is in the folder, for people.
const INDEX: &str = "index.txt";

impl Builder {
    /// Gathers into a folder whatever the locked builds of these recipes read, a boot test's programs among it. What is
    /// there already stays, if it is right.
    ///
    /// # Errors
    /// What stands in the way of a locked plan; what cannot be fetched or written.
    pub fn vendor(
        &self,
        requests: &[Request],
        folder: &Path,
        observer: Observer<'_>,
    ) -> Result<()> {
        let mut wanted = Vec::new();
        for request in requests {
            let plan = self.plan(request, observer)?;
            let steps: Vec<&dyn Step> = plan.steps.iter().map(AsRef::as_ref).collect();
            wanted.extend(inputs(&steps));
        }
        wanted.sort();
        wanted.dedup_by_key(|input| input.digest);
        let fetched = self.fetch(&wanted, self.inputs.missing(&wanted), observer);
        let locking = requests.first().map(Request::locking);
        fetched.map_err(|error| explained(error, locking.as_deref()))?;
        let stage = Stage::new("vendor", observer);
        let shelf = Cache::open(folder)?;
        stage.started(
            format!("{} inputs", wanted.len()),
            Some(shelf.missing(&wanted)),
            Unit::Bytes,
        );
        let here = |input: &Input| Input {
            url: file_url(&self.inputs.path(&input.digest)),
            others: Vec::new(),
            ..input.clone()
        };
        let copies: Vec<_> = wanted.iter().map(here).collect();
        let fetcher = Fetcher::new(shelf, Transport::default());
        fetcher.fetch_all(&copies, &|bytes| stage.progressed(bytes)).context("gathering")?;
        // Only those who fetch need it, and it may be that this folder is read-only then.
        let _ = fs::remove_dir(folder.join("partial"));
        write_index(&folder.join(INDEX), &wanted)?;
        let total: u64 = wanted.iter().map(|input| input.size).sum();
        let summary =
            format!("{} inputs, {} MB in {}", wanted.len(), total / 1_000_000, folder.display());
        stage.ended(summary, None);
        Ok(())
    }
}

/// Adds to what an earlier gathering has listed.
fn write_index(path: &Path, inputs: &[Input]) -> Result<()> {
    let before = fs::read_to_string(path).unwrap_or_default();
    let line = |input: &Input| format!("{} {} {}", input.name, input.size, input.digest);
    let lines: BTreeSet<_> =
        before.lines().map(str::to_owned).chain(inputs.iter().map(line)).collect();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
