//! The lock, as a user meets it: `recipes/node.toml` is locked, built from the lock, gathered for a site without a network
//! and built there with the network cut off; and whatever disagrees is refused with its name.
//!
//! One program without the harness, since each sentence stands on what the one before has made.

mod adopted;
mod refused;
mod why;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, Ran, Sentence, cache, coremax, expect, project, ran, tell};

const STORY: [Sentence<Stage>; 17] = [
    ("a recipe is locked, with every package, id and input, and no mirror", locks),
    ("a build of the lock does not make the system again", adopted::is_stored),
    ("locking again changes nothing", locks_the_same),
    ("one package is moved, and nothing else", moves_one),
    ("a locked plan asks no archive", asks_no_archive),
    ("a recipe that asks for something else is refused with what differs", refused::disagreement),
    ("so is an overlay that has changed", refused::changed_overlay),
    ("a lock edited by hand is refused with line and column", refused::edited),
    ("a package that is not what was locked is refused", refused::other_bytes),
    ("a package that has left the mirror is taken from a snapshot", refused::snapshot),
    ("what a locked build reads is gathered, and listed", gathers),
    ("a file that is missing or changed there is refused by name", refused::spoilt),
    ("with an empty cache and no network, a build and its boot need nothing else", builds_offline),
    ("and its system is what locking has made, to the last file", adopted::is_the_same),
    ("nor does it to boot the result again elsewhere", boots_offline),
    ("accounts have the numbers that the lock says", ids_are_pinned),
    ("a plan says why a step runs again", why::tells),
];

/// Where the story plays.
pub(crate) struct Stage {
    pub(crate) project: tempfile::TempDir,
    pub(crate) cache: PathBuf,
}

fn main() -> ExitCode {
    let project = project("locked", str::to_owned);
    tell(&STORY, &Stage { project, cache: cache() })
}

impl Stage {
    /// A path in the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.project.path().join(name)
    }

    pub(crate) fn command(&self, cache: &Path, arguments: &[&str]) -> Cmd {
        let command = Cmd::new(coremax(), &Sandbox::host()).args(arguments);
        command.arg("--cache").arg(cache).current_dir(self.project.path())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(&self.cache, arguments))
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.path("recipes/locked.lock")).unwrap_or_default()
    }

    /// Changes a file, does something, and puts the file back.
    pub(crate) fn with<T>(
        &self,
        name: &str,
        change: impl Fn(&str) -> String,
        act: impl Fn() -> T,
    ) -> T {
        let path = self.path(name);
        let before = fs::read_to_string(&path).expect("a file of the project");
        let after = change(&before);
        assert_ne!(before, after, "nothing changes in {name}");
        fs::write(&path, after).expect("changing a file of the project");
        let result = act();
        fs::write(&path, before).expect("putting a file back");
        result
    }
}

pub(crate) fn succeeded(ran: &Ran) -> Outcome {
    expect(ran.ok, || format!("the command failed:\n{}", ran.err))
}

fn locks(stage: &Stage) -> Outcome {
    adopted::forget(stage)?;
    succeeded(&stage.run(&["lock", "recipes/locked.toml"]))?;
    let lock = stage.lock();
    for part in
        ["base = \"debian-12\"", "name = \"libc6\"", "\"_chrony\" = ", "path = \"overlays/node\""]
    {
        expect(lock.contains(part), || format!("the lock lacks {part}"))?;
    }
    expect(!lock.contains("://"), || "a mirror is in the lock".into())
}

fn locks_the_same(stage: &Stage) -> Outcome {
    let before = stage.lock();
    let again = stage.run(&["lock", "recipes/locked.toml"]);
    succeeded(&again)?;
    expect(again.out.contains("nothing has changed"), || again.out.clone())?;
    expect(stage.lock() == before, || "the lock has changed".into())
}

/// The lock says an older version, which no archive has; the one that it has takes its place.
fn moves_one(stage: &Stage) -> Outcome {
    let lock = stage.lock();
    let (head, tail) = lock.split_once("name = \"zlib1g\"\n").ok_or("no zlib1g")?;
    let old = tail.replacen("version = \"", "version = \"0", 1);
    let at = old.find("sha256 = \"").ok_or("no digest")? + 10;
    let other = if old[at..].starts_with('0') { "1" } else { "0" };
    let old = format!("{head}name = \"zlib1g\"\n{}{other}{}", &old[..at], &old[at + 1..]);
    let path = stage.path("recipes/locked.lock");
    fs::write(&path, old).map_err(|e| e.to_string())?;
    let unknown = stage.run(&["lock", "recipes/locked.toml", "--update", "zlib2g"]);
    expect(unknown.err.contains("zlib2g is not in the lock"), || unknown.err.clone())?;
    let ran = stage.run(&["lock", "recipes/locked.toml", "--update", "zlib1g"]);
    succeeded(&ran)?;
    let lines = ran.out.lines().count();
    expect(lines == 1 && ran.out.starts_with("zlib1g 01:"), || format!("it told:\n{}", ran.out))?;
    expect(stage.lock() == lock, || "something else has moved".into())
}

