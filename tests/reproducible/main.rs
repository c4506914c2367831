//! Two builds of one lock make the same bytes, however different the hosts: another path of repository and cache, another
//! user, umask, time zone, locale and number of processors, and a clock that is a year ahead.
//!
//! The clock is the builder's own: programs in its sandbox see the host's, some minutes later. `COREMAX_FULL=1` builds a plain
//! root and the openstack-controller too.

mod other;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

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
    tell(STORY, &Stage { folder })
}

fn sealed(stage: &Stage) -> Outcome {
    let locked = Locked::of("sealed", |node| node.to_owned())?;
    build_here(stage, &locked, "here")?;
    compare(stage, &locked)
}

fn a_planted_difference_is_named(stage: &Stage) -> Outcome {
    let locked = Locked::of("sealed", |node| node.to_owned())?;
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
    let locked = Locked::of("sealed", |node| node.to_owned())?;
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
    let locked = Locked::of("plain", |node| format!("{node}\n[root]\nverity = false\n"))?;
    build_here(stage, &locked, "here")?;
    compare(stage, &locked)
}

fn large(stage: &Stage) -> Outcome {
    full()?;
    let locked = Locked::of("openstack-controller", |_| {
        let recipe = coremax_tests::repository().join("recipes/openstack-controller.toml");
        fs::read_to_string(recipe).unwrap_or_default()
    })?;
    build_here(stage, &locked, "here")?;
    compare(stage, &locked)
}

/// Builds the lock on the other host, and looks for what differs.
fn compare(stage: &Stage, locked: &Locked) -> Outcome {
    let there = other::build(stage, locked)?;
    let here = artefacts(&stage.path("here"))?;
    let names = |files: &[PathBuf]| {
        files.iter().map(|file| file.file_name().map(ToOwned::to_owned)).collect::<Vec<_>>()
    };
    let others = artefacts(&there)?;
    expect(names(&here) == names(&others), || format!("{here:?} became {others:?}"))?;
    let mut found = Vec::new();
    for (here, there) in here.iter().zip(&others) {
        if !is_same(here, there)? {
            let told = if is_disk(here) { differences(here, there)? } else { Vec::new() };
            found.push(format!("{}: the bytes; {}", here.display(), told.join("\n")));
        }
    }
    expect(found.is_empty(), || format!("these differ:\n{}", found.join("\n")))
}

/// A build by this user where this test runs, with nothing stored.
fn build_here(stage: &Stage, locked: &Locked, name: &str) -> Outcome {
    let (cache, output) = (stage.path("cache"), stage.path(name));
    let _ = fs::remove_dir_all(cache.join("store"));
    let _ = fs::remove_dir_all(&output);
    other::copy_downloads(&coremax_tests::cache(), &cache)?;
    succeeded(&locked.build(&cache, &output, &[]))
}

/// What a build made, but for what says how long it took.
fn artefacts(output: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = other::files(output);
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default();
        name != "manifest.json" && name != "SHA256SUMS"
    });
    files.sort();
    expect(files.iter().any(|file| is_disk(file)), || format!("no image in {}", output.display()))?;
    Ok(files)
}

fn is_disk(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "qcow2" || extension == "raw")
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
    /// The recipe, made of `recipes/node.toml`, and locked to what the archive has.
    fn of(name: &'static str, change: impl FnOnce(&str) -> String) -> Result<Self, String> {
        let locked = Self { project: project(name, change), name };
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
        self.run(&[&fixed, &VERSION[..], more].concat())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run_in(self.project.path(), arguments)
    }
}
