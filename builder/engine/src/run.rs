//! Running a plan: every step when what it needs is there, as many at once as there are cores.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use coremax_fetch::{Digest, Input};

use crate::{
    event::{Observer, Stage},
    fingerprint::Fingerprint,
    store::{Begun, Entry, Record, Store},
    usage::Meter,
};

/// One piece of work whose result depends on its fingerprint alone.
pub trait Step: Sync {
    /// Its name, one word; also the stage it reports as.
    fn id(&self) -> &'static str;
    /// What it does, in a few words.
    fn description(&self) -> String;
    /// Everything it reads; the fingerprints of the steps it needs among it.
    fn reads(&self) -> Fingerprint;
    /// The same as one digest.
    fn fingerprint(&self) -> Digest {
        self.reads().finish()
    }
    /// The steps whose output it reads.
    fn needs(&self) -> &[&'static str];
    /// The files from outside that it reads: fetched before it runs.
    fn inputs(&self) -> &[Input] {
        &[]
    }
    /// Bytes of disk that it takes, at most.
    fn room(&self) -> u64 {
        0
    }
    /// Does the work: `needed` holds the outputs, `out` is an empty folder for its own. Returns
    /// what came of it, in a few words.
    ///
    /// # Errors
    /// Whatever stopped it.
    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String>;
}

/// Outputs of finished steps by name.
#[derive(Debug, Default, Clone)]
pub struct Outputs {
    entries: BTreeMap<&'static str, Entry>,
    /// What fetching for these steps took, if something was missing.
    pub fetched: Option<Record>,
}

impl Outputs {
    /// The output of one step.
    pub(crate) fn of(step: &'static str, entry: Entry) -> Self {
        Self { entries: BTreeMap::from([(step, entry)]), fetched: None }
    }

    /// A file or folder in the output of a step.
    ///
    /// # Panics
    /// If the step is not among the needs of the one that asks: a mistake in the plan.
    pub fn path(&self, step: &str, name: &str) -> PathBuf {
        self.entries[step].out.join(name)
    }

    /// How a step's output came about, if it has one.
    pub fn entry(&self, step: &str) -> Option<&Entry> {
        self.entries.get(step)
    }
}

/// What there is of a plan, held against being removed, and what must run.
pub struct Prepared<'a> {
    /// The steps that must run so that those wanted have an output: not those that are stored, and not those that only
    /// stored ones need.
    pub to_run: Vec<&'a dyn Step>,
    stored: BTreeMap<&'static str, Entry>,
}

/// The steps that [`Prepared`] speaks of, as far as that can be said without looking closely at what is stored.
pub fn to_run<'a>(
    steps: &'a [Box<dyn Step>],
    wanted: &[&'static str],
    store: &Store,
) -> Vec<&'a dyn Step> {
    waiting(steps, wanted, &stored(steps, store))
}

/// Looks what is stored, and throws away what is to be read and is not whole any more.
///
/// # Errors
/// Where that cannot be removed.
pub fn prepare<'a>(
    steps: &'a [Box<dyn Step>],
    wanted: &[&'static str],
    store: &Store,
    observer: Observer<'_>,
) -> Result<Prepared<'a>> {
    let mut stored = stored(steps, store);
    let mut seen = BTreeSet::new();
    loop {
        let to_run = waiting(steps, wanted, &stored);
        let read: BTreeSet<_> = to_run.iter().flat_map(|step| step.needs()).chain(wanted).collect();
        let news = steps.iter().filter(|step| read.contains(&step.id()) && seen.insert(step.id()));
        let mut whole = true;
        for step in news {
            let damaged = stored.get(step.id()).is_some_and(|entry| !entry.is_whole());
            if let Some(entry) = damaged.then(|| stored.remove(step.id())).flatten() {
                Stage::new(step.id(), observer)
                    .warned("what is stored of it is damaged: making it again");
                store.discard(&entry)?;
                whole = false;
            }
        }
        if whole {
            return Ok(Prepared { to_run, stored });
        }
    }
}

fn stored(steps: &[Box<dyn Step>], store: &Store) -> BTreeMap<&'static str, Entry> {
    let stored = |step: &dyn Step| Some((step.id(), store.get(&step.fingerprint())?));
    steps.iter().filter_map(|step| stored(step.as_ref())).collect()
}

