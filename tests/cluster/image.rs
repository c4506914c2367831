//! The image of all machines, built once from the product's own parts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{cache, failed, guest::SHELL, project, runs_in};

/// The operator's key, which signs rosters and updates.
pub(crate) const KEY: &str = "operator.key";
/// Its version. What holds the join where it is in a phase, so that the test can take the power just then, and says
/// which one: nothing but what the shell does itself, for the join is fast. And what names the files that hold the cluster's
/// key, as digits, as base64 or as bytes, or the key that the seed deploys with, and the journal's lines that do.
const FILES: &str = r#"
[[file]]
path = "/usr/lib/coremax-tests/version"
content = "1"

[[file]]
path = "/usr/lib/coremax-tests/stop-at"
mode = "0755"
content = '''
#!/bin/bash
phases=" identified networked discovered enrolled timesynced prepared ready deploying formed "
later="$1${phases#* $1}"
while :; do
    for file in /var/lib/coremax/join/node.json /run/coremax/cluster-status.json; do
        { read -r -d "" text < $file; } 2>/dev/null
        [[ $text =~ \"phase\":\"([a-z]*)\" ]] || continue
        phase=${BASH_REMATCH[1]}
        [[ " $later " == *" $phase "* ]] || continue
        read -r process < /sys/fs/cgroup/system.slice/coremax-join.service/cgroup.procs
        kill -STOP $process
        echo $phase
        exit
    done
done
'''

[[file]]
path = "/usr/lib/coremax-tests/keys"
mode = "0755"
content = '''
#!/usr/bin/python3
import base64, json, os, subprocess

FOLDERS = ["/etc", "/run", "/root", "/var/lib/coremax", "/var/log"]
PROOF = "/run/coremax-tests-proof"

def forms(key):
    yield from (key, key.hex().encode(), key.hex().upper().encode())
    for before in range(3):  # within other bytes; the ends depend on these
        yield base64.b64encode(bytes(before) + key)[4 : -4]

def found(needles):
    for folder in FOLDERS:
        device = os.stat(folder).st_dev
        for at, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if os.lstat(f"{at}/{name}").st_dev == device]
            for path in (f"{at}/{name}" for name in files):
                if os.path.isfile(path) and not os.path.islink(path):
                    text = open(path, "rb").read()
                    yield from (path for needle in needles if needle in text)

identity = json.load(open("/var/lib/coremax/identity.json"))
needles = list(forms(bytes.fromhex(identity["key"])))
if os.path.exists("/var/lib/coremax/authority/deploy"):
    needles.append(open("/var/lib/coremax/authority/deploy", "rb").read().split(b"\n")[4])
with open(PROOF, "wb") as proof:
    proof.write(b" ".join(needles))
if list(found(needles)).count(PROOF) != len(needles):
    raise SystemExit("it does not find what is there")
os.remove(PROOF)
journal = subprocess.run(["journalctl", "--no-pager", "-o", "export"], capture_output=True, check=True)
lines = [line.decode(errors="replace") for line in journal.stdout.split(b"\n") if any(needle in line for needle in needles)]
print("\n".join(sorted(set(found(needles))) + lines))
'''
"#;

/// A raw disk with the image on it, sparse; the operator's key beside it.
pub(crate) fn built(work: &Path) -> Result<PathBuf, String> {
    let disk = work.join("image.raw");
    if disk.exists() {
        return Ok(disk);
    }
    if !work.join(KEY).exists() {
        runs_in(work, &["key", "new", KEY])?;
    }
    let project = project("cluster", recipe);
    let key = format!("{KEY}.pub");
    fs::copy(work.join(&key), project.path().join(&key)).map_err(|e| e.to_string())?;
    let (cache, output) = (cache(), work.join("images"));
    let [cache, output] = [&cache, &output].map(|path| path.to_str().expect("a path in UTF-8"));
    let words = ["build", "recipes/cluster.toml", "--no-test", "--image-version", "1"];
    runs_in(project.path(), &[&words[..], &["--cache", cache, "-o", output]].concat())?;
    let image = work.join("images/node/1.untested/node.qcow2");
    let new = work.join("image.new");
    Cmd::new("qemu-img", &Sandbox::host())
        .args(["convert", "-f", "qcow2", "-O", "raw"])
        .args([&image, &new])
        .run()
        .map_err(|e| failed(&e, "qemu-utils"))?;
    fs::rename(&new, &disk).map_err(|e| e.to_string())?;
    Ok(disk)
}

/// The product's node with what makes it join, and a shell for the test.
fn recipe(node: &str) -> String {
    let text = node
        .replace("parts = [\"server\"]", "parts = [\"server\", \"cluster-node\"]")
        .replace("[kernel]\n", "[kernel]\nmodules = \"cloud\"\n")
        .replace("units = [\"serial-getty@ttyS0.service\"]", "units = []");
    let root = format!("\n[root]\nupdate-key = \"{KEY}.pub\"\n");
    [&text, SHELL, FILES, &root].concat()
}
