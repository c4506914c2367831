//! The other host: an ordinary user's home, in which nothing is as it is here.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, coremax, expect};

use crate::{Locked, Stage, VERSION, text};

/// The number of a user that is nobody's, and of whom the host hears nothing.
const ID: &str = "61185";
/// Where Debian's package libfaketime has it.
const CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const YEAR: Duration = Duration::from_secs(365 * 86400);
/// Lays the user and a range of ids over the host's files, in a mount namespace of its own, and becomes that user, with one
/// processor. What `stat` says of files is their own time.
const BECOME: &str = r#"
set -eu
home=$1 id=$2 clock=$3
shift 3
for file in passwd group subuid subgid; do cp "/etc/$file" "$home.$file"; done
echo "builder:x:$id:$id::$home:/bin/sh" >>"$home.passwd"
echo "builder:x:$id:" >>"$home.group"
for file in subuid subgid; do echo "builder:1879048192:65536" >"$home.$file"; done
for file in passwd group subuid subgid; do mount --bind "$home.$file" "/etc/$file"; done
umask 077
cd "$home/elsewhere/project"
exec setpriv --reuid "$id" --regid "$id" --clear-groups --inh-caps=-all taskset 1 \
    env -i PATH=/usr/bin:/bin HOME="$home" TZ=Pacific/Kiritimati LANG=de_DE.UTF-8 LC_ALL=tr_TR.UTF-8 \
    LD_PRELOAD="$clock" FAKETIME=+365d NO_FAKE_STAT=1 "$@"
"#;

/// Builds the lock there, and returns the folder of its results.
pub(crate) fn build(stage: &Stage, locked: &Locked) -> Result<PathBuf, String> {
    possible()?;
    let home = stage.path("home");
    furnish(stage, &home, locked)?;
    Cmd::new("unshare", &Sandbox::host())
        .args(["--mount", "sh", "-c", BECOME, "sh", &text(&home), ID, CLOCK])
        .args([&text(&home.join("coremax")), "build", &locked.recipe(), "--locked", "--no-test"])
        .args(VERSION)
        .args(["--cache", "../cache", "-o", "../images"])
        .run()
        .map_err(|e| e.to_string())?;
    let output = home.join("elsewhere/images");
    is_another(&home.join("elsewhere/cache"), &output)?;
    Ok(output)
}

/// What is not different proves nothing.
fn is_another(cache: &Path, output: &Path) -> Outcome {
    let owner = fs::metadata(output).map(|found| std::os::unix::fs::MetadataExt::uid(&found));
    let owner = owner.map_err(|e| e.to_string())?.to_string();
    expect(owner == ID, || format!("the result is {owner}'s: it was no ordinary user"))?;
    // A step's record is stamped with the builder's time.
    let records =
        files(&cache.join("store")).into_iter().filter(|file| file.ends_with("step.json"));
    let times = records.filter_map(|record| fs::metadata(record).ok()?.modified().ok());
    let ahead = SystemTime::now() + YEAR - Duration::from_secs(86400);
    let times: Vec<_> = times.collect();
    let all = !times.is_empty() && times.iter().all(|time| *time > ahead);
    expect(all, || format!("the clock was not a year ahead: {times:?}"))
}

fn possible() -> Outcome {
    expect(rustix::process::geteuid().is_root(), || {
        "skipped: only root can become an ordinary user".into()
    })?;
    for program in ["newuidmap", "newgidmap", "setpriv", "taskset", "unshare"] {
        let found = ["/usr/bin", "/bin"].iter().any(|at| Path::new(at).join(program).exists());
        expect(found, || format!("skipped: {program} is not here (install uidmap, util-linux)"))?;
    }
    expect(Path::new(CLOCK).exists(), || {
        format!("skipped: {CLOCK} is not here (install libfaketime)")
    })
}

/// A home with the command, the project and the downloads, and with no finished steps.
fn furnish(stage: &Stage, home: &Path, locked: &Locked) -> Outcome {
    let elsewhere = home.join("elsewhere");
    let _ = fs::remove_dir_all(home);
    fs::create_dir_all(&elsewhere).map_err(|e| e.to_string())?;
    host("cp", &["-a", &text(locked.project.path()), &text(&elsewhere.join("project"))])?;
    host("cp", &["-a", &text(&coremax()), &text(&home.join("coremax"))])?;
    copy_downloads(&stage.path("cache"), &elsewhere.join("cache"))?;
    host("chown", &["-R", &format!("{ID}:{ID}"), &text(home)])?;
    host("chmod", &["go-rwx", &text(home)])?;
    // The way there is root's own.
    host("chmod", &["755", &text(home.parent().unwrap_or(home))])
}

/// What another cache has fetched, in one that has nothing else.
pub(crate) fn copy_downloads(from: &Path, target: &Path) -> Outcome {
    let inputs = from.join("inputs");
    if target.join("inputs").exists() || !inputs.exists() {
        return Ok(());
    }
    fs::create_dir_all(target).map_err(|e| e.to_string())?;
    host("cp", &["-a", "--reflink=auto", &text(&inputs), &text(target)])
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    };
    entries.flat_map(below).collect()
}

fn host(program: &str, arguments: &[&str]) -> Outcome {
    let run = Cmd::new(program, &Sandbox::host()).args(arguments).run();
    run.map(drop).map_err(|error| error.to_string())
}
