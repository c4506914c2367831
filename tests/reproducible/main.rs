//! Two builds of one lock make the same bytes, however different the hosts: another path of repository and cache, another
//! user, umask, time zone, locale and number of processors, and a clock that is a year ahead.
//!
//! `COREMAX_FULL=1` builds a plain root and the openstack-controller too.

mod alike;
mod clock;
mod other;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use alike::{artefacts, is_disk};
use coremax_tests::{
    Outcome, Ran, Sentence, cache, differences, expect, full, is_same, project, run_in, tell,
};

const STORY: &[Sentence<Stage>] = &[
    ("two builds of one lock on different hosts make the same bytes", sealed),
    ("a file that differs is named with its file system", a_planted_difference_is_named),
    ("a build over the limit removes what it does not use, and nothing else", limit),
    ("with a plain root too", plain),
    ("with the 500 packages of openstack-controller too", large),
];

/// Builds of one day are of one version, and those of a year later are not.
const VERSION: [&str; 2] = ["--image-version", "2026.11.24"];

/// Seconds that the other host is ahead.
const YEAR: u64 = 365 * 86400;
/// The key that signs updates, in the stage's folder and in every project.
const KEY: &str = "update.key";
/// Its public half.
const PUBLIC: &str = "update.key.pub";
/// The recipe with a sealed root, the only kind that has updates.
const SEALED: &str = "sealed";

/// Where the story plays.
struct Stage {
    folder: tempfile::TempDir,
}

/// A recipe and its lock, in a project of its own.
struct Locked {
    project: tempfile::TempDir,
    name: &'static str,
}

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    let made = run_in(folder.path(), &["key", "new", KEY]);
    assert!(made.ok, "{}", made.err);
    tell(STORY, &Stage { folder })
}

fn sealed(stage: &Stage) -> Outcome {
    let locked = Locked::sealed(stage)?;
    build_here(stage, &locked, "here")?;
    compare(stage, &locked)
}

fn a_planted_difference_is_named(stage: &Stage) -> Outcome {
    let locked = Locked::sealed(stage)?;
    let planted = locked.project.path().join("overlays/node/etc/resolv.conf");
    fs::remove_file(&planted)
        .and_then(|()| fs::write(&planted, "# planted\n"))
        .map_err(|e| e.to_string())?;
    // What was locked is not this file.
    let ran = locked.run(&["lock", &locked.recipe(), "--cache", &text(&cache())]);
    succeeded(&ran)?;
    build_here(stage, &locked, "planted")?;
    let [here, planted] = ["here", "planted"].map(|name| artefacts(&stage.path(name)));
    let (here, planted) = (here?, planted?);
    let [here, planted] = [&here, &planted].map(|made| made.iter().find(|file| is_disk(file)));
    let (here, planted) = (here.ok_or("no image")?, planted.ok_or("no image")?);
    let found = differences(here, planted)?;
    let named = |line: &String| line.starts_with("root-a, squashfs 2: etc/resolv.conf:");
    expect(found.iter().any(named), || format!("not among:\n{}", found.join("\n")))?;
    let system = found.iter().any(|line| line.starts_with("root-a, squashfs 1"));
    expect(!system, || format!("the system layer is not the same:\n{}", found.join("\n")))
}

/// The store has the steps of the planted build: of those, the site layer's and what is made of it are not this one's.
fn limit(stage: &Stage) -> Outcome {
    let locked = Locked::sealed(stage)?;
    let (cache, output) = (stage.path("cache"), stage.path("limited"));
    let ran = locked.build(&cache, &output, &["--cache-limit", "0B"]);
    succeeded(&ran)?;
    expect(ran.err.contains("4 steps long unused"), || format!("not so:\n{}", ran.err))?;
    let [here, limited] = [stage.path("here"), output].map(|output| artefacts(&output));
    for (here, limited) in here?.iter().zip(&limited?) {
        expect(is_same(here, limited)?, || format!("{} differs", limited.display()))?;
    }
    // What it used is there: in another folder, it is only copied.
    let ran = locked.build(&cache, &stage.path("limited-again"), &[]);
    succeeded(&ran)?;
    expect(!ran.err.contains("squashfs"), || format!("it ran again:\n{}", ran.err))
}

