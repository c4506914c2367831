//! The recipe that README.md shows: what a reader copies must build and boot.

use std::fs;

use coremax_tests::{Outcome, expect, project, repository, run_in};

use crate::{Stage, json, succeeded};

/// What stands in it for the reader's own key, and the key of somebody who threw it away.
const KEY: [&str; 2] = [
    "ssh-ed25519 AAAA... you@desk",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6hDbzpbOzW1LKpLu9LwpFKydatNpbH7T1Kb/aTYZfL nobody",
];

pub(crate) fn recipe_boots(stage: &Stage) -> Outcome {
    let readme = fs::read_to_string(repository().join("README.md")).map_err(|e| e.to_string())?;
    let recipe = example(&readme).ok_or("README.md shows no recipe of the name web")?;
    expect(recipe.contains(KEY[0]), || format!("no place for a key in:\n{recipe}"))?;
    let project = project("web", |_| recipe.replace(KEY[0], KEY[1]));
    let overlay = project.path().join("overlays/web/usr/share/web");
    fs::create_dir_all(&overlay).map_err(|e| e.to_string())?;
    fs::write(overlay.join("index.html"), "It works").map_err(|e| e.to_string())?;

    let output = stage.output.join("readme");
    let (cache, at) = (Stage::text(&stage.cache), Stage::text(&output));
    let build = ["build", "recipes/web.toml", "--cache", cache, "-o", at, "--firmware", "bios"];
    succeeded(&run_in(project.path(), &[&build[..], &crate::VERSION].concat()))?;
    let manifest = json(&output.join("web").join(crate::VERSION[1]).join("manifest.json"))?;
    let checks = manifest["verified"]["boots"][0]["checks"].to_string();
    for promised in ["nginx.service", "tcp/80"] {
        expect(checks.contains(promised), || format!("no check of {promised} in {checks}"))?;
    }
    Ok(())
}

/// The block of TOML that begins a recipe.
fn example(readme: &str) -> Option<&str> {
    let blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.contains("name = \"web\""))
}