fn waiting<'a>(
    steps: &'a [Box<dyn Step>],
    wanted: &[&'static str],
    stored: &BTreeMap<&'static str, Entry>,
) -> Vec<&'a dyn Step> {
    let mut needed: BTreeSet<&str> = wanted.iter().copied().collect();
    let mut waiting = Vec::new();
    for step in steps.iter().rev().filter(|step| !stored.contains_key(step.id())) {
        if needed.contains(step.id()) {
            needed.extend(step.needs());
            waiting.push(step.as_ref());
        }
    }
    waiting.reverse();
    waiting
}

/// Runs what was prepared of steps that stand in an order in which each comes after its needs. Returns all outputs that
/// are there at the end.
///
/// # Errors
/// The first step's that failed, after those that were running have ended.
pub fn run(prepared: Prepared<'_>, store: &Store, observer: Observer<'_>) -> Result<Outputs> {
    let done = Outputs { entries: prepared.stored, fetched: None };
    run_waiting(prepared.to_run, done, store, observer)
}

fn run_waiting(
    mut waiting: Vec<&dyn Step>,
    mut done: Outputs,
    store: &Store,
    observer: Observer<'_>,
) -> Result<Outputs> {
    let (tell, ended) = mpsc::channel();
    let meter = Meter::new();
    let mut failure = None;
    thread::scope(|scope| {
        let mut running = 0;
        loop {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            while failure.is_none() && running < cores {
                let Some(step) = take_ready(&mut waiting, &done) else { break };
                let (tell, needed, meter) = (tell.clone(), done.clone(), &meter);
                scope.spawn(move || {
                    let run = || run_one(step, &needed, store, meter, observer);
                    let result = caught(step, run);
                    meter.end(step.id()); // of one that failed
                    let _ = tell.send((step, result));
                });
                running += 1;
            }
            if running == 0 {
                break;
            }
            let Ok((step, result)) = ended.recv() else { break };
            running -= 1;
            match result {
                Ok(entry) => drop(done.entries.insert(step.id(), entry)),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
    });
    match (failure, waiting.first()) {
        (Some(error), _) => Err(error),
        (None, Some(stuck)) => Err(anyhow!("step {} needs a step that is not planned", stuck.id())),
        (None, None) => Ok(done),
    }
}

fn take_ready<'a>(waiting: &mut Vec<&'a dyn Step>, done: &Outputs) -> Option<&'a dyn Step> {
    let ready = |step: &&dyn Step| step.needs().iter().all(|need| done.entries.contains_key(need));
    waiting.iter().position(ready).map(|at| waiting.remove(at))
}

/// Runs a step. One that panics has failed: whoever waits for it must hear of it.
fn caught(step: &dyn Step, run: impl FnOnce() -> Result<Entry>) -> Result<Entry> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(anyhow!("{}: a mistake in coremax itself: {said}", step.description()))
    })
}