fn plain(stage: &Stage) -> Outcome {
    full()?;
    let raw = "[[output]]\nformat = \"raw\"\n";
    let clock = installing_the_clock();
    let change = |node: &str| format!("{node}\n{clock}\n{raw}\n[root]\nverity = false\n");
    let locked = Locked::of("plain", stage, change)?;
    build_here(stage, &locked, "here")?;
    compare(stage, &locked)
}

fn large(stage: &Stage) -> Outcome {
    full()?;
    let locked = Locked::of("openstack-controller", stage, |_| {
        let recipe = coremax_tests::repository().join("recipes/openstack-controller.toml");
        let text = fs::read_to_string(recipe).unwrap_or_default();
        let clock = format!("install = [\"{}\", ", clock::NAME);
        text.replace("\"ubuntu-22.04\"", "\"debian-12\"").replacen("install = [", &clock, 1)
    })?;
    build_here(stage, &locked, "here")?;
    compare(stage, &locked)
}

/// Builds the lock on the other host, and looks for what differs.
fn compare(stage: &Stage, locked: &Locked) -> Outcome {
    let there = other::build(stage, locked)?;
    let scripts = [stage.path("cache"), other::cache(stage)].map(|cache| clock::seen(&cache));
    let [here, other] = scripts;
    let ahead = other?.saturating_sub(here?);
    let is_a_year = (YEAR..YEAR + YEAR / 100).contains(&ahead);
    expect(is_a_year, || format!("maintainer scripts were {ahead} s ahead there"))?;
    alike::compare(&stage.path("here"), &there)
}

/// Makes a recipe without packages of its own have the one that shifts the clock.
fn installing_the_clock() -> String {
    format!("[packages]\ninstall = [\"{}\"]\n", clock::NAME)
}

/// A build by this user where this test runs, with nothing stored.
fn build_here(stage: &Stage, locked: &Locked, name: &str) -> Outcome {
    let (cache, output) = (stage.path("cache"), stage.path(name));
    let _ = fs::remove_dir_all(cache.join("store"));
    let _ = fs::remove_dir_all(&output);
    other::copy_downloads(&coremax_tests::cache(), &cache)?;
    succeeded(&locked.build(&cache, &output, &[]))
}

fn succeeded(ran: &Ran) -> Outcome {
    expect(ran.ok, || format!("the command failed:\n{}", ran.err))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Stage {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Locked {
    /// `node.toml` with updates that are signed.
    fn sealed(stage: &Stage) -> Result<Self, String> {
        let root = format!("[root]\nupdate-key = \"{PUBLIC}\"\n");
        let clock = installing_the_clock();
        Self::of(SEALED, stage, |node| format!("{node}\n{clock}\n{root}"))
    }

    /// What a build of it is told besides.
    fn words(&self) -> Vec<&str> {
        let signed = if self.name == SEALED { &["--sign-key", KEY][..] } else { &[] };
        [&VERSION[..], signed].concat()
    }

    /// The recipe, made of `recipes/node.toml`, and locked to what the archive has.
    fn of(
        name: &'static str,
        stage: &Stage,
        change: impl FnOnce(&str) -> String,
    ) -> Result<Self, String> {
        let locked = Self { project: project(name, change), name };
        let clock = stage.path("clock");
        if !clock.exists() {
            clock::make(&clock)?;
        }
        let keys = [stage.path(KEY), stage.path(PUBLIC), clock.join(clock::KEY)];
        for key in keys {
            let name = key.file_name().unwrap_or_default();
            let copied = fs::copy(&key, locked.project.path().join(name));
            copied.map_err(|e| format!("{}: {e}", key.display()))?;
        }
        let recipe = locked.project.path().join(locked.recipe());
        let written = fs::read_to_string(&recipe).map_err(|e| e.to_string())?;
        fs::write(&recipe, written + &clock::archive(&clock)).map_err(|e| e.to_string())?;
        let ran = locked.run(&["lock", &locked.recipe(), "--cache", &text(&cache())]);
        succeeded(&ran)?;
        Ok(locked)
    }

    fn recipe(&self) -> String {
        format!("recipes/{}.toml", self.name)
    }

    /// Builds it to the byte, of the version that all builds here are of.
    fn build(&self, cache: &Path, output: &Path, more: &[&str]) -> Ran {
        let (recipe, cache, output) = (self.recipe(), text(cache), text(output));
        let fixed = ["build", &recipe, "--locked", "--no-test", "--cache", &cache, "-o", &output];
        self.run(&[&fixed[..], &self.words(), more].concat())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run_in(self.project.path(), arguments)
    }
}
