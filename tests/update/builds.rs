//! The versions of the story, built from one recipe and signed with one key.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, Ran, cache, expect, project, run_in};
use serde_json::Value;

use crate::{Stage, guest::SHELL, says};

/// What makes a version a bad one: more of its recipe.
const SICK: &str = r#"
[Unit]
Description=Never well
Before=coremax-health.target
[Service]
Type=oneshot
ExecStart=/bin/false
[Install]
RequiredBy=coremax-health.target
"#;
const PANIC: &str = r#"
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh -c "echo c > /proc/sysrq-trigger"
[Install]
WantedBy=sysinit.target
"#;
/// Health never comes, and its deadline sooner than in ten minutes.
const LATE: &str = r#"
[Unit]
Before=coremax-health.target
[Service]
Type=oneshot
ExecStart=/bin/sleep infinity
[Install]
RequiredBy=coremax-health.target
"#;
const SOON: &str = r#"
[[file]]
path = "/usr/lib/systemd/system/coremax-deadline.timer.d/soon.conf"
content = """
[Timer]
OnBootSec=
OnBootSec=100s
"""
"#;
/// systemd stands still when it gets a signal that only a fault of its own sends.
const HANG: &str = r#"
[Unit]
DefaultDependencies=no
After=systemd-udev-settle.service
Wants=systemd-udev-settle.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c "until test -e /dev/watchdog0; do sleep 1; done; sleep 5; kill -SEGV 1"
[Install]
WantedBy=multi-user.target
"#;

/// Where the versions are built.
pub(crate) struct Builds;

impl Builds {
    /// Makes the key and builds all versions that the story tells of.
    pub(crate) fn of_all(stage: &Stage) -> Outcome {
        let key = stage.work.join("update.key");
        let made = run_in(&stage.work, &["key", "new", "update.key"]);
        expect(made.ok, || made.err)?;
        let secret = fs::read(&key).map_err(|e| e.to_string())?;
        let again = run_in(&stage.work, &["key", "new", "update.key"]);
        expect(!again.ok && again.err.contains("is there already"), || again.err)?;
        expect(fs::read(&key).is_ok_and(|now| now == secret), || "the key is another".into())?;

        build(stage, "2", "", SIGNED)?;
        build(stage, "3", SICK, SIGNED)?;
        if full().is_ok() {
            build(stage, "4", PANIC, SIGNED)?;
            build(stage, "5", HANG, SIGNED)?;
            build(stage, "6", LATE, SIGNED)?;
        }
        let sums = fs::read_to_string(result(stage, "2").join("SHA256SUMS"));
        says(&sums.map_err(|e| e.to_string())?, &["  node.coremax-update\n", "  node.qcow2\n"])
    }

    /// Builds version 1 without and then with an update.
    pub(crate) fn adds_an_update(stage: &Stage) -> Outcome {
        build(stage, "1", "", &[])?;
        let plain = manifest(stage, "1")?;
        expect(plain["update"].is_null(), || "there is an update that nobody wanted".into())?;
        build(stage, "1", "", SIGNED)?;
        let signed = manifest(stage, "1")?;
        expect(signed["artefacts"] == plain["artefacts"], || "the image is another".into())?;
        let size = fs::metadata(update(stage, "1")).map_err(|e| e.to_string())?.len();
        expect(signed["update"]["size"] == size, || format!("{}", signed["update"]))?;
        let again = build(stage, "1", "", SIGNED)?;
        expect(again.err.contains("unchanged"), || format!("it was made again:\n{}", again.err))
    }

    /// Signs with a key that no node of the recipe believes.
    pub(crate) fn other_key(stage: &Stage) -> Outcome {
        let made = run_in(&stage.work, &["key", "new", "other.key"]);
        expect(made.ok, || made.err)?;
        match build(stage, "1", "", &["--sign-key", "other.key"]) {
            Ok(_) => Err("it was signed".into()),
            Err(said) => says(&said, &["no node of node would believe", "hint: ", "update-key"]),
        }
    }
}

