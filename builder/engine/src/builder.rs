//! The builder: its folders, and the verbs that the command line offers.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};
use coremax_archive::distribution;
use coremax_fetch::{Cache, Fetcher, Input};
use coremax_recipe::{Base, SecureBoot};

use crate::{
    event::{Observer, Stage, Unit},
    hint::mendable,
    key,
    packages::Packages,
    places::Places,
    plan::{Description, IMAGE, MACHINE, Plan},
    read::{self, Request},
    resolve::Sources,
    result::{self, Equal, Made, Output, Stored, Testing},
    run::{self, Outputs},
    space,
    steps::{Image, Tools, tools::TREE},
    store::{Entry, Record, Store},
    update,
    usage::Stopwatch,
    verify::{self, Bench, BootSettings, Console, Firmware, Known},
    version::{self, Version},
};

/// Bytes that a guest writes to its disk in a boot test, at most.
const GUEST: u64 = 256 << 20;

/// Where packages come from, as the command line says it.
#[derive(Debug, Clone, Default)]
pub struct ArchiveSettings {
    /// The distribution's archive, instead of the recipe's or the host's.
    pub mirror: Option<String>,
    /// Its security archive.
    pub security_mirror: Option<String>,
    /// Keys to believe instead of the distribution's own.
    pub keys: Vec<PathBuf>,
    /// Whether to ask the archive for news in any case.
    pub refresh: bool,
    /// Whether the network is not to be used at all.
    pub offline: bool,
    /// A folder of inputs that `vendor` has gathered, asked before any archive.
    pub inputs: Option<PathBuf>,
}

/// Builds, tests and runs images; owns the cache.
pub struct Builder {
    pub(crate) cache: PathBuf,
    pub(crate) store: Store,
    pub(crate) inputs: Cache,
    pub(crate) archive: ArchiveSettings,
    /// Bytes of finished steps that a build leaves at most.
    pub(crate) limit: u64,
    remote: OnceLock<Remote>,
}

/// The archives, and how they are reached.
pub(crate) struct Remote {
    pub(crate) sources: Sources,
    pub(crate) fetcher: Fetcher,
}

