//! What is written on a machine that has become a node, and what is done on the seed once all are ready.
//!
//! This is the place for it, and nothing is written yet: hosts, trust, time and network come here, each a pure rendering
//! of [`Enrolled`] and a file that is replaced.

use std::path::Path;

use anyhow::{Result, ensure};
use coremax_node_api::{
    join::Formation,
    roster::{Node, Roster},
};

/// A node: which row is its own, and the roster that says what all are.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "what is rendered from it is still to come")]
pub(super) struct Enrolled<'a> {
    pub row: &'a Node,
    pub roster: &'a Roster,
    /// The daemon's own folder.
    pub state: &'a Path,
}

/// Writes what a node has by its row. Called once it is enrolled, for each newer roster, and again where a crash came before
/// it was done: it makes the same of whatever is there.
#[expect(clippy::unnecessary_wraps, reason = "what is written may fail")]
pub(super) fn prepare(_: &Enrolled<'_>) -> Result<()> {
    Ok(())
}

/// Whether the machine is as its row says: the cluster waits for a node that is not.
pub(super) fn check(row: &Node) -> Result<()> {
    for disk in &row.osd_disks {
        ensure!(Path::new(disk).exists(), "{disk}, which the roster names for Ceph, is not there");
    }
    Ok(())
}

/// Deploys, on the seed; again after a crash. A cluster has no steps yet: it is formed when all promised.
#[expect(clippy::unnecessary_wraps, reason = "what is deployed may fail")]
pub(super) fn deploy(_: Formation) -> Result<()> {
    Ok(())
}
