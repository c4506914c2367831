//! `coremax`: from a recipe to images that are proven to boot.

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic where the reader went away: see text

mod args;
mod complain;
mod progress;
mod text;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use args::{Args, Verb};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain::about(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let global = args.global;
    match args.verb {
        Verb::Build(build) => verbs::build::run(&global, build),
        Verb::Check(check) => verbs::check::run(&global, &check),
        Verb::Plan(plan) => verbs::plan::run(&global, plan),
        Verb::Lock(lock) => verbs::lock::run(&global, lock),
        Verb::Vendor(vendor) => verbs::vendor::run(&global, vendor),
        Verb::Test(test) => verbs::test::run(&global, test),
        Verb::Run(run) => verbs::run::run(&global, run),
        Verb::Clean(clean) => verbs::clean::run(&global, &clean),
        Verb::Key(key) => verbs::key::run(&global, &key),
        Verb::Cluster(cluster) => verbs::cluster::run(&global, &cluster),
        Verb::Schema => verbs::docs::schema(),
        Verb::Completions { shell } => verbs::docs::completions(shell),
        Verb::Man { folder } => verbs::docs::man(folder.as_deref()),
    }
}
