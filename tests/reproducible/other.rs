//! The other host: an ordinary user's home, in which nothing is as it is here.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use coremax_tests::{Outcome, User, coremax, expect, files, host, is_here};

use crate::{Locked, Stage, YEAR, text};

/// Where Debian's package libfaketime has it.
const CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// A language that the host need not have, made for this: the letter i is its own there, and Friday has another name.
const LOCALE: &str = "tr_TR";
const FRIDAY: &str = "Cuma";
/// Where Debian's package locales has the sources of all of them.
const SOURCES: &str = "/usr/share/i18n/locales";

/// Builds the lock there with one processor, and returns the folder of its results.
pub(crate) fn build(stage: &Stage, locked: &Locked) -> Result<PathBuf, String> {
    possible()?;
    let home = stage.path("home");
    furnish(stage, &home, locked)?;
    let user = User::at(&home)?;
    let (project, locales) = (home.join("elsewhere/project"), text(&home.join("locales")));
    let language = format!("{LOCALE}.UTF-8");
    // What `stat` says of files is their own time.
    let environment = [
        ("TZ", "Pacific/Kiritimati"),
        ("LANG", &language),
        ("LC_ALL", &language),
        ("LOCPATH", &locales),
        ("LD_PRELOAD", CLOCK),
        ("FAKETIME", "+365d"),
        ("NO_FAKE_STAT", "1"),
    ];
    let date = user.command(&project, &environment, "date").args(["-u", "-d", "@86400", "+%A"]);
    let said = date.run().map_err(|e| e.to_string())?.stdout;
    let said = String::from_utf8_lossy(&said);
    expect(said.trim() == FRIDAY, || format!("the locale was not {LOCALE}: {said}"))?;
    // One processor: in the sandbox, the time of day goes by that (see `clock`).
    user.command(&project, &environment, "taskset")
        .args(["1", &text(&home.join("coremax")), "build", &locked.recipe()])
        .args(["--locked", "--no-test", "--cache", "../cache", "-o", "../images"])
        .args(locked.words())
        .run()
        .map_err(|e| e.to_string())?;
    let output = home.join("elsewhere/images");
    user.owns(&output)?;
    is_ahead(&cache(stage))?;
    Ok(output)
}

/// The cache of the last build there.
pub(crate) fn cache(stage: &Stage) -> PathBuf {
    stage.path("home/elsewhere/cache")
}

/// A step's record is stamped with the builder's time.
fn is_ahead(cache: &Path) -> Outcome {
    let records =
        files(&cache.join("store")).into_iter().filter(|file| file.ends_with("step.json"));
    let times = records.filter_map(|record| fs::metadata(record).ok()?.modified().ok());
    let ahead = SystemTime::now() + Duration::from_secs(YEAR - 86400);
    let times: Vec<_> = times.collect();
    let all = !times.is_empty() && times.iter().all(|time| *time > ahead);
    expect(all, || format!("the clock was not a year ahead: {times:?}"))
}

fn possible() -> Outcome {
    User::possible()?;
    // The clock that this host's scripts see is a year ahead where there is one processor; see clock.c.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    expect(processors > 1, || "skipped: this host has one processor".into())?;
    is_here("taskset", "util-linux")?;
    is_here("localedef", "libc-bin")?;
    for (path, package) in [(CLOCK, "libfaketime"), (&format!("{SOURCES}/{LOCALE}"), "locales")] {
        expect(Path::new(path).exists(), || {
            format!("skipped: {path} is not here (install {package})")
        })?;
    }
    Ok(())
}

/// A home with the command, the project and the downloads, and with no finished steps.
fn furnish(stage: &Stage, home: &Path, locked: &Locked) -> Outcome {
    let elsewhere = home.join("elsewhere");
    let _ = fs::remove_dir_all(home);
    fs::create_dir_all(&elsewhere).map_err(|e| e.to_string())?;
    make_locale(&home.join("locales"))?;
    host("cp", &["-a", &text(locked.project.path()), &text(&elsewhere.join("project"))])?;
    host("cp", &["-a", &text(&coremax()), &text(&home.join("coremax"))])?;
    copy_downloads(&stage.path("cache"), &elsewhere.join("cache"))
}

/// Makes the locale from its source, in a folder that LOCPATH can name.
fn make_locale(folder: &Path) -> Outcome {
    fs::create_dir(folder).map_err(|e| e.to_string())?;
    let made = text(&folder.join(format!("{LOCALE}.UTF-8")));
    host("localedef", &["--no-archive", "-i", LOCALE, "-f", "UTF-8", &made])
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
