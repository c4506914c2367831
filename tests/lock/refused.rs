//! What does not agree with the lock.

use std::{collections::BTreeMap, fs, path::PathBuf};

use coremax_tests::{Outcome, Ran, expect, mirror::Server, ran};

use crate::{Stage, succeeded};

const PLAN: [&str; 3] = ["plan", "recipes/locked.toml", "--locked"];
const BUILD: [&str; 6] = ["build", "recipes/locked.toml", "--locked", "--no-test", "-o", "images"];

/// That a run was refused with these words.
fn complained(ran: &Ran, words: &[&str]) -> Outcome {
    expect(!ran.ok, || "it was accepted".into())?;
    let lacking = words.iter().find(|word| !ran.err.contains(**word));
    expect(lacking.is_none(), || format!("no {lacking:?} in:\n{}", ran.err))
}

pub(crate) fn disagreement(stage: &Stage) -> Outcome {
    let more = |text: &str| text.replace("[kernel]", "[packages]\ninstall = [\"nano\"]\n[kernel]");
    let ran = stage.with("recipes/locked.toml", more, || stage.run(&PLAN));
    complained(
        &ran,
        &["locked.lock do not agree", "installs nano, not locked", "locked.toml --update locks"],
    )?;
    let archive = "[[archive]]\nname = \"own\"\nmirror = \"http://own.example\"\nsuites = [\"x\"]\n\
                   components = [\"main\"]\n[kernel]";
    let another = |text: &str| text.replace("[kernel]", archive);
    let ran = stage.with("recipes/locked.toml", another, || stage.run(&PLAN));
    complained(&ran, &["reads the archive own/x: main, not locked"])?;
    // Another base has a lock of its own.
    let ran = stage.run(&[&PLAN[..], &["--base", "ubuntu-22.04"]].concat());
    complained(
        &ran,
        &["locked.ubuntu-22.04.lock is not there", "lock recipes/locked.toml --base"],
    )?;
    let own = stage.run(&[&PLAN[..], &["--base", "debian-12"]].concat());
    succeeded(&own)
}

pub(crate) fn changed_overlay(stage: &Stage) -> Outcome {
    let file = "overlays/node/etc/ssh/sshd_config.d/10-keys-only.conf";
    let ran = stage.with(file, |text| format!("{text}\n"), || stage.run(&PLAN));
    complained(&ran, &["overlays/node has changed"])
}

pub(crate) fn edited(stage: &Stage) -> Outcome {
    let lock = stage.lock();
    let line = |key: &str| lock.lines().position(|line| line.starts_with(key)).unwrap_or(0) + 1;
    for (from, to, place) in [
        ("epoch = ", "epoch = x", line("epoch")),
        ("pool = \"pool/", "pool = \"../", line("pool")),
        ("sha256 = \"", "sha256 = \"0", line("sha256")),
        ("version = \"", "version = \"/", line("version")),
    ] {
        let edit = |text: &str| text.replacen(from, to, 1);
        let ran = stage.with("recipes/locked.lock", edit, || stage.run(&PLAN));
        complained(&ran, &[&format!("recipes/locked.lock:{place}:"), "not written by hand"])?;
    }
    Ok(())
}

/// A mirror of what the cache has, by the paths that the lock says; `keep` says what it has.
fn mirror(stage: &Stage, keep: impl Fn(&str) -> bool) -> Server {
    let lock = stage.lock();
    let mut files = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let [pool, sha256] = ["pool", "sha256"].map(|key| value(package, key));
        if keep(&pool) {
            let path = stage.cache.join("inputs/sha256").join(&sha256[..2]).join(sha256);
            files.insert(format!("/{pool}"), fs::read(path).unwrap_or_default());
        }
    }
    Server::start(files)
}

fn value(package: &str, key: &str) -> String {
    let start = format!("{key} = \"");
    let line = package.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_default().trim_end_matches('"').to_owned()
}

