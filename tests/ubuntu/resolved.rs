//! Whether the packages of a recipe on Ubuntu are those that apt would install.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use coremax_tests::{
    Outcome, expect,
    mirror::Server,
    repository, run,
    standin::{SUITES, Suite, UPDATES},
};
use serde_json::Value;

use crate::{Stage, apt::Apt, succeeded};

/// Asks apt for what the recipe names, and for whatever is essential, on a machine that has nothing yet.
pub(crate) fn as_apt(stage: &Stage) -> Outcome {
    for recipe in stage.recipes {
        let ran = stage.on_ubuntu(&["plan", recipe, "--json"]);
        succeeded(&ran)?;
        let plan: Value = serde_json::from_str(&ran.out).map_err(|e| e.to_string())?;
        let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
        let ours = plan["packages"].as_array().ok_or("a plan without packages")?.iter();
        let ours: BTreeSet<_> =
            ours.map(|it| format!("{} {}", text(it, "name"), text(it, "version"))).collect();
        let named = names(recipe)?;
        let named: Vec<_> = named.iter().map(String::as_str).chain(["?essential"]).collect();
        let theirs = Apt::of(&stage.archive, &stage.archive.key())?.installs(&named)?;
        expect(ours == theirs, || {
            let [only, missing] = [ours.difference(&theirs), theirs.difference(&ours)];
            let [only, missing] = [only, missing].map(|it| it.cloned().collect::<Vec<_>>());
            format!("{recipe}: ours alone has {only:?}, apt alone {missing:?}")
        })?;
        for update in UPDATES {
            let start = format!("{} ", update.name);
            let Some(version) = ours.iter().find(|it| it.starts_with(&start)) else {
                let needless = update.phased.is_none() && update.suites != [Suite::Security];
                expect(needless, || format!("{recipe} lacks {}", update.name))?;
                continue;
            };
            expect(!version.ends_with("~jammy"), || format!("{version} was not updated"))?;
        }
    }
    Ok(())
}

/// The command believes Ubuntu's own key, pinned, and the stand-in has another.
pub(crate) fn pinned_key(stage: &Stage) -> Outcome {
    let [mirror, url, ..] = stage.archive.arguments();
    let cache = tempfile::tempdir().map_err(|e| e.to_string())?;
    let cache = cache.path().display().to_string();
    let plan = ["plan", "recipes/node.toml", "--base", "ubuntu-22.04", "--cache", &cache];
    let ran = run(&[&plan[..], &[&mirror, &url]].concat());
    expect(!ran.ok && ran.err.contains("sign"), || format!("it was believed: {}", ran.err))
}

/// The mirror is being updated: by its name every index is another already, by its hash it is the one that was signed.
pub(crate) fn by_hash(stage: &Stage) -> Outcome {
    let mut files = BTreeMap::new();
    read_below(&stage.archive.root().join("dists"), "/dists", &mut files)?;
    let is_index = |path: &str| path.contains("/binary-amd64/");
    let is_hashed = |path: &str| path.contains("/by-hash/SHA256/");
    for (_, bytes) in files.iter_mut().filter(|(path, _)| is_index(path) && !is_hashed(path)) {
        *bytes = b"what comes next".to_vec();
    }
    let server = Server::start(files);
    let cache = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (cache, key) = (cache.path().display().to_string(), stage.archive.key());
    let plan = ["plan", "recipes/node.toml", "--base", "ubuntu-22.04", "--cache", &cache];
    let key = key.display().to_string();
    succeeded(&run(&[&plan[..], &["--mirror", &server.url, "--key", &key]].concat()))?;
    let asked: Vec<_> = server.requests().into_iter().filter(|path| is_index(path)).collect();
    let of = |suite: &str| asked.iter().any(|path| path.starts_with(&format!("/dists/{suite}/")));
    let all = SUITES.iter().all(|(_, suite, _)| of(suite));
    let hashed = asked.iter().all(|path| is_hashed(path));
    expect(all && hashed, || format!("it asked for {asked:?}"))
}

fn read_below(folder: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Outcome {
    for entry in fs::read_dir(folder).map_err(|e| e.to_string())?.flatten() {
        let (path, name) =
            (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            read_below(&path, &name, files)?;
        } else {
            files.insert(name, fs::read(&path).map_err(|e| e.to_string())?);
        }
    }
    Ok(())
}

fn names(recipe: &str) -> Result<Vec<String>, String> {
    let base = Some("ubuntu-22.04".parse().map_err(|_| "no such base")?);
    let read = coremax_recipe::load_on(&repository().join(recipe), base);
    let recipe = read.map_err(|e| e.to_string())?;
    Ok(recipe.packages.install.keys().map(ToString::to_string).collect())
}
