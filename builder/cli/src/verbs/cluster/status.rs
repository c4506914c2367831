//! `coremax cluster status`: how far a running cluster is.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use console::Term;
use coremax_cluster::{
    page::page,
    seed::{self, Line, Place},
};
use coremax_node_api::{
    cluster_status::{ClusterStatus, Progress},
    identity::Document,
};

use crate::{
    args::{Stage, StatusOf},
    text::say,
};

/// How often a seed is asked.
const EVERY: Duration = Duration::from_secs(2);

pub(crate) fn run(wanted: &StatusOf) -> Result<()> {
    let document = super::ask::identity(&wanted.seed.identity)?;
    let mut asked = Asked { place: &wanted.seed.place, document: &document, line: None };
    match wanted.wait {
        Some(stage) => {
            let timeout = wanted.timeout.map(Duration::from_secs);
            show(wanted, &wait(&mut asked, stage, timeout)?)
        }
        None if wanted.watch => watch(wanted, &mut asked),
        None => show(wanted, &asked.status()?),
    }
}

fn show(wanted: &StatusOf, status: &ClusterStatus) -> Result<()> {
    say(&text(wanted, status))
}

fn text(wanted: &StatusOf, status: &ClusterStatus) -> String {
    if wanted.json { status.to_text() } else { page(status) }
}

/// For ever: in a terminal each page in the place of the one before, else one after the other. A seed that does not answer is
/// asked again.
fn watch(wanted: &StatusOf, asked: &mut Asked<'_>) -> Result<()> {
    let terminal = Term::stdout();
    let is_terminal = terminal.is_term() && !wanted.json;
    let mut before = String::new();
    loop {
        let now = match asked.status() {
            Ok(status) => text(wanted, &status),
            Err(error) if wanted.json => return Err(error.into()),
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
        };
        if now != before {
            if is_terminal {
                terminal.clear_screen().context("clearing the screen")?;
            }
            say(&now)?;
            before = now;
        }
        thread::sleep(EVERY);
    }
}

fn wait(asked: &mut Asked<'_>, stage: Stage, timeout: Option<Duration>) -> Result<ClusterStatus> {
    let began = Instant::now();
    loop {
        let status = asked.status();
        if let Ok(status) = &status
            && status.seed.as_ref().is_some_and(|seed| seed.stage >= progress(stage))
        {
            return Ok(status.clone());
        }
        // Time mends a network alone.
        if let Err(error @ (seed::Error::Channel { .. } | seed::Error::OtherResponse(_))) = status {
            return Err(error.into());
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            let seconds = timeout.unwrap_or_default().as_secs();
            let status = status.with_context(|| format!("waiting for {seconds} s"))?;
            bail!("after {seconds} s the cluster is not so far:\n{}", page(&status));
        }
        thread::sleep(left.map_or(EVERY, |left| left.min(EVERY)));
    }
}

const fn progress(stage: Stage) -> Progress {
    match stage {
        Stage::Forming => Progress::Forming,
        Stage::Deploying => Progress::Deploying,
        Stage::Formed => Progress::Formed,
    }
}

/// A seed that is asked again and again, over one connection while that holds.
struct Asked<'a> {
    place: &'a Place,
    document: &'a Document,
    line: Option<Line>,
}

impl Asked<'_> {
    fn status(&mut self) -> Result<ClusterStatus, seed::Error> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => Line::open(self.place, self.document)?,
        };
        let status = line.status()?;
        self.line = Some(line);
        Ok(status)
    }
}
