//! A machine that is told its cluster: by QEMU's fw_cfg, and by a volume that says otherwise.

use std::{fs, path::Path};

use coremax_tests::{Outcome, expect, runs_in};
use serde_json::Value;

use crate::{Stage, equal, says};

/// The media of two clusters, made as an operator makes them, as QEMU is told of them.
pub(crate) fn media(work: &Path) -> Result<Vec<String>, String> {
    for cluster in ["one", "two"] {
        let file = format!("{cluster}.toml");
        let _ = fs::remove_file(work.join(&file));
        let macs = ["1", "2", "3"].map(|n| format!("--mac=52:54:00:12:34:5{n}"));
        let macs = macs.each_ref().map(String::as_str);
        let new = ["cluster", "new", "--preset=openstack-3", "--subnet=10.0.0.0/24", &file];
        runs_in(work, &[&new[..], &macs].concat())?;
        // What an operator fills in: a roster that nobody filled in makes no medium.
        let roster = fs::read_to_string(work.join(&file)).map_err(|e| e.to_string())?;
        let filled = roster.replace("CHANGE-ME", "test-disk");
        fs::write(work.join(&file), filled).map_err(|e| e.to_string())?;
        runs_in(work, &["cluster", "seed-medium", &file])?;
    }
    let at = |name: &str| work.join(name).display().to_string();
    let volume = format!("if=none,id=medium,format=raw,readonly=on,file={}", at("two.seed.img"));
    let fw_cfg = format!("name=opt/coremax/identity,file={}", at("one.identity.json"));
    let words = ["-drive", &volume, "-device", "virtio-blk-pci,drive=medium", "-fw_cfg", &fw_cfg];
    Ok(words.map(str::to_owned).into())
}

pub(crate) fn told(stage: &Stage) -> Outcome {
    let document = |name: &str| -> Result<Value, String> {
        let text = fs::read_to_string(stage.work.join("life").join(name));
        serde_json::from_str(&text.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    };
    let (one, two) = (document("one.identity.json")?, document("two.identity.json")?);
    let mut guest = stage.guest()?;
    let mut told = String::new();
    for place in ["fw-cfg", "kept"] {
        let said = guest.runs("coremax-node identify --json 2>/dev/null")?;
        let found: Value = serde_json::from_str(&said).map_err(|e| format!("{said}: {e}"))?;
        equal(&found["place"], &place.into())?;
        equal(&found["cluster"], &one["cluster"])?;
        // Whatever the volume says, it is not followed.
        let other = two["key-id"].as_str().ok_or("the other key has no id")?;
        says(&found["ignored"].to_string(), &["/dev/vdc (COREMAX) says cluster", other])?;
        told += &said;
    }
    for line in ["coremax-node identify 2>&1", "journalctl --no-pager"] {
        told += &guest.runs(line)?;
    }
    told += &guest.console();
    for document in [&one, &two] {
        let key = document["key"].as_str().ok_or("an identity has no key")?;
        expect(!told.contains(key), || "a key was told".into())?;
    }
    equal(&guest.runs("stat -c %a /var/lib/coremax/identity.json")?, &"600".into())?;
    guest.runs("! grep -q vdc /proc/mounts").map(drop)
}
