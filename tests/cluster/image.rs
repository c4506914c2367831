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
#!/bin/bash
key=$(sed -n 's/.*"key":"\([0-9a-f]*\)".*/\1/p' /var/lib/coremax/identity.json)
test ${#key} = 64 || exit 1
bytes=$(sed 's/../\\x&/g' <<< $key)
base64=$(printf "$bytes" | base64 -w0)
search() {
    find /etc /run /root /var/lib/coremax /var/log -xdev -type f -exec env LC_ALL=C grep -las "$@" {} +
}
{
    search -F -e $key -e $base64
    search -P -e "$bytes"
    if [ -e /var/lib/coremax/authority/deploy ]; then
        search -F -e $(sed -n 5p /var/lib/coremax/authority/deploy)
    fi
    journalctl --no-pager -o export | LC_ALL=C grep -aF -e $key -e $base64
} | sort
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