impl Builder {
    /// A builder that keeps everything it may keep below `cache`: of finished steps, `limit` bytes.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn open(cache: &Path, mut archive: ArchiveSettings, limit: u64) -> Result<Self> {
        if let Some(inputs) = &mut archive.inputs {
            *inputs = fs::canonicalize(&*inputs)
                .with_context(|| format!("looking for inputs in {}", inputs.display()))?;
        }
        fs::create_dir_all(cache)
            .with_context(|| format!("making the cache {}", cache.display()))?;
        let cache = fs::canonicalize(cache)?;
        // First the store, which waits for whoever clears the whole cache.
        let store = Store::open(&cache.join("store"))?;
        let inputs = Cache::open(cache.join("inputs"))?;
        store.sweep();
        Ok(Self { cache, store, inputs, archive, limit, remote: OnceLock::new() })
    }

    /// Reads the host's apt configuration when an archive is first needed: its faults are none of `clean`'s.
    pub(crate) fn remote(&self) -> Result<&Remote> {
        if let Some(remote) = self.remote.get() {
            return Ok(remote);
        }
        let (sources, transport) = match self.archive.offline {
            true => Sources::none(self.archive.clone()),
            false => Sources::load(self.archive.clone())?,
        };
        let fetcher = Fetcher::new(self.inputs.clone(), transport);
        Ok(self.remote.get_or_init(|| Remote { sources, fetcher }))
    }

    /// Reads the recipe and resolves it. Nothing is written but the cache.
    ///
    /// # Errors
    /// What is wrong with the recipe, the archive, or between them.
    pub fn plan(&self, request: &Request, observer: Observer<'_>) -> Result<Plan> {
        let read = Stopwatch::start("read");
        let recipe = read::recipe(request, observer)?;
        let read = read.stop(recipe.name.to_string());
        let stage = Stage::new("plan", observer);
        let watch = Stopwatch::start("plan");
        let from = if request.locked { "reading the lock" } else { "asking the archive" };
        stage.started(from, None, Unit::Count);
        let (recipe, resolved) = match request.locked {
            true => self.resolve_locked(recipe, request, &stage)?,
            false => {
                self.remote()?.sources.warn_of_ignored(&stage);
                let resolved = self.resolve(&recipe, &stage).context("resolving packages")?;
                (recipe, resolved)
            }
        };
        let mut plan = Plan::new(recipe, resolved)?;
        plan.set_version(&version::planned(&plan.recipe));
        let (to_run, fetch) = self.pending(&plan);
        let summary = format!(
            "{} packages, {} of {} steps to run, {} MB to fetch",
            plan.packages.debs.len(),
            to_run,
            plan.steps.len(),
            fetch.div_ceil(1_000_000)
        );
        let planned = watch.stop(summary);
        stage.ended(planned.summary.clone(), Some(planned.seconds));
        plan.took = vec![read, planned];
        Ok(plan)
    }

    /// The plan for people and machines.
    pub fn describe(&self, plan: &Plan) -> Description {
        Description::of(plan, &self.store, self.pending(plan).1)
    }

    /// How many steps a tested build would run, and how many bytes it would fetch.
    fn pending(&self, plan: &Plan) -> (usize, u64) {
        let to_run = run::to_run(&plan.steps, &[IMAGE, MACHINE], &self.store);
        (to_run.len(), self.inputs.missing(&inputs(&to_run)))
    }

    /// Makes the images of a plan, boots them, and lays the result into its folder, which is
    /// returned. What is there already is not made again.
    ///
    /// # Errors
    /// Whatever stopped it; the next build goes on from there.
    pub fn build(
        &self,
        mut plan: Plan,
        output: &Output,
        observer: Observer<'_>,
    ) -> Result<PathBuf> {
        let key = output.sign_key.as_deref().map(|file| key::load(file, &plan.recipe));
        let key = key.transpose()?;
        if let Some(signature) = key::secure_boot(output.secure_boot.as_ref(), &plan.recipe)? {
            plan.set_signature(signature);
        }
        let firmware = Firmware::of(plan.recipe.root.secure_boot);
        if let Testing::Boot(settings) = &output.testing {
            verify::suit(&settings.firmware, firmware)?;
        }
        let equal = Equal::find(&plan, output);
        if let Some(equal) = equal.as_ref().filter(|equal| equal.is_whole(key.as_ref())) {
            let folder = &equal.folder;
            result::point_latest(folder)?;
            self.remember(&plan);
            Stage::new("done", observer).ended(format!("{} (unchanged)", folder.display()), None);
            return Ok(folder.clone());
        }
        let version = Version::of(output, &plan.recipe, equal.as_ref())?;
        plan.set_version(version.as_str());
        let name = &plan.recipe.name;
        let wanted = wanted(output);
        let outputs = self.run(&plan.steps, &wanted, &self.needs(&plan, output), observer);
        let outputs = outputs.map_err(|error| explained(error, plan.locked.as_deref()));
        let outputs = outputs.with_context(|| format!("building {name}"))?;
        self.remember(&plan);
        let proof = match &output.testing {
            Testing::Skipped => None,
            Testing::Boot(settings) => {
                let tools = outputs.path(MACHINE, TREE);
                let shelf = output.folder.join(name.as_str());
                let bench = self.bench(tools, &shelf, settings, observer);
                let certificate = plan.certificate();
                let bench = Bench { firmware, certificate, ..bench };
                let images = Image::made(&outputs)?.into_iter().map(|image| Known {
                    path: outputs.path(IMAGE, &image.name),
                    sha256: image.sha256,
                });
                let expect = result::expectations(&plan);
                let proof = verify::prove(&images.collect::<Vec<_>>(), &expect, &bench);
                // What does not boot takes as much room as what does.
                let proof = proof.inspect_err(|_| self.collect(observer));
                Some(proof.with_context(|| format!("booting {name}"))?)
            }
        };
        let made = Made { plan: &plan, outputs: &outputs, version: &version, key: key.as_ref() };
        let folder = result::publish(&made, proof.as_ref(), output, observer)?;
        result::point_latest(&folder)?;
        self.collect(observer);
        Ok(folder)
    }

    /// Bytes that a build needs beside its steps, by folder: copies of the images, and what guests write.
    fn needs<'a>(&'a self, plan: &Plan, output: &'a Output) -> [(&'a Path, u64); 2] {
        let image = plan.steps.iter().find(|step| step.id() == IMAGE);
        let images = image.map_or(0, |image| match self.store.get(&image.fingerprint()) {
            Some(entry) => space::used(&entry.out),
            None => image.room(),
        });
        let guests = if matches!(output.testing, Testing::Boot(_)) { GUEST } else { 0 };
        [(&output.folder, images), (&self.cache, guests)]
    }

    /// Boots the images of a result folder again. The report goes to the folder `report`, if there is one.
    ///
    /// # Errors
    /// What did not hold, such as an image that is not the one that was built, or why the test could not be made.
    pub fn test(
        &self,
        folder: &Path,
        boot: &BootSettings,
        report: Option<&Path>,
        observer: Observer<'_>,
    ) -> Result<()> {
        let stored = Stored::load(folder)?;
        verify::suit(&boot.firmware, stored.firmware)?;
        if let Some(report) = report {
            fs::create_dir_all(report).with_context(|| format!("making {}", report.display()))?;
        }
        let (tools, _in_use) = self.machine_tree(&stored, observer)?;
        let bench = self.bench(tools, folder.parent().unwrap_or(folder), boot, observer);
        let (firmware, certificate) = (stored.firmware, stored.certificate.clone());
        let bench = Bench { report, firmware, certificate, ..bench };
        let proof = verify::prove(&stored.images(folder), &stored.expect, &bench)?;
        report.map_or(Ok(()), |report| stored.report(&proof, report))
    }

    /// Starts the first image of a result folder with its console in this terminal.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn console(&self, folder: &Path, console: &Console, observer: Observer<'_>) -> Result<()> {
        let stored = Stored::load(folder)?;
        // UEFI starts all of them, without Secure Boot too.
        if console.firmware == Firmware::Bios {
            verify::suit(&[Firmware::Bios], stored.firmware)?;
        }
        let (tools, _in_use) = self.machine_tree(&stored, observer)?;
        let images = stored.images(folder);
        let image = images.first().context("the result holds no image")?;
        verify::console(&image.path, stored.certificate.as_deref(), &tools, &self.cache, console)
    }

    fn bench<'a>(
        &'a self,
        tools: PathBuf,
        shelf: &Path,
        settings: &'a BootSettings,
        observer: Observer<'a>,
    ) -> Bench<'a> {
        let failures = shelf.join("failed");
        let firmware = Firmware::of(SecureBoot::Off);
        let (report, certificate) = (None, None);
        Bench {
            tools,
            cache: &self.cache,
            failures,
            report,
            settings,
            firmware,
            certificate,
            observer,
        }
    }

    /// The tree with QEMU and firmware, and what holds it: the one that the result was made with; if that is gone, one
    /// of the same packages where they are at hand, or else of those in the archive of the result's base.
    fn machine_tree(&self, stored: &Stored, observer: Observer<'_>) -> Result<(PathBuf, Outputs)> {
        let machine = stored.manifest.build.machine;
        let made = machine.and_then(|fingerprint| self.store.get(&fingerprint));
        if let Some(entry) = made.filter(Entry::is_whole) {
            let outputs = Outputs::of(MACHINE, entry);
            return Ok((outputs.path(MACHINE, TREE), outputs));
        }
        let shelf = self.archive.inputs.as_deref();
        let recorded = Packages::from_manifest(
            &stored.manifest.build.machine_packages,
            &Places::nowhere().with_shelf(shelf),
            &self.inputs,
        );
        let packages = match self.archive.offline || recorded.are_at_hand(shelf, &self.inputs) {
            true => recorded,
            false => {
                let base: Base = stored.manifest.build.base.parse()?;
                let stage = Stage::new("plan", observer);
                self.remote()?.sources.warn_of_ignored(&stage);
                self.resolve_machine(base, &stage)?
            }
        };
        if packages.debs.is_empty() {
            let text = "the result does not say what it was booted with, and the network is not to be used";
            return Err(mendable(text.to_owned(), "build it anew, as another version".to_owned()));
        }
        let merges_usr = distribution(&stored.manifest.build.base)?.needs_usr_links;
        let machine = Tools { id: MACHINE, packages, merges_usr };
        let steps: [Box<dyn run::Step>; 1] = [Box::new(machine)];
        let needs = [(self.cache.as_path(), GUEST)];
        let outputs = self.run(&steps, &[MACHINE], &needs, observer)?;
        Ok((outputs.path(MACHINE, TREE), outputs))
    }

    pub(crate) fn run(
        &self,
        steps: &[Box<dyn run::Step>],
        wanted: &[&'static str],
        needs: &[(&Path, u64)],
        observer: Observer<'_>,
    ) -> Result<Outputs> {
        let prepared = run::prepare(steps, wanted, &self.store, observer)?;
        let inputs = inputs(&prepared.to_run);
        let missing = self.inputs.missing(&inputs);
        let room = prepared.to_run.iter().map(|step| step.room()).sum::<u64>() + missing;
        space::check(&[&[(self.cache.as_path(), room)], needs].concat())?;
        let fetched = self.fetch(&inputs, missing, observer)?;
        let mut outputs = run::run(prepared, &self.store, observer)?;
        outputs.fetched = fetched;
        Ok(outputs)
    }

    /// Fetches the `missing` bytes of the inputs. Returns what that took, if it took anything.
    pub(crate) fn fetch(
        &self,
        inputs: &[Input],
        missing: u64,
        observer: Observer<'_>,
    ) -> Result<Option<Record>> {
        let stage = Stage::new("fetch", observer);
        let watch = Stopwatch::start("fetch");
        if missing > 0 {
            stage.started(format!("{} packages", inputs.len()), Some(missing), Unit::Bytes);
        }
        if !inputs.is_empty() {
            let fetcher = &self.remote()?.fetcher;
            fetcher.fetch_all(inputs, &|bytes| stage.progressed(bytes)).context("fetching")?;
        }
        if missing == 0 {
            return Ok(None);
        }
        let megabytes = missing as f64 / 1e6;
        let rate = megabytes / watch.seconds().max(0.001);
        let count = inputs.len();
        let record = watch.stop(format!("{count} packages, {megabytes:.0} MB at {rate:.0} MB/s"));
        stage.ended(record.summary.clone(), Some(record.seconds));
        Ok(Some(record))
    }
}

