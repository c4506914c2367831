//! A host that has a kernel and nothing else: no shell, no coreutils, no package manager. What the command itself is
//! linked with, where names are resolved, certificates and apt's configuration are all that lie there.

use std::{fs, path::Path};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, coremax, expect, repository};

use crate::{Stage, VERSION, forget_all_but, image_digest};

/// Puts that host together in memory, in a mount namespace of its own, and runs the command there. With no shell
/// left, the way to the old root is closed by its own umount.
const ENTER: &str = r#"
set -eu
root=$1 repository=$2 work=$3 cache=$4 command=$5
shift 5
libraries=$(ldd "$command" | grep -o '/[^ ]*')
mount -t tmpfs bare "$root"
cd "$root"
mkdir -p usr/bin proc dev tmp etc/ssl old
cp "$command" usr/bin/coremax
for library in $libraries; do
    mkdir -p ".${library%/*}"
    cp -L "$library" ".$library"
done
for part in apt resolv.conf hosts ssl/certs; do
    if test -e "/etc/$part"; then cp -rL "/etc/$part" "etc/$part"; fi
done
for folder in "$repository" "$work" "$cache"; do
    mkdir -p ".$folder"
    mount --rbind "$folder" ".$folder"
done
mount -t proc proc proc
mount --rbind /dev dev
pivot_root . old
cd "$repository"
LD_LIBRARY_PATH=/old/usr/lib/x86_64-linux-gnu:/old/lib/x86_64-linux-gnu /old/usr/bin/umount -l /old
exec /usr/bin/coremax "$@"
"#;

pub(crate) fn makes_the_same(stage: &Stage) -> Outcome {
    expect(rustix::process::geteuid().is_root(), || {
        "skipped: only root can make such a host".into()
    })?;
    // QEMU's own tree is not for building.
    forget_all_but(&stage.cache.join("store"), &["machine"])?;
    let work = coremax().with_file_name("boot-tests");
    let (root, output) = (work.join("bare"), stage.output.join("bare"));
    fs::create_dir_all(&root).map_err(|e| e.to_string())?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Cmd::new("unshare", &Sandbox::host())
        .args(["--mount", "sh", "-c", ENTER, "sh", &text(&root)])
        .args([&text(&repository()), &text(&work), &text(&stage.cache), &text(&coremax())])
        .args(["build", "recipes/node.toml", "--no-test"])
        .args(VERSION)
        .args(["--cache", &text(&stage.cache), "-o", &text(&output)])
        .run()
        .map_err(|e| e.to_string())?;
    let [first, bare] = [&stage.output, &output].map(|output| image_digest(output));
    let (first, bare) = (first?, bare?);
    expect(first == bare, || format!("{first} became {bare}"))
}
