//! What is done on a machine that has become a node: its files are written, and on the seed the cluster is deployed once
//! all are ready.

use std::{net::SocketAddr, path::Path, thread::JoinHandle};

use anyhow::{Context as _, Result, anyhow, bail};
use coremax_node_api::{
    enrol::Gift,
    join::{Formation, seed::Rows},
    roster::{Node, Roster},
};

use super::{
    card::{Cards, read_routes},
    links,
};
use crate::{
    deploy::{self, Outcome},
    events::{Event, tell},
    prepare::{self, Facts},
};

/// Writes what a node has by its row. Called once it is enrolled, for each newer roster and for new certificates, and
/// again where a crash came before it was done: it makes the same of whatever is there.
pub(super) fn prepare(
    root: &Path,
    asked: Option<SocketAddr>,
    roster: &Roster,
    row: &Node,
    gift: &Gift,
) -> Result<()> {
    let links = links::links().context("asking the kernel for the machine's cards")?;
    let card = Cards { links: &links, routes: &read_routes()?, has_address: prepare::card(root) };
    let card = card.of(row, asked, roster.vip)?;
    let prepared = prepare::prepare(root, &Facts { roster, own: row, card, gift });
    match &prepared {
        Ok(warnings) => {
            tell(Event::Prepared, "the files of the roster are written", &[]);
            warnings.iter().for_each(|warning| tell(Event::Prepared, warning, &[]));
        }
        Err(error) => tell(Event::NotPrepared, &format!("{error:#}"), &[]),
    }
    prepared.map(drop)
}

/// A deployment under way, beside the join: others are answered meanwhile.
#[derive(Default)]
pub(super) struct Deployment(Option<(Rows, JoinHandle<Result<Outcome>>)>);

impl Deployment {
    /// Begins it, or goes on; whether it is done. Again after a crash, and after a step that failed.
    ///
    /// # Errors
    /// A step failed, or its journal cannot be used.
    pub(super) fn go_on(&mut self, formation: Formation, rows: &Rows) -> Result<bool> {
        let (of, thread) = match self.0.take() {
            None => (rows.clone(), begin(formation, rows.clone())?),
            Some(running) => running,
        };
        if !thread.is_finished() {
            self.0 = Some((of, thread));
            return Ok(false);
        }
        match thread.join().map_err(|_| anyhow!("the deployment broke off"))?? {
            // Not, where it is for others meanwhile.
            Outcome::Deployed => Ok(rows.iter().all(|(name, row)| of.get(name) == Some(row))),
            Outcome::Failed { step, why } => bail!("the step {step}: {why}"),
        }
    }
}

fn begin(formation: Formation, rows: Rows) -> Result<JoinHandle<Result<Outcome>>> {
    let thread = std::thread::Builder::new().name("deploy".into());
    thread.spawn(move || deploy::deploy(&formation, &rows)).context("starting the deployment")
}
