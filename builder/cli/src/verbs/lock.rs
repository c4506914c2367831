//! `coremax lock`: pins what a recipe's build reads.

use anyhow::Result;
use coremax_engine::Moving;

use crate::{
    args::{Global, Lock, Locking, Mirrors},
    progress,
    text::say,
};

pub(crate) fn run(global: &Global, args: Lock) -> Result<()> {
    // What is to move moves to what the archive has now, not to what it had within the hour.
    let refresh = args.update || args.from.mirrors.refresh;
    let builder = super::open(global, Mirrors { refresh, ..args.from.mirrors.clone() })?;
    let moving = match (args.update, args.names.is_empty()) {
        (false, _) => Moving::None,
        (true, true) => Moving::All,
        (true, false) => Moving::Named(args.names.into_iter().collect()),
    };
    let show = progress::show(global.progress);
    let request = super::request(args.from, &Locking::default());
    let changes = builder.lock(&request, &moving, &*show)?;
    say(&changes.to_string())
}
