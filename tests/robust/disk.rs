//! Caches that are damaged, read-only or full.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use coremax_tests::{Outcome, expect, files, mirror::Dates};

use crate::stage::{Stage, complained, host, went_on};

pub(crate) fn truncated_package(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    went_on(&stage.build(cache.path()))?;
    // Those of the last step are read again by the next build, and those of the finished ones are not.
    let packages = files(&cache.path().join("inputs/sha256"));
    for package in &packages {
        cut_in_half(package)?;
    }
    forget_steps(cache.path())?;
    went_on(&stage.build(cache.path()))?;
    expect(stage.asked("/grub-common.deb") == 2, || "it was not fetched again".into())
}

pub(crate) fn truncated_index(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    expect(stage.plan(cache.path(), &[]).ok, || "the first plan failed".into())?;
    let before = stage.asked("Packages");
    let inputs = cache.path().join("inputs");
    let kept = [files(&inputs.join("release")), files(&inputs.join("sha256"))].concat();
    for file in kept.iter().filter(|file| fs::metadata(file).is_ok_and(|m| m.len() > 0)) {
        cut_in_half(file)?;
    }
    fs::remove_dir_all(cache.path().join("resolved")).map_err(|e| e.to_string())?;
    let ran = stage.plan(cache.path(), &[]);
    expect(ran.ok, || ran.err)?;
    expect(stage.asked("Packages") > before, || "the index was not fetched again".into())
}

pub(crate) fn truncated_record(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    went_on(&stage.build(cache.path()))?;
    let ran = stage.build(cache.path());
    expect(!ran.err.contains("packages unpacked"), || format!("made twice:\n{}", ran.err))?;
    for record in records(cache.path()) {
        cut_in_half(&record)?;
    }
    let ran = stage.build(cache.path());
    expect(ran.err.contains("packages unpacked"), || format!("not made again:\n{}", ran.err))?;
    went_on(&ran)
}

pub(crate) fn truncated_output(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    went_on(&stage.build(cache.path()))?;
    let whole =
        records(cache.path()).into_iter().filter_map(|record| Some(record.parent()?.join("out")));
    let made: Vec<_> = whole.flat_map(|out| files(&out)).collect();
    let can_be_cut = |path: &&PathBuf| {
        fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() > 1)
    };
    cut_in_half(made.iter().find(can_be_cut).ok_or("no step has made a file")?)?;
    let ran = stage.build(cache.path());
    for said in ["is damaged", "packages unpacked"] {
        expect(ran.err.contains(said), || format!("no {said:?} in:\n{}", ran.err))?;
    }
    went_on(&ran)?;
    let ran = stage.build(cache.path());
    expect(!ran.err.contains("is damaged"), || format!("it stays damaged:\n{}", ran.err))
}

pub(crate) fn too_small(stage: &Stage) -> Outcome {
    refused(stage, 16)
}

/// One that has what must stay free (64 MiB), but not what the build takes besides: 15 packages of 300 kB, fetched and
/// unpacked, and the images.
pub(crate) fn nearly_large_enough(stage: &Stage) -> Outcome {
    refused(stage, 68)
}

fn refused(stage: &Stage, megabytes: u32) -> Outcome {
    stage.sound();
    let disk = Disk::mount(stage, megabytes)?;
    let ran = stage.build(&disk.folder);
    let at = disk.folder.display().to_string();
    complained(&ran, &[&at, "MB free and the build needs"], "--cache")?;
    expect(stage.asked(".deb") == 0, || "it began all the same".into())?;
    disk.grow()?;
    went_on(&stage.build(&disk.folder))
}

pub(crate) fn full_while_fetching(stage: &Stage) -> Outcome {
    let ran = fills_up(stage, 1 << 20, "")?;
    complained(&ran, &["fetching", "no space left"], "make room")
}

pub(crate) fn full_while_unpacking(stage: &Stage) -> Outcome {
    // The packages are 15 times 300 kB. Which file is the first that has no room is chance.
    let ran = fills_up(stage, 6 << 20, "unpacking")?;
    complained(&ran, &["No space left"], "--cache")
}

/// A build on a disk that another fills up to `left` bytes when the first package is asked for, and the next
/// build when there is room again. Returns what the first came to.
fn fills_up(stage: &Stage, left: u64, at: &str) -> Result<coremax_tests::Ran, String> {
    stage.sound();
    let disk = Disk::mount(stage, 256)?;
    let (ballast, folder) = (disk.folder.join("ballast"), disk.folder.clone());
    stage.server.before(".deb", move || fill(&folder, left));
    let first = stage.build(&disk.folder);
    expect(first.err.contains(at), || format!("not while {at}:\n{}", first.err))?;
    let before = stage.server.requests().len();
    let fetched = files(&disk.folder.join("inputs/sha256")).len();
    fs::remove_file(ballast).map_err(|e| e.to_string())?;
    went_on(&stage.build(&disk.folder))?;
    let again = stage.server.requests().len() - before;
    let all =
        stage.archive.files(Dates::SOUND).keys().filter(|path| path.ends_with(".deb")).count();
    expect(fetched + again <= all + 2, || format!("{fetched} were there, {again} were asked for"))?;
    Ok(first)
}

pub(crate) fn read_only_serves(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    went_on(&stage.build(cache.path()))?;
    let _frozen = Frozen::mount(cache.path())?;
    let ran = stage.plan(cache.path(), &[]);
    expect(ran.ok, || format!("the plan failed:\n{}", ran.err))
}