const SIGNED: &[&str] = &["--sign-key", "update.key"];

/// Whether what takes long is wanted.
pub(crate) fn full() -> Outcome {
    let wanted = std::env::var_os("COREMAX_FULL").is_some();
    expect(wanted, || "skipped: it takes minutes; COREMAX_FULL=1 runs it".into())
}

/// A disk to write to, with version 1 on it.
pub(crate) fn disk(stage: &Stage) -> Result<PathBuf, String> {
    let disk = stage.work.join("disk.qcow2");
    fs::copy(image(stage, "1"), &disk).map_err(|e| e.to_string())?;
    Ok(disk)
}

/// A file system with all updates, each by its version.
pub(crate) fn updates(stage: &Stage) -> Result<PathBuf, String> {
    let (folder, image) = (stage.work.join("updates"), stage.work.join("updates.ext4"));
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let mut room = 64 << 20;
    for version in ["1", "2", "3", "4", "5", "6"] {
        let update = update(stage, version);
        if let Ok(found) = fs::metadata(&update) {
            let _ = fs::hard_link(&update, folder.join(version)); // it is there already
            room += found.len() * 11 / 10;
        }
    }
    if image.exists() {
        return Ok(image);
    }
    Cmd::new("mke2fs", &Sandbox::host())
        .args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"])
        .args([&folder, &image])
        .arg(format!("{}k", room >> 10))
        .run()
        .map_err(|e| format!("skipped: {e}: it is in the package e2fsprogs"))?;
    Ok(image)
}

/// Builds a version of the recipe with a unit in it, or without one.
fn build(stage: &Stage, version: &str, unit: &str, more: &[&str]) -> Result<Ran, String> {
    let project = project("update", |node| recipe(node, version, unit));
    for key in ["update.key", "update.key.pub", "other.key"] {
        let _ = fs::copy(stage.work.join(key), project.path().join(key));
    }
    let (cache, output) = (cache(), stage.work.join("images"));
    let [cache, output] = [&cache, &output].map(|path| path.to_str().expect("a path in UTF-8"));
    let build = ["build", "recipes/update.toml", "--no-test", "--image-version", version];
    let ran =
        run_in(project.path(), &[&build[..], &["--cache", cache, "-o", output], more].concat());
    if ran.ok { Ok(ran) } else { Err(ran.err) }
}

fn recipe(node: &str, version: &str, unit: &str) -> String {
    let is =
        format!("\n[[file]]\npath = \"/usr/lib/coremax-tests/version\"\ncontent = \"{version}\"\n");
    let (unit, enable) = match unit {
        "" => (String::new(), ""),
        unit => (
            format!(
                "\n[[file]]\npath = \"/usr/lib/systemd/system/sick.service\"\ncontent = '''{unit}'''\n"
            ),
            "\"sick.service\", ",
        ),
    };
    let soon = if unit == LATE { SOON } else { "" };
    let key = "[root]\nupdate-key = \"update.key.pub\"\n";
    node.replace("enable = [", &format!("enable = [{enable}"))
        .replace("[[output]]", &format!("{key}{SHELL}{is}{unit}{soon}\n[[output]]"))
        .replace("[kernel]\n", "[kernel]\nmodules = \"cloud\"\n")
}

fn result(stage: &Stage, version: &str) -> PathBuf {
    stage.work.join("images/node").join(format!("{version}.untested"))
}

pub(crate) fn image(stage: &Stage, version: &str) -> PathBuf {
    result(stage, version).join("node.qcow2")
}

pub(crate) fn update(stage: &Stage, version: &str) -> PathBuf {
    result(stage, version).join("node.coremax-update")
}

fn manifest(stage: &Stage, version: &str) -> Result<Value, String> {
    let path = result(stage, version).join("manifest.json");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", shown(&path)))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", shown(&path)))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
