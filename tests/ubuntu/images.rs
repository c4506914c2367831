//! Images of Ubuntu, booted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_tests::{Disk, Firmware, Outcome, Ran, cache, expect, full, project, run_in};

use crate::{Stage, says, succeeded};

/// Text of a kernel's header, which nothing needs to boot.
const KERNEL: &str = "debian-kernel@lists.debian.org";
/// What systemd says when the system is what its os-release says.
const WELCOME: &str = "Welcome to ";
const UBUNTU: &str = "Ubuntu 22.04.5 LTS";
/// What the firmware says of a loader that it does not start.
const NOT_STARTED: &str = "Access Denied";
/// What GRUB says of a kernel that the shim does not let it start.
const REFUSED_BY_GRUB: &str = "coremax: slot a cannot be loaded";
/// What runs when the kernel does.
const RUNS: &str = "Linux version 6";

pub(crate) fn node_boots(stage: &Stage) -> Outcome {
    let output = stage.work.join("images").display().to_string();
    let build = ["build", "recipes/node.toml", "--image-version", "1", "-o", &output];
    let ran =
        stage.on_ubuntu(&[&build[..], &["--firmware", "bios", "--firmware", "uefi"]].concat());
    print!("{}", ran.err);
    succeeded(&ran)?;
    let read = |name: &str| fs::read_to_string(stage.work.join("images/node/1").join(name));
    let report = read("report.json").map_err(|e| e.to_string())?;
    says(&report, &[UBUNTU])?;
    let manifest = read("manifest.json").map_err(|e| e.to_string())?;
    says(&manifest, &["ubuntu-22.04", "linux-image-generic"])?;
    let netplan = manifest.contains("\"netplan.io\"");
    expect(!netplan, || "netplan is in it, and nobody asked for it".into())
}

/// In the root that was built last: base-files has folders of these names, and usrmerge, which would have made links of
/// them, has left no word that it did.
pub(crate) fn is_merged(stage: &Stage) -> Outcome {
    image(stage)?;
    let store = fs::read_dir(cache().join("store")).map_err(|e| e.to_string())?;
    let steps = store.flatten().map(|entry| entry.path().join("out"));
    let is_ubuntu = |out: &PathBuf| {
        let text = fs::read_to_string(out.join("tree/usr/lib/os-release")).unwrap_or_default();
        text.contains(UBUNTU) && out.join("configure.log").exists()
    };
    let systems: Vec<_> = steps.filter(is_ubuntu).collect();
    expect(!systems.is_empty(), || "no root of Ubuntu is stored".into())?;
    for out in systems {
        for name in ["bin", "lib", "lib64", "sbin"] {
            let leads = fs::read_link(out.join("tree").join(name)).ok();
            let is_link = leads.as_deref() == Some(Path::new(&format!("usr/{name}")));
            expect(is_link, || format!("/{name} leads to {leads:?}"))?;
        }
        let has = out.join("tree/var/lib/dpkg/info/usrmerge.list").exists();
        expect(has, || "usrmerge is not in it".into())?;
        let log = fs::read_to_string(out.join("configure.log")).map_err(|e| e.to_string())?;
        expect(!log.contains("successfully converted"), || "usrmerge merged /usr".into())?;
    }
    Ok(())
}

pub(crate) fn others_boot(stage: &Stage) -> Outcome {
    full()?;
    for recipe in &stage.recipes[1..] {
        let ran = build(stage, recipe, &["--firmware", "bios", "--firmware", "uefi"]);
        print!("{}", ran.err);
        succeeded(&ran)?;
    }
    Ok(())
}

pub(crate) fn node_boots_securely(stage: &Stage) -> Outcome {
    let disk = Disk::of(&image(stage)?, &stage.work)?;
    disk.says(&own_keys(stage), &format!("{WELCOME}\x1b[1m{UBUNTU}"), &[REFUSED_BY_GRUB])
}

pub(crate) fn is_refused(stage: &Stage) -> Outcome {
    let disk = Disk::of(&image(stage)?, &stage.work)?;
    disk.says(&Firmware::Microsoft, NOT_STARTED, &[RUNS, "coremax: loading"])?;
    disk.flip(KERNEL)?;
    disk.says(&own_keys(stage), REFUSED_BY_GRUB, &[RUNS])
}

pub(crate) fn netplan_boots(stage: &Stage) -> Outcome {
    full()?;
    let with = |node: &str| format!("{node}\n[packages]\ninstall = [\"netplan.io\"]\n");
    succeeded(&build_changed(stage, "netplan", with, &["--firmware", "bios"]))
}

pub(crate) fn sealed_boots(stage: &Stage) -> Outcome {
    full()?;
    let key = stage.work.join("secure-boot.key").display().to_string();
    succeeded(&run_in(&stage.work, &["key", "new", "--secure-boot", &key]))?;
    let certificate = format!("{key}.crt");
    let words = ["--secure-boot-key", &key, "--secure-boot-cert", &certificate];
    let sealed = |node: &str| format!("{node}\n[root]\nsecure-boot = \"sealed\"\n");
    let firmware = ["--firmware", "secure"];
    succeeded(&build_changed(stage, "sealed", sealed, &[&words[..], &firmware].concat()))
}

/// Builds and boots a recipe made from node.toml.
fn build_changed(
    stage: &Stage,
    name: &str,
    change: impl FnOnce(&str) -> String,
    more: &[&str],
) -> Ran {
    let project = project(name, change);
    let recipe = format!("recipes/{name}.toml");
    let output = stage.work.join(name).display().to_string();
    let cache = cache().display().to_string();
    let archive = stage.archive.arguments();
    let archive: Vec<_> = archive.iter().map(String::as_str).collect();
    let build = ["build", &recipe, "--base", "ubuntu-22.04", "--cache", &cache, "-o", &output];
    run_in(project.path(), &[&build[..], &["--image-version", "1"], more, &archive].concat())
}

/// Builds a recipe as it stands.
fn build(stage: &Stage, recipe: &str, more: &[&str]) -> Ran {
    let output = stage.work.join("images").display().to_string();
    let build = ["build", recipe, "--image-version", "1", "-o", &output];
    stage.on_ubuntu(&[&build[..], more].concat())
}

/// The image of node.toml, whether its boot test is told or not.
fn image(stage: &Stage) -> Result<PathBuf, String> {
    let tested = stage.work.join("images/node/1/node.qcow2");
    if tested.exists() {
        return Ok(tested);
    }
    succeeded(&build(stage, "recipes/node.toml", &["--no-test"]))?;
    Ok(stage.work.join("images/node/1.untested/node.qcow2"))
}

fn own_keys(stage: &Stage) -> Firmware {
    Firmware::OwnKeys(stage.archive.certificate())
}