/// Where one package of the lock lies in the mirror, and a cache that has all others.
fn without(stage: &Stage, name: &str) -> Result<(PathBuf, String), String> {
    let lock = stage.lock();
    let package = lock.split("[[package]]").find(|p| value(p, "name") == name);
    let package = package.ok_or_else(|| format!("{name} is not locked"))?;
    let sha256 = value(package, "sha256");
    let cache = stage.path(&format!("without-{name}"));
    // What an earlier sentence has built would be found, and nothing fetched.
    for built in [&cache, &stage.path("images")] {
        let _ = fs::remove_dir_all(built);
    }
    for package in lock.split("[[package]]").skip(1).map(|p| value(p, "sha256")) {
        let at = |root: PathBuf| root.join("inputs/sha256").join(&package[..2]).join(&package);
        let (from, to) = (at(stage.cache.clone()), at(cache.clone()));
        fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(|e| e.to_string())?;
        if package != sha256 && from.exists() && !to.exists() {
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .map_err(|e| e.to_string())?;
        }
    }
    Ok((cache, sha256))
}

pub(crate) fn other_bytes(stage: &Stage) -> Outcome {
    let (cache, sha256) = without(stage, "zlib1g")?;
    let server = mirror(stage, |_| true);
    let mirrors = ["--mirror", &server.url, "--security-mirror", &server.url];
    let build = [&BUILD[..], &mirrors].concat();
    let other = format!("{}{}", if sha256.starts_with('0') { "1" } else { "0" }, &sha256[1..]);
    let edit = |text: &str| text.replace(&sha256, &other);
    let run = || ran(stage.command(&cache, &build));
    complained(
        &stage.with("recipes/locked.lock", edit, run),
        &["zlib1g", "wanted SHA-256", &other],
    )?;
    let size = |text: &str| {
        let (head, tail) = text.split_once("name = \"zlib1g\"").unwrap_or_default();
        format!("{head}name = \"zlib1g\"{}", tail.replacen("size = ", "size = 1", 1))
    };
    complained(&stage.with("recipes/locked.lock", size, run), &["zlib1g", "bytes, the server has"])
}

pub(crate) fn snapshot(stage: &Stage) -> Outcome {
    let (cache, _) = without(stage, "zlib1g")?;
    let (now, then) = (mirror(stage, |pool| !pool.contains("/zlib1g_")), mirror(stage, |_| true));
    let mirrors = ["--mirror", &now.url, "--security-mirror", &now.url];
    let build = [&BUILD[..], &mirrors].concat();
    let run = || ran(stage.command(&cache, &build));
    complained(&run(), &["zlib1g", "[lock] snapshot", "lock recipes/locked.toml --update"])?;
    let named = |text: &str| {
        text.replace("[kernel]", &format!("[lock]\nsnapshot = \"{}\"\n[kernel]", then.url))
    };
    succeeded(&stage.with("recipes/locked.toml", named, run))?;
    expect(then.requests().len() == 1, || format!("{:?}", then.requests()))?;
    // A mirror that nobody answers for is no better than one that has it no longer.
    let (cache, _) = without(stage, "zlib1g")?;
    let dead = "http://127.0.0.1:1";
    let vendor = ["vendor", "elsewhere", "recipes/locked.toml", "--mirror", dead];
    let vendor = [&vendor[..], &["--security-mirror", dead]].concat();
    let gather = || ran(stage.command(&cache, &vendor));
    complained(&gather(), &["zlib1g", "name another mirror"])?;
    succeeded(&stage.with("recipes/locked.toml", named, gather))
}

pub(crate) fn spoilt(stage: &Stage) -> Outcome {
    let (cache, sha256) = without(stage, "zlib1g")?;
    let again = cache.join("inputs/sha256").join(&sha256[..2]).join(&sha256);
    let file = stage.path("inputs/sha256").join(&sha256[..2]).join(&sha256);
    let whole = fs::read(&file).map_err(|e| e.to_string())?;
    let build = [&BUILD[..], &["--offline", "--inputs", "inputs"]].concat();
    let run = || {
        let _ = fs::remove_file(&again);
        ran(stage.command(&cache, &build))
    };
    fs::remove_file(&file).map_err(|e| e.to_string())?;
    complained(&run(), &["zlib1g", &sha256])?;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&file, flipped).map_err(|e| e.to_string())?;
    complained(&run(), &["zlib1g", "wanted SHA-256", "coremax vendor"])?;
    fs::write(&file, &whole[1..]).map_err(|e| e.to_string())?;
    complained(&run(), &["zlib1g", "bytes"])?;
    fs::write(&file, whole).map_err(|e| e.to_string())
}
