//! The deployment on the seed: steps in order, each of them until it is done, all of them once.
//!
//! It is for rows: those that were there when the cluster was formed, and afterwards, with steps of its own, each machine
//! that was not. Who is needed for nothing and is not there holds up nobody.
//!
//! Steps are data ([`STEPS`]), what comes next is decided by their journal alone ([`decide`]), and the journal is on
//! the disk before and after each of them ([`journal`]). So a seed that loses power goes on where it stopped: at the
//! step that was begun and has no end. That one is asked for its recover check first, for it may be half done; each one is
//! asked for its skip check, for what it is to do may be done.
//!
//! One lock keeps a second deployment out, and with it whoever looks by hand.

mod decide;
mod journal;
mod steps;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::ExitStatus,
};

use anyhow::{Context as _, Result, bail};
use coremax_node_api::join::{Digest, Formation, seed::Rows};
use coremax_sandbox::{Cmd, Sandbox};
use sha2::{Digest as _, Sha256};

use self::{
    decide::{Next, is_late, next},
    journal::{Journal, Medium, OnDisk, Record},
    steps::{Check, STEPS, Step, Steps},
};
use crate::{
    clock,
    durable::{folders, replace},
    events::{Event, tell},
    lock, paths,
};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every step is done, now or long ago.
    Deployed,
    /// A step was not. What it said is in its log; another call goes on with it.
    Failed {
        /// Which one.
        step: &'static str,
        /// Why.
        why: String,
    },
}

/// Deploys for these rows, or goes on with it, and returns when it is done or stuck. The same formation, called again for the same
/// rows after it was done, does nothing; for others, it takes those in.
///
/// # Errors
/// Where the journal cannot be read or written or is another formation's, or another deployment runs.
pub(crate) fn deploy(formation: &Formation, rows: &Rows) -> Result<Outcome> {
    let folder = Path::new(paths::DEPLOY);
    folders(folder, 0o755).with_context(|| format!("making {}", folder.display()))?;
    let _lock = lock(folder)?;
    let path = folder.join("journal");
    let medium = OnDisk::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let mut journal =
        Journal::read(medium).with_context(|| format!("reading {}", path.display()))?;
    let limit: String = rows.keys().map(|name| format!("{name}\n")).collect();
    replace(Path::new(paths::DEPLOY_LIMIT), limit.as_bytes(), 0o644)
        .with_context(|| format!("writing {}", paths::DEPLOY_LIMIT))?;
    carry_on(&mut journal, formation, digest(rows), STEPS, &mut OnHost)
}

/// Another machine of a row is another row.
fn digest(rows: &Rows) -> Digest {
    let mut hash = Sha256::new();
    rows.iter().for_each(|(name, generation)| hash.update(format!("{name} {generation}\n")));
    hash.finalize().into()
}

/// What does a step's work.
trait Executor {
    /// What the step reads, as a number: another one is another step.
    fn inputs(&mut self, step: &Step) -> Result<[u8; 32]>;
    /// Runs a check or a step; its exit code.
    fn run(&mut self, step: &Step, program: &[&str]) -> Result<i32>;
    /// In milliseconds since 1970.
    fn now(&self) -> i64;
}

fn carry_on<M: Medium>(
    journal: &mut Journal<M>,
    formation: &Formation,
    rows: Digest,
    steps: Steps,
    executor: &mut dyn Executor,
) -> Result<Outcome> {
    loop {
        let steps = if is_late(journal.records()) { steps.late } else { steps.first };
        let mut planned = Vec::new();
        for step in steps {
            planned.push((step.name, executor.inputs(step)?));
        }
        match next(journal.records(), formation, rows, &planned)? {
            Next::Begin => {
                journal.write(Record::Begin { formation: *formation, at: executor.now() })?;
                tell(Event::DeployBegun, "the deployment begins", &[]);
            }
            Next::Step { number, is_interrupted } => {
                let step = &steps[number];
                let run = Run { step, inputs: planned[number].1, is_interrupted };
                if let Some(why) = run.until_done(journal, formation, executor)? {
                    let fields = [("COREMAX_STEP", step.name)];
                    tell(Event::StepFailed, &format!("{}: {why}", step.what), &fields);
                    return Ok(Outcome::Failed { step: step.name, why });
                }
                tell(Event::StepEnded, step.what, &[("COREMAX_STEP", step.name)]);
            }
            Next::Finish => {
                let what = match is_late(journal.records()) {
                    false => "the cluster is deployed",
                    true => "the machines that came late are taken in",
                };
                journal.write(Record::Finish { rows, at: executor.now() })?;
                tell(Event::Deployed, what, &[]);
            }
            Next::Late => {
                journal.write(Record::Late { at: executor.now() })?;
                tell(Event::DeployBegun, "machines that came late are taken in", &[]);
            }
            Next::Nothing => return Ok(Outcome::Deployed),
        }
    }
}

/// One attempt at a step.
struct Run {
    step: &'static Step,
    inputs: [u8; 32],
    is_interrupted: bool,
}

impl Run {
    /// Nothing when it is done; else why it is not.
    fn until_done<M: Medium>(
        &self,
        journal: &mut Journal<M>,
        formation: &Formation,
        executor: &mut dyn Executor,
    ) -> Result<Option<String>> {
        let Self { step, inputs, .. } = *self;
        let mut holds = |check: &Check| match check {
            Check::Program(program) => Ok(Some(executor.run(step, program)? == 0)),
            Check::None(_) => anyhow::Ok(None),
        };
        if self.is_interrupted && holds(&step.recover)? == Some(false) {
            let why =
                "it was interrupted, and its check says that it cannot be run again as things are";
            return Ok(Some(why.into()));
        }
        let is_skipped = holds(&step.skip)? == Some(true);
        let (name, epoch) = (step.name.to_owned(), formation.edition.epoch);
        let at = executor.now();
        journal.write(Record::Start { epoch, step: name.clone(), inputs, at })?;
        let code = if is_skipped { 0 } else { executor.run(step, step.run)? };
        journal.write(Record::End { epoch, step: name, code, is_skipped, at: executor.now() })?;
        Ok((code != 0).then(|| format!("it ended with {code}")))
    }
}

/// Programs of this machine, each with a log of its last run.
struct OnHost;

impl Executor for OnHost {
    fn inputs(&mut self, step: &Step) -> Result<[u8; 32]> {
        step.digest(&|path| fs::read(path).with_context(|| format!("reading {path}")))
    }

    fn run(&mut self, step: &Step, program: &[&str]) -> Result<i32> {
        let path = Path::new(paths::DEPLOY).join(format!("{}.log", step.name));
        let about = || format!("running {} for the step {}", program.join(" "), step.name);
        let Some((name, arguments)) = program.split_first() else {
            bail!("the step {} names no program", step.name)
        };
        let mut options = OpenOptions::new();
        let log = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let log = log.with_context(|| format!("writing {}", path.display()))?;
        let both = log.try_clone().with_context(about)?;
        let cmd = Cmd::new(name, &Sandbox::host()).args(arguments).current_dir("/");
        let cmd = cmd.env("HOME", "/root").env("ANSIBLE_NOCOLOR", "1");
        let output = cmd.stdout_file(log).stderr_file(both).output().with_context(about)?;
        Ok(code(output.status))
    }

    fn now(&self) -> i64 {
        clock::wall()
    }
}

/// As shells count: a signal is 128 and its number.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)
}

/// Gone with the program that holds it.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let held = lock::now(&path).with_context(|| format!("locking {}", path.display()))?;
    held.context("another deployment is at work")
}
