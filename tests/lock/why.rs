//! What `plan --why` says after a build, when something has changed.

use coremax_tests::{Outcome, expect, ran};

use crate::{Stage, succeeded};

pub(crate) fn tells(stage: &Stage) -> Outcome {
    let cache = stage.path("empty");
    let offline = ["--offline", "--inputs", "inputs"];
    let build =
        ["build", "recipes/locked.toml", "--no-test", "--image-version", "1", "-o", "images"];
    succeeded(&ran(stage.command(&cache, &[&build[..], &offline].concat())))?;
    let why = |step: &str| {
        let plan = ["plan", "recipes/locked.toml", "--why", step];
        ran(stage.command(&cache, &[&plan[..], &offline].concat()))
    };
    let said = |out: &str, words: &[&str]| {
        let lacking = words.iter().find(|word| !out.contains(**word));
        expect(lacking.is_none(), || format!("no {lacking:?} in:\n{out}"))
    };
    said(&why("system").out, &["system does not run"])?;
    let quiet = |text: &str| text.replace("\"console=tty1\", ", "");
    let line = stage.with("recipes/locked.toml", quiet, || why("image"));
    said(
        &line.out,
        &["image runs again", "the command line: [\"console=tty1\",", "-> [\"console=ttyS0"],
    )?;
    let host = |text: &str| text.replacen("base = ", "hostname = \"other\"\nbase = ", 1);
    let site = stage.with("recipes/locked.toml", host, || why("root"));
    said(
        &site.out,
        &["root runs again", "  seal-site runs again", "    site runs again", "the settings"],
    )?;
    let ids = |text: &str| text.replacen("\"_chrony\" = ", "\"_chrony\" = 3", 1);
    let system = stage.with("recipes/locked.lock", ids, || why("system"));
    said(&system.out, &["system runs again", "user _chrony "])
}