fn run_one(
    step: &dyn Step,
    needed: &Outputs,
    store: &Store,
    meter: &Meter,
    observer: Observer<'_>,
) -> Result<Entry> {
    let making = match store.begin(&step.fingerprint())? {
        Begun::Stored(entry) => return Ok(entry),
        Begun::Ours(making) => making,
    };
    let stage = Stage::new(step.id(), observer);
    let begin = Instant::now();
    meter.begin(step.id());
    let summary = step.run(needed, &making.out(), &stage).with_context(|| step.description())?;
    let seconds = begin.elapsed().as_secs_f64();
    stage.ended(summary.clone(), Some(seconds));
    let cpu_seconds = meter.end(step.id());
    making.finish(Record { step: step.id().to_owned(), summary, seconds, cpu_seconds })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Append(&'static str, &'static [&'static str], Option<&'static str>);

    impl Step for Append {
        fn id(&self) -> &'static str {
            self.0
        }
        fn description(&self) -> String {
            format!("appending {}", self.0)
        }
        fn reads(&self) -> Fingerprint {
            Fingerprint::new(self.0, 1)
        }
        fn fingerprint(&self) -> Digest {
            Digest::of(self.0)
        }
        fn needs(&self) -> &[&'static str] {
            self.1
        }
        fn run(&self, needed: &Outputs, out: &Path, _: &Stage<'_>) -> Result<String> {
            if let Some(error) = self.2 {
                assert_ne!(error, "panic", "not thought of");
                return Err(anyhow!(error));
            }
            let mut text = String::new();
            for need in self.1 {
                text += &fs::read_to_string(needed.path(need, "text"))?;
            }
            fs::write(out.join("text"), text + self.0)?;
            Ok(String::new())
        }
    }

    fn run(steps: &[Box<dyn Step>], store: &Store, observer: Observer<'_>) -> Result<Outputs> {
        super::run(prepare(steps, &["d"], store, observer)?, store, observer)
    }

    fn steps(failing: Option<&'static str>) -> Vec<Box<dyn Step>> {
        vec![
            Box::new(Append("a", &[], None)),
            Box::new(Append("b", &["a"], None)),
            Box::new(Append("c", &["a"], failing)),
            Box::new(Append("d", &["b", "c"], None)),
        ]
    }

    #[test]
    fn each_after_its_needs_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let ended = std::sync::Mutex::new(0);
        let count = |_| *ended.lock().unwrap() += 1;
        let mut stored = Vec::new();
        for _ in 0..2 {
            let outputs = run(&steps(None), &store, &count).unwrap();
            assert_eq!(fs::read_to_string(outputs.path("d", "text")).unwrap(), "abacd");
            stored.push(outputs.entry("d").unwrap().stored);
        }
        assert_eq!(stored, [false, true]);
        assert_eq!(*ended.lock().unwrap(), 4, "a stored step ran again");
    }

    #[test]
    fn what_only_stored_steps_need_is_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let steps = steps(None);
        run(&steps, &store, &|_| ()).unwrap();
        crate::store::remove(&folder.path().join(Digest::of("a").to_string())).unwrap();
        assert!(to_run(&steps, &["d"], &store).is_empty());
        crate::store::remove(&folder.path().join(Digest::of("c").to_string())).unwrap();
        let ids: Vec<_> = to_run(&steps, &["c"], &store).iter().map(|s| s.id()).collect();
        assert_eq!(ids, ["a", "c"]);
    }

    #[test]
    fn what_is_damaged_and_read_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let steps = steps(None);
        drop(run(&steps, &store, &|_| ()).unwrap());
        let out = |id: &str| folder.path().join(Digest::of(id).to_string()).join("out/text");
        for (damaged, also, made) in [
            // Read by nobody but a stored step: what is wrong with it harms nobody yet.
            (&["a"][..], &[][..], 0),
            (&["d"], &[], 1),
            // What is to run reads c and b, and c's making reads a.
            (&["a", "c"], &["d"], 3),
        ] {
            damaged.iter().for_each(|id| fs::write(out(id), "").unwrap());
            for fingerprint in also.iter().map(Digest::of) {
                let entry = store.get(&fingerprint).unwrap();
                store.discard(&entry).unwrap();
            }
            let (ended, warned) = (std::sync::Mutex::new(0), std::sync::Mutex::new(0));
            let count = |event| match event {
                crate::event::Event::Ended { .. } => *ended.lock().unwrap() += 1,
                crate::event::Event::Warned { .. } => *warned.lock().unwrap() += 1,
                _ => {}
            };
            let outputs = run(&steps, &store, &count).unwrap();
            assert_eq!(fs::read_to_string(outputs.path("d", "text")).unwrap(), "abacd");
            assert_eq!(
                (*ended.lock().unwrap(), *warned.lock().unwrap() > 0),
                (made, made > 0),
                "{damaged:?}"
            );
        }
    }

    #[test]
    fn what_a_run_uses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) =
            (Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap());
        let steps = steps(None);
        // Collects as soon as anything has been made: all of it is used, by a run that has not ended or by its outputs.
        let collect = |event| {
            if matches!(event, crate::event::Event::Ended { .. }) {
                assert_eq!(other.collect(0).unwrap().removed.entries, 0);
            }
        };
        let outputs = run(&steps, &store, &collect).unwrap();
        assert_eq!(other.collect(0).unwrap().in_use, 4);
        drop(outputs);
        let prepared = prepare(&steps, &["d"], &store, &|_| ()).unwrap();
        assert_eq!(other.collect(0).unwrap().in_use, 4);
        drop(prepared);
        assert_eq!(other.collect(0).unwrap().removed.entries, 4);
    }

    #[test]
    fn a_failure_names_its_step_and_keeps_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let error = run(&steps(Some("broken")), &store, &|_| ()).unwrap_err();
        assert_eq!(format!("{error:#}"), "appending c: broken");
        assert!(store.get(&Digest::of("a")).is_some());
        assert!(store.get(&Digest::of("d")).is_none());
    }

    #[test]
    fn a_panic_is_a_failure_of_its_step() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let error = run(&steps(Some("panic")), &store, &|_| ()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("appending c") && error.contains("not thought of"), "{error}");
        assert!(store.get(&Digest::of("a")).is_some());
    }
}
