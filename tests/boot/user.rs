//! A build by an ordinary user, in another place, with another umask and time zone, against root's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, coremax, expect, project};

use crate::{Stage, VERSION, image_digest, kills::KILLED};

/// The number of a user that is nobody's, and of whom the host hears nothing.
const ID: &str = "61184";
/// Lays the user and a range of ids over the host's files, in a mount namespace of its own, and becomes that user.
const BECOME: &str = r#"
set -eu
user=$1 home=$2 id=$3
shift 3
for file in passwd group subuid subgid; do
    cp "/etc/$file" "$home.$file"
done
echo "$user:x:$id:$id::$home:/bin/sh" >>"$home.passwd"
echo "$user:x:$id:" >>"$home.group"
for file in subuid subgid; do echo "$user:1879048192:65536" >"$home.$file"; done
for file in passwd group subuid subgid; do mount --bind "$home.$file" "/etc/$file"; done
umask 077
cd "$home/project"
exec setpriv --reuid "$id" --regid "$id" --clear-groups --inh-caps=-all \
    env -i PATH=/usr/bin:/bin HOME="$home" TZ=Pacific/Kiritimati LANG=C "$@"
"#;

pub(crate) fn makes_the_same(stage: &Stage) -> Outcome {
    possible()?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let home = furnish(folder.path(), stage)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Cmd::new("unshare", &Sandbox::host())
        .args(["--mount", "sh", "-c", BECOME, "sh", "builder", &text(&home), ID])
        .args([&text(&home.join("coremax")), "build", "recipes/user.toml", "--no-test"])
        .args(VERSION)
        .args(["--cache", "../cache", "-o", "../images"])
        .run()
        .map_err(|e| e.to_string())?;
    let owner = fs::metadata(home.join("images")).map_err(|e| e.to_string())?;
    let owner = std::os::unix::fs::MetadataExt::uid(&owner).to_string();
    expect(owner == ID, || format!("the result is {owner}'s: it was no ordinary user"))?;
    let roots = image_digest(&stage.output.join(KILLED))?;
    let theirs = image_digest(&home.join("images"))?;
    expect(roots == theirs, || format!("root's is {roots}, the user's {theirs}"))
}

fn possible() -> Outcome {
    expect(rustix::process::geteuid().is_root(), || {
        "skipped: only root can become an ordinary user".into()
    })?;
    for program in ["newuidmap", "newgidmap", "setpriv", "unshare"] {
        let found = ["/usr/bin", "/bin"].iter().any(|at| Path::new(at).join(program).exists());
        expect(found, || format!("skipped: {program} is not here (install uidmap, util-linux)"))?;
    }
    Ok(())
}

/// A home with the command, the recipes and the downloads, and with no finished steps.
fn furnish(folder: &Path, stage: &Stage) -> Result<PathBuf, String> {
    let home = folder.join("home");
    let cache = home.join("cache");
    fs::create_dir_all(&cache).map_err(|e| e.to_string())?;
    let project = project("user", str::to_owned);
    let run = |program: &str, arguments: &[&Path]| -> Outcome {
        let command = Cmd::new(program, &Sandbox::host()).arg("-a").args(arguments);
        command.run().map(drop).map_err(|e| e.to_string())
    };
    run("cp", &[project.path(), &home.join("project")])?;
    run("cp", &[&coremax(), &home.join("coremax")])?;
    for part in fs::read_dir(&stage.cache).map_err(|e| e.to_string())?.flatten() {
        if !["store", "machines"].iter().any(|made| part.file_name() == *made) {
            run("cp", &[&part.path(), &cache.join(part.file_name())])?;
        }
    }
    let own = |program: &str, how: &str, path: &Path| -> Outcome {
        let command = Cmd::new(program, &Sandbox::host()).args(["-R", how]).arg(path);
        command.run().map(drop).map_err(|e| e.to_string())
    };
    own("chown", &format!("{ID}:{ID}"), &home)?;
    own("chmod", "go-rwx", &home)?;
    // The way there is root's own.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder, open).map_err(|e| e.to_string())?;
    Ok(home)
}
