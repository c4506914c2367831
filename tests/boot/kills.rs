//! Builds that are killed, again and again, at every moment that they tell of.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _, BufReader},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use coremax_sandbox::Cmd;
use coremax_tests::{Outcome, expect, run};
use serde_json::Value;

use crate::{Stage, image_digest, json};

/// What a build without a boot test goes through.
const STAGES: [&str; 11] = [
    "plan",
    "fetch",
    "tools",
    "system",
    "site",
    "initrd",
    "data",
    "root",
    "seal-system",
    "seal-site",
    "image",
];
/// Where the result of the build that was killed again and again lies.
pub(crate) const KILLED: &str = "killed";
/// How long the kernel may take to end what a killed build has started.
const PATIENCE: Duration = Duration::from_secs(60);

/// One build is killed at the first moment that none before it was killed at, and begun again, until there is no
/// such moment left and it ends.
pub(crate) fn in_every_step(stage: &Stage) -> Outcome {
    forget_a_download(stage)?;
    let output = stage.output.join(KILLED);
    let mut kills = Kills::default();
    while kills.next(stage, stage.command(&output).arg("--no-test"), |_| true)? {
        expect(shelf_is_clean(stage), || "a half result can be seen".into())?;
    }
    for wanted in STAGES.into_iter().chain(["done"]) {
        let killed = kills.at.iter().any(|(stage, _)| stage == wanted);
        expect(killed, || format!("no build was killed in the stage {wanted}: {:?}", kills.at))?;
    }
    println!("         killed {} times: {:?}", kills.at.len(), kills.at);
    image_digest(&output).map(drop)
}

/// The same in what a boot test adds, with all else made.
pub(crate) fn in_a_boot(stage: &Stage) -> Outcome {
    let mut kills = Kills::default();
    let is_new = |at: &Moment| ["machine", "boot"].contains(&at.0.as_str());
    // As far as the first guest's boot loader: each further moment costs as much again.
    while !kills.at.iter().any(|(_, what)| what.contains("loader")) {
        let killed = kills.next(stage, stage.command(&stage.output), is_new)?;
        expect(killed, || format!("it ended: {:?}", kills.at))?;
    }
    println!("         killed {} times: {:?}", kills.at.len(), kills.at);
    let machines = fs::read_dir(stage.cache.join("machines")).into_iter().flatten().count();
    expect(machines > 0, || "it was killed before it had a machine".into())
}

/// A stage, and what it was about to do.
type Moment = (String, String);

#[derive(Default)]
struct Kills {
    at: BTreeSet<Moment>,
}

impl Kills {
    /// Runs the build until it comes to a new moment, and kills it there; whether it did, or it ended well before.
    fn next(
        &mut self,
        stage: &Stage,
        build: Cmd,
        is_wanted: impl Fn(&Moment) -> bool,
    ) -> Result<bool, String> {
        let stored = stored_steps(stage);
        let text = |e: io::Error| e.to_string();
        let (events, writer) = io::pipe().map_err(text)?;
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
            .map_err(|e| e.to_string())?;
        let mut build = build
            .arg("--json")
            .stdout_file(OwnedFd::from(writer).into())
            .spawn()
            .map_err(|e| e.to_string())?;
        for line in BufReader::new(events).lines() {
            let event: Value = serde_json::from_str(&line.map_err(text)?).unwrap_or_default();
            let Some(moment) = moment(&event) else { continue };
            let again = stored.contains(&moment.0);
            expect(!again, || format!("the step {} is made again", moment.0))?;
            if is_wanted(&moment) && self.at.insert(moment) {
                build.kill().map_err(|e| e.to_string())?;
                return nothing_is_left(stage).map(|()| true);
            }
        }
        let status = build.wait().map_err(|e| e.to_string())?;
        expect(status.success(), || format!("the build ended with {status}: {:?}", self.at))?;
        Ok(false)
    }
}

/// The moment that an event tells of: a stage begins with something, or is busy with the first of many things.
fn moment(event: &Value) -> Option<Moment> {
    let stage = event["stage"].as_str()?.to_owned();
    let what = event["what"].as_str()?;
    let numberless = what.replace(|c: char| c.is_ascii_digit(), "").trim().to_owned();
    match event["event"].as_str()? {
        "started" => Some((stage, numberless)),
        "progressed" if stage == "boot" => Some((stage, numberless)),
        "progressed" => Some((stage, "busy".to_owned())),
        _ => None,
    }
}

/// One package of the image less, so that there is something to fetch. The cache has those of other stories too.
fn forget_a_download(stage: &Stage) -> Outcome {
    let cache = stage.cache.display().to_string();
    let ran = run(&["plan", "recipes/node.toml", "--json", "--cache", &cache]);
    let plan: Value = serde_json::from_str(&ran.out).map_err(|e| format!("{e}: {}", ran.err))?;
    let packages = plan["packages"].as_array().ok_or("a plan without packages")?;
    let smallest = packages.iter().min_by_key(|package| package["size"].as_u64());
    let digest = smallest.and_then(|package| package["sha256"].as_str()).ok_or("no package")?;
    let path = stage.cache.join("inputs/sha256").join(&digest[..2]).join(digest);
    match fs::remove_file(&path) {
        // Nothing was fetched yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|e| format!("{}: {e}", path.display())),
    }
}

/// The names of the steps whose results are in the store.
fn stored_steps(stage: &Stage) -> BTreeSet<String> {
    let entries = fs::read_dir(stage.cache.join("store")).into_iter().flatten().flatten();
    let records = entries.filter_map(|entry| json(&entry.path().join("step.json")).ok());
    records.filter_map(|record| Some(record["step"].as_str()?.to_owned())).collect()
}

fn shelf_is_clean(stage: &Stage) -> bool {
    let entries =
        fs::read_dir(stage.output.join(KILLED).join("node")).into_iter().flatten().flatten();
    let mut seen = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    seen.next().is_none()
}

/// No process that the build started, directly or not, and no mount of its cache. What has lost its parent has this
/// process for one, see PR_SET_CHILD_SUBREAPER.
fn nothing_is_left(stage: &Stage) -> Outcome {
    let begin = Instant::now();
    let mut left = living_descendants();
    // A process that is killed still takes a moment to end.
    while !left.is_empty() && begin.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
        left = living_descendants();
    }
    expect(left.is_empty(), || format!("processes are left: {left:?}"))?;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    expect(!mounts.contains(Stage::text(&stage.cache)), || format!("a mount is left:\n{mounts}"))
}

/// Number and name of each.
fn living_descendants() -> Vec<(u32, String)> {
    let mut ours = BTreeSet::from([std::process::id()]);
    let processes: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| process(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect();
    while let Some(next) =
        processes.iter().find(|p| ours.contains(&p.parent) && !ours.contains(&p.id))
    {
        ours.insert(next.id);
    }
    ours.remove(&std::process::id());
    let living = processes.into_iter().filter(|p| ours.contains(&p.id) && !"ZX".contains(p.state));
    living.map(|p| (p.id, p.name)).collect()
}

struct Process {
    id: u32,
    name: String,
    state: char,
    parent: u32,
}

/// From proc_pid_stat(5): number, name in brackets, state, number of the parent.
fn process(stat: &str) -> Option<Process> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    Some(Process {
        id: id.parse().ok()?,
        name: name.to_owned(),
        state: words.next()?.chars().next()?,
        parent: words.next()?.parse().ok()?,
    })
}
