//! `coremax cluster approve` and `put`: what changes a running cluster.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use coremax_cluster::{
    machine::{describe, find},
    seed::Line,
};
use coremax_engine::key;
use coremax_node_api::{
    cluster_status::{Fingerprint, SeedStatus},
    identity::Document,
    roster::{Name, signed},
    wire::{Approval, Ask, SignedRoster},
};

use crate::args::Seed;

/// For how long a machine that was approved is waited for: it asks every 10 s.
const PATIENCE: Duration = Duration::from_secs(25);
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn approve(seed: &Seed, machine: &str, name: &Name, key: &Path) -> Result<String> {
    let document = identity(&seed.identity)?;
    let key = key::read(key)?;
    let mut line = Line::open(&seed.place, &document)?;
    let status = of_seed(&mut line, seed)?;
    let machine = find(&status, machine)?;
    let (cluster, edition, node) = (document.cluster, status.edition, machine.key);
    let approval = Approval { cluster, edition, node, name: name.clone() };
    line.have(Ask::Approve(approval.sign(&key)))?;
    // It is approved whatever becomes of this connection.
    let has_row = comes(&mut line, seed, name, Fingerprint::of(node)).unwrap_or(false);
    let became = match has_row {
        true => "it has its row",
        false => "it gets its row when it asks next: see coremax cluster status",
    };
    Ok(format!("{name}: approved {}; {became}", describe(machine)))
}

/// Waits until the machine has the row. Whether it got it in time.
fn comes(line: &mut Line, seed: &Seed, name: &Name, machine: Fingerprint) -> Result<bool> {
    let began = Instant::now();
    loop {
        let status = of_seed(line, seed)?;
        let row = status.peers.iter().find(|peer| peer.name == *name);
        if row.is_some_and(|row| row.fingerprint == Some(machine)) {
            return Ok(true);
        }
        if began.elapsed() >= PATIENCE {
            return Ok(false);
        }
        thread::sleep(EVERY);
    }
}

pub(super) fn put(seed: &Seed, path: &Path) -> Result<String> {
    ensure!(
        path.extension().is_none_or(|extension| extension != "toml"),
        "{} is the roster's text: sign it, and put in what coremax cluster sign has made",
        path.display()
    );
    let document = identity(&seed.identity)?;
    let roster = File::open(path)
        .and_then(signed::read)
        .with_context(|| format!("reading {}", path.display()))?;
    let mut line = Line::open(&seed.place, &document)?;
    line.have(Ask::Roster(SignedRoster(roster.into())))?;
    let epoch = of_seed(&mut line, seed)?.edition.epoch;
    Ok(format!(
        "the seed at {} has the roster of epoch {epoch}; its nodes get it as they report",
        seed.place
    ))
}

fn of_seed(line: &mut Line, seed: &Seed) -> Result<SeedStatus> {
    match line.status()?.seed {
        Some(status) => Ok(status),
        None => bail!("the machine at {} is no seed", seed.place),
    }
}

/// The cluster's key.
pub(super) fn identity(file: &Path) -> Result<Document> {
    let failed = || format!("reading the key in {}", file.display());
    Document::parse(&fs::read(file).with_context(failed)?).with_context(failed)
}