/// The steps whose outputs a result is made from.
fn wanted(output: &Output) -> Vec<&'static str> {
    let machine = matches!(output.testing, Testing::Boot(_)).then_some(MACHINE);
    let update = output.sign_key.iter().flat_map(|_| update::STEPS);
    [IMAGE].into_iter().chain(machine).chain(update).collect()
}

/// What a build that is locked by this command can do about a package that is nowhere any more.
pub(crate) fn explained(error: anyhow::Error, locking: Option<&str>) -> anyhow::Error {
    let failed = error.chain().find_map(|cause| cause.downcast_ref::<coremax_fetch::Error>());
    match (locking, failed) {
        (Some(locking), Some(failed)) if failed.is_gone_somewhere() => {
            let hint = format!(
                "name a folder that has it with --inputs, an archive that keeps it with [lock] snapshot in the recipe, \
                 or move on with {locking} --update"
            );
            mendable(format!("{error:#}"), hint)
        }
        _ => error,
    }
}

pub(crate) fn inputs(steps: &[&dyn run::Step]) -> Vec<Input> {
    let mut inputs: Vec<_> = steps.iter().flat_map(|step| step.inputs().iter().cloned()).collect();
    inputs.sort();
    inputs.dedup_by_key(|input| input.digest);
    inputs
}
