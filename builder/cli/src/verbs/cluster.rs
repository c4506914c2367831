//! `coremax cluster`: what a cluster is, for its operator.

mod ask;
mod medium;
mod replace;
mod simulate;
mod status;

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result};
use coremax_cluster::{
    new::{New, Preset},
    sign,
};
use coremax_engine::key;
use coremax_node_api::roster::{Mode, Roster, signed};

use crate::{
    args::{Cluster, ClusterVerb, Global, NewCluster, Progress},
    complain,
    text::say,
};

pub(crate) fn run(global: &Global, cluster: &Cluster) -> Result<()> {
    let told = match &cluster.verb {
        ClusterVerb::New(wanted) => new(wanted)?,
        ClusterVerb::Check { rosters } => check(rosters)?,
        ClusterVerb::SeedMedium(wanted) => medium::make(wanted)?,
        ClusterVerb::Simulate(wanted) => return simulate::run(global, wanted),
        ClusterVerb::Status(wanted) => return status::run(wanted),
        ClusterVerb::Replace { roster, name, mac, serial } => {
            replace::run(roster, name, *mac, serial.as_deref())?
        }
        ClusterVerb::Approve { seed, machine, name, key } => {
            ask::approve(seed, machine, name, key)?
        }
        ClusterVerb::Put { seed, roster } => ask::put(seed, roster)?,
        ClusterVerb::Sign { roster, key, output } => sign(roster, key, output.as_deref())?,
    };
    if global.progress == Progress::None { Ok(()) } else { say(&told) }
}

fn new(wanted: &NewCluster) -> Result<String> {
    let default = New::default();
    let named = |name: &str| Preset::ALL.into_iter().find(|preset| preset.name() == name);
    let preset = match &wanted.preset {
        Some(name) => named(name),
        None => named(&ask(
            "Which nodes: openstack-3 or kubernetes-3+5",
            default.preset.name().to_owned(),
        )?),
    };
    let subnet = match wanted.subnet {
        Some(subnet) => subnet,
        None => ask("In which subnet", default.subnet)?,
    };
    let mode = if wanted.pool { Mode::Pool } else { Mode::Static };
    let new = New {
        preset: preset.context("there is no such preset")?,
        controllers: wanted.controllers,
        workers: wanted.workers,
        mode,
        subnet,
        macs: wanted.mac.clone(),
    };
    let text = new.text(key::random()?)?;
    let file = &wanted.file;
    let write = || File::create_new(file)?.write_all(text.as_bytes());
    write().with_context(|| format!("writing {}", file.display()))?;
    Ok(format!("{0}: name its machines and disks, then coremax cluster check {0}", file.display()))
}

/// What a person says; without a person, or an answer, `default`.
fn ask<T: FromStr + ToString>(question: &str, default: T) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(default);
    }
    write!(io::stderr(), "{question} [{}]? ", default.to_string())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("reading the answer")?;
    match answer.trim() {
        "" => Ok(default),
        answer => Ok(answer.parse()?),
    }
}

/// Every roster is looked at, however many of them are wrong; the last that is, is the error.
fn check(rosters: &[PathBuf]) -> Result<String> {
    let (mut told, mut wrong) = (Vec::new(), None);
    for path in rosters {
        match read(path) {
            Ok(roster) => told.push(format!("{}: {}", path.display(), summary(&roster))),
            Err(error) => {
                if let Some(before) = wrong.replace(error) {
                    complain::about(&before);
                }
            }
        }
    }
    wrong.map_or(Ok(told.join("\n")), Err)
}

fn sign(path: &Path, key: &Path, output: Option<&Path>) -> Result<String> {
    let (roster, key) = (read(path)?, key::read(key)?);
    let output = output.map_or_else(|| path.with_extension(signed::EXTENSION), Path::to_owned);
    sign::to_file(&roster, &key, &output)?;
    Ok(format!("{}: {}, signed with key {}", output.display(), summary(&roster), key.public().id()))
}

fn read(path: &Path) -> Result<Roster> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(coremax_cluster::read(&path.to_string_lossy(), &text)?)
}

fn summary(roster: &Roster) -> String {
    let controllers = roster.control_plane().count();
    let workers = roster.nodes.len() - controllers;
    let (epoch, seed, vip) = (roster.epoch, &roster.seed, roster.vip);
    format!("epoch {epoch}, {controllers} controllers, {workers} workers, seed {seed}, VIP {vip}")
}