pub(crate) fn read_only_says(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    let at = cache.path().canonicalize().map_err(|e| e.to_string())?.display().to_string();
    {
        let _frozen = Frozen::mount(cache.path())?;
        let ran = stage.build(cache.path());
        complained(&ran, &[&at, "Read-only file system"], "--cache")?;
    }
    expect(stage.plan(cache.path(), &[]).ok, || "the plan failed".into())?;
    {
        let _frozen = Frozen::mount(cache.path())?;
        let ran = stage.build(cache.path());
        complained(&ran, &[&at, "is read-only"], "make the cache writable")?;
    }
    went_on(&stage.build(cache.path()))?;
    forget_steps(cache.path())?;
    {
        let _frozen = Frozen::mount(cache.path())?;
        let ran = stage.build(cache.path());
        complained(&ran, &[&at, "Read-only file system"], "--cache")?;
    }
    went_on(&stage.build(cache.path()))
}

pub(crate) fn clean_spares(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    went_on(&stage.build(cache.path()))?;
    // One is to be fetched again: the build has begun then, and the tools tree that it found is in use.
    forget_download(stage, cache.path())?;
    for (more, stays) in [
        (&["--all"][..], "and all downloads, stay"),
        (&[], "stays"),
        (&["--limit", "0B"], "1 of them in use"),
    ] {
        let clean = cleaning(cache.path(), more);
        let (tell, told) = std::sync::mpsc::channel();
        stage.server.before("/hello.deb", move || drop(tell.send(clean())));
        let build = stage.build(cache.path());
        went_on(&build)?;
        expect(!build.err.contains("packages unpacked"), || {
            format!("what it used was removed:\n{}", build.err)
        })?;
        let ran = told.try_recv().map_err(|e| e.to_string())?;
        let spared = ran.ok && ran.err.contains(stays) && ran.err.contains("1 of them in use");
        expect(spared, || format!("it does not say so:\n{}{}", ran.out, ran.err))?;
        expect(!records(cache.path()).is_empty(), || "steps were removed".into())?;
        forget_download(stage, cache.path())?;
    }
    let ran = cleaning(cache.path(), &["--all"])();
    let said = ran.err.contains("freed; left: 0 steps of 0 MB, 0 downloads");
    expect(ran.ok && said, || format!("{}{}", ran.out, ran.err))?;
    expect(records(cache.path()).is_empty(), || "steps are left".into())?;
    let left = [files(&cache.path().join("inputs")), files(&cache.path().join("last"))].concat();
    expect(left.is_empty(), || format!("these are left: {left:?}"))
}

pub(crate) fn full_is_cleaned(stage: &Stage) -> Outcome {
    stage.sound();
    let disk = Disk::mount(stage, 256)?;
    went_on(&stage.build(&disk.folder))?;
    fill(&disk.folder, 0);
    let ran = cleaning(&disk.folder, &[])();
    expect(ran.ok && ran.err.contains("1 finished steps"), || format!("{}{}", ran.out, ran.err))?;
    expect(records(&disk.folder).is_empty(), || "steps are left".into())
}

/// What cleans a cache when it is called, from any thread.
fn cleaning(cache: &Path, more: &[&str]) -> impl Fn() -> coremax_tests::Ran + Send + 'static {
    let cache = cache.to_string_lossy().into_owned();
    let more: Vec<_> = more.iter().map(|&word| word.to_owned()).collect();
    move || {
        let more = more.iter().map(String::as_str);
        coremax_tests::run(
            &["clean", "--cache", &cache].into_iter().chain(more).collect::<Vec<_>>(),
        )
    }
}

/// Removes the package `hello` from the downloads.
fn forget_download(stage: &Stage, cache: &Path) -> Outcome {
    let packages = stage.archive.files(Dates::SOUND);
    let hello = packages.iter().find(|(path, _)| path.ends_with("/hello.deb"));
    let (_, bytes) = hello.ok_or("the mirror has no hello")?;
    let same = |file: &&PathBuf| fs::read(file).is_ok_and(|found| found == **bytes);
    let found = files(&cache.join("inputs/sha256"));
    let file = found.iter().find(same).ok_or("it was not fetched")?;
    fs::remove_file(file).map_err(|error| error.to_string())
}

fn fill(folder: &Path, left: u64) {
    let mut ballast = fs::File::create(folder.join("ballast")).expect("a ballast");
    let block = vec![0; 64 << 10];
    while ballast.write_all(&block).is_ok() {}
    let length = ballast.metadata().expect("its length").len();
    ballast.set_len(length.saturating_sub(left)).expect("some room");
}

/// A small disk of its own.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(stage: &Stage, megabytes: u32) -> Result<Self, String> {
        let folder = stage.path("disk");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let size = format!("size={megabytes}m");
        host("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &folder.to_string_lossy()])?;
        Ok(Self { folder })
    }

    fn grow(&self) -> Outcome {
        host("mount", &["-o", "remount,size=256m", &self.folder.to_string_lossy()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = host("umount", &[&self.folder.to_string_lossy()]);
    }
}

/// A folder that cannot be written, until dropped.
struct Frozen {
    folder: String,
}

impl Frozen {
    fn mount(folder: &Path) -> Result<Self, String> {
        let folder = folder.to_string_lossy().into_owned();
        host("mount", &["--bind", &folder, &folder])?;
        let frozen = Self { folder };
        host("mount", &["-o", "remount,bind,ro", &frozen.folder])?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = host("umount", &[&self.folder]);
    }
}

fn cut_in_half(file: &Path) -> Outcome {
    let cut = || {
        let length = fs::metadata(file)?.len();
        fs::OpenOptions::new().write(true).open(file)?.set_len(length / 2)
    };
    cut().map_err(|error| format!("{}: {error}", file.display()))
}

fn forget_steps(cache: &Path) -> Outcome {
    fs::remove_dir_all(cache.join("store")).map_err(|error| error.to_string())
}

fn records(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("store")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join("step.json")).filter(|path| path.exists()).collect()
}