fn asks_no_archive(stage: &Stage) -> Outcome {
    // Nobody listens at port 1.
    let nowhere = ["--mirror", "http://127.0.0.1:1", "--security-mirror", "http://127.0.0.1:1"];
    let plan = ["plan", "recipes/locked.toml", "--locked", "--json"];
    let ran = stage.run(&[&plan[..], &nowhere].concat());
    succeeded(&ran)?;
    let offline = stage.run(&[&plan[..], &["--offline"]].concat());
    succeeded(&offline)?;
    let fingerprint =
        |text: &str| text.lines().find(|l| l.contains("\"fingerprint\"")).map(str::to_owned);
    let asked = fingerprint(&ran.out).ok_or("the plan tells no fingerprint")?;
    expect(fingerprint(&offline.out) == Some(asked), || "a mirror is in a fingerprint".into())
}

fn gathers(stage: &Stage) -> Outcome {
    succeeded(&stage.run(&["vendor", "inputs", "recipes/locked.toml"]))?;
    let index = fs::read_to_string(stage.path("inputs/index.txt")).map_err(|e| e.to_string())?;
    let packages = stage.lock().matches("[[package]]").count();
    expect(index.lines().count() == packages, || {
        format!("{packages} packages, and in the index:\n{index}")
    })
}

/// A command that has no network, with a cache of its own.
fn cut_off(stage: &Stage, cache: &str, arguments: &[&str]) -> Ran {
    let command = Cmd::new(coremax(), &Sandbox::host().network(false)).args(arguments);
    ran(command.arg("--cache").arg(stage.path(cache)).current_dir(stage.project.path()))
}

const OFFLINE: [&str; 5] = ["--offline", "--inputs", "inputs", "--firmware", "bios"];

fn builds_offline(stage: &Stage) -> Outcome {
    let build = ["build", "recipes/locked.toml", "--image-version", "1", "-o", "images"];
    succeeded(&cut_off(stage, "empty", &[&build[..], &OFFLINE].concat()))
}

/// With the QEMU of the build, whose packages the result names.
fn boots_offline(stage: &Stage) -> Outcome {
    let test = ["test", "images/node/1"];
    let ran = cut_off(stage, "another", &[&test[..], &OFFLINE].concat());
    succeeded(&ran)?;
    fs::remove_dir_all(stage.path("another")).map_err(|e| e.to_string())
}

fn ids_are_pinned(stage: &Stage) -> Outcome {
    let number =
        |text: &str| text.lines().find_map(|l| l.strip_prefix("\"_chrony\" = ").map(str::to_owned));
    let locked = number(&stage.lock()).ok_or("no _chrony in the lock")?;
    let store = fs::read_dir(stage.path("empty/store")).map_err(|e| e.to_string())?;
    let passwd = store.flatten().map(|entry| entry.path().join("out/tree/etc/passwd"));
    let passwd = passwd
        .filter_map(|path| fs::read_to_string(path).ok())
        .find(|text| text.contains("_chrony"));
    let want = format!("_chrony:x:{locked}:");
    expect(passwd.is_some_and(|text| text.contains(&want)), || {
        format!("no {want} in /etc/passwd")
    })?;
    // Another number in the lock is another number in the tree.
    let other =
        |lock: &str| lock.replace(&format!("\"_chrony\" = {locked}\n"), "\"_chrony\" = 777\n");
    let build = [
        "build",
        "recipes/locked.toml",
        "--locked",
        "--no-test",
        "--image-version",
        "2",
        "-o",
        "images",
    ];
    let ran = stage.with("recipes/locked.lock", other, || {
        ran(stage.command(
            &stage.path("empty"),
            &[&build[..], &["--offline", "--inputs", "inputs"]].concat(),
        ))
    });
    succeeded(&ran)?;
    let store = fs::read_dir(stage.path("empty/store")).map_err(|e| e.to_string())?;
    let owned = store.flatten().any(|entry| {
        let tree = entry.path().join("out/tree");
        let passwd = fs::read_to_string(tree.join("etc/passwd")).unwrap_or_default();
        passwd.contains("_chrony:x:777:") && is_owned(&tree.join("var/lib/chrony"), 777)
    });
    expect(owned, || "no tree has _chrony as 777, with its state folder".into())
}

/// Root's builds only: an ordinary user's range shifts all numbers.
fn is_owned(path: &Path, uid: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let owner = |path: &Path| fs::metadata(path).map(|found| found.uid()).ok();
    owner(path) == Some(uid) || owner(Path::new("/proc/self")) != Some(0)
}
