//! The builder: its folders, and the verbs that the command line offers.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
use coremax_fetch::{Cache, Fetcher, Input};
use coremax_recipe::Base;

use crate::{
    event::{Observer, Stage, Unit},
    key,
    plan::{Description, IMAGE, MACHINE, Plan},
    read::{self, Request},
    resolve::Sources,
    result::{self, Equal, Made, Output, Stored, Testing},
    run::{self, Outputs},
    space::{self, Removed},
    steps::{Image, Tools, tools::TREE},
    store::Store,
    update,
    verify::{self, Bench, BootSettings, Console},
};

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
}

/// Builds, tests and runs images; owns the cache.
pub struct Builder {
    pub(crate) cache: PathBuf,
    pub(crate) store: Store,
    pub(crate) fetcher: Fetcher,
    pub(crate) sources: Sources,
}

impl Builder {
    /// A builder that keeps everything it may keep below `cache`.
    ///
    /// # Errors
    /// Where the folder cannot be made or the host's apt configuration cannot be read.
    pub fn open(cache: &Path, archive: ArchiveSettings) -> Result<Self> {
        fs::create_dir_all(cache)
            .with_context(|| format!("making the cache {}", cache.display()))?;
        let cache = fs::canonicalize(cache)?;
        let (sources, transport) = Sources::load(archive)?;
        let fetcher = Fetcher::new(Cache::open(cache.join("inputs"))?, transport);
        let store = Store::open(&cache.join("store"))?;
        store.sweep();
        Ok(Self { cache, store, fetcher, sources })
    }

    /// Reads the recipe and resolves it. Nothing is written but the cache.
    ///
    /// # Errors
    /// What is wrong with the recipe, the archive, or between them.
    pub fn plan(&self, request: &Request, observer: Observer<'_>) -> Result<Plan> {
        let recipe = read::recipe(request, observer)?;
        let stage = Stage::new("plan", observer);
        let begin = Instant::now();
        stage.started("asking the archive", None, Unit::Count);
        self.sources.warn_of_ignored(&stage);
        let resolved = self.resolve(&recipe, &stage).context("resolving packages")?;
        let mut plan = Plan::new(recipe, resolved)?;
        plan.set_version(&result::planned_version(&plan.recipe));
        let (to_run, fetch) = self.pending(&plan);
        let summary = format!(
            "{} packages, {} of {} steps to run, {} MB to fetch",
            plan.packages.debs.len(),
            to_run,
            plan.steps.len(),
            fetch.div_ceil(1_000_000)
        );
        stage.ended(summary, Some(begin.elapsed().as_secs_f64()));
        Ok(plan)
    }

    /// The plan for people and machines.
    pub fn describe(&self, plan: &Plan) -> Description {
        Description::of(plan, &self.store, self.pending(plan).1)
    }

    /// How many steps a tested build would run, and how many bytes it would fetch.
    fn pending(&self, plan: &Plan) -> (usize, u64) {
        let to_run = run::to_run(&plan.steps, &[IMAGE, MACHINE], &self.store);
        (to_run.len(), self.fetcher.cache().missing(&inputs(&to_run)))
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
        let equal = Equal::find(&plan, output);
        if let Some(equal) = equal.as_ref().filter(|equal| equal.is_whole(key.as_ref())) {
            let folder = &equal.folder;
            Stage::new("done", observer).ended(format!("{} (unchanged)", folder.display()), None);
            return Ok(folder.clone());
        }
        let version = result::version(output, &plan.recipe, equal.as_ref())?;
        plan.set_version(&version);
        let name = &plan.recipe.name;
        let wanted = wanted(output);
        let outputs =
            self.run(&plan.steps, &wanted, observer).with_context(|| format!("building {name}"))?;
        let proof = match &output.testing {
            Testing::Skipped => None,
            Testing::Boot(settings) => {
                let tools = outputs.path(MACHINE, TREE);
                let shelf = output.folder.join(name.as_str());
                let bench = self.bench(tools, &shelf, settings, observer);
                let images = Image::made(&outputs)?;
                let images = images.iter().map(|image| outputs.path(IMAGE, &image.name));
                let expect = result::expectations(&plan);
                let proof = verify::prove(&images.collect::<Vec<_>>(), &expect, &bench);
                Some(proof.with_context(|| format!("booting {name}"))?)
            }
        };
        let made = Made { plan: &plan, outputs: &outputs, version: &version, key: key.as_ref() };
        result::publish(&made, proof.as_ref(), output, observer)
    }

    /// Boots the images of a result folder again.
    ///
    /// # Errors
    /// What did not hold, or why the test could not be made.
    pub fn test(&self, folder: &Path, boot: &BootSettings, observer: Observer<'_>) -> Result<()> {
        let stored = Stored::load(folder)?;
        let tools = self.machine_tree(&stored, observer)?;
        let bench = self.bench(tools, folder.parent().unwrap_or(folder), boot, observer);
        verify::prove(&stored.images(folder), &stored.expect, &bench).map(drop)
    }

    /// Starts the first image of a result folder with its console in this terminal.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn console(&self, folder: &Path, console: &Console, observer: Observer<'_>) -> Result<()> {
        let stored = Stored::load(folder)?;
        let tools = self.machine_tree(&stored, observer)?;
        let images = stored.images(folder);
        let image = images.first().context("the result holds no image")?;
        verify::console(image, &tools, &self.cache, console)
    }

    fn bench<'a>(
        &'a self,
        tools: PathBuf,
        shelf: &Path,
        settings: &'a BootSettings,
        observer: Observer<'a>,
    ) -> Bench<'a> {
        Bench { tools, cache: &self.cache, failures: shelf.join("failed"), settings, observer }
    }

    /// The tree with QEMU and firmware, made if it is missing, from the archive of the result's base.
    fn machine_tree(&self, stored: &Stored, observer: Observer<'_>) -> Result<PathBuf> {
        let base: Base = stored.manifest.build.base.parse()?;
        let stage = Stage::new("plan", observer);
        self.sources.warn_of_ignored(&stage);
        let packages = self.resolve_machine(base, &stage)?;
        let steps: [Box<dyn run::Step>; 1] = [Box::new(Tools { id: MACHINE, packages })];
        Ok(self.run(&steps, &[MACHINE], observer)?.path(MACHINE, TREE))
    }

    /// Removes finished steps, and downloads too if `all`; nothing while another process uses the cache,
    /// since nobody knows what it will still read.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn clean(&self, all: bool, observer: Observer<'_>) -> Result<()> {
        let stage = Stage::new("clean", observer);
        let begin = Instant::now();
        stage.started("removing finished steps", None, Unit::Count);
        let Some(steps) = self.store.clear()? else {
            stage.warned("a running build uses the cache: clean again after it");
            stage.ended("nothing removed", None);
            return Ok(());
        };
        let resolved = Removed::all_of(&self.cache.join("resolved"))?;
        let mut summary = format!("{} finished steps", steps.entries);
        let mut freed = steps.and(resolved).bytes;
        if all {
            stage.busy_with("removing downloads");
            let inputs = Removed::all_of(&self.cache.join("inputs"))?;
            summary += &format!(", {} downloads", inputs.entries);
            freed += inputs.bytes;
        }
        summary += &format!(", {} MB freed", freed / 1_000_000);
        stage.ended(summary, Some(begin.elapsed().as_secs_f64()));
        Ok(())
    }

    fn run(
        &self,
        steps: &[Box<dyn run::Step>],
        wanted: &[&'static str],
        observer: Observer<'_>,
    ) -> Result<Outputs> {
        let to_run = run::to_run(steps, wanted, &self.store);
        space::check(&self.cache, to_run.iter().map(|step| step.room()).sum())?;
        self.fetch(&inputs(&to_run), observer)?;
        run::run(steps, wanted, &self.store, observer)
    }

    fn fetch(&self, inputs: &[Input], observer: Observer<'_>) -> Result<()> {
        let missing = self.fetcher.cache().missing(inputs);
        let stage = Stage::new("fetch", observer);
        let begin = Instant::now();
        if missing > 0 {
            stage.started(format!("{} packages", inputs.len()), Some(missing), Unit::Bytes);
        }
        self.fetcher.fetch_all(inputs, &|bytes| stage.progressed(bytes)).context("fetching")?;
        if missing > 0 {
            let seconds = begin.elapsed().as_secs_f64();
            let megabytes = missing as f64 / 1e6;
            let rate = megabytes / seconds.max(0.001);
            let count = inputs.len();
            let summary = format!("{count} packages, {megabytes:.0} MB at {rate:.0} MB/s");
            stage.ended(summary, Some(seconds));
        }
        Ok(())
    }
}

/// The steps whose outputs a result is made from.
fn wanted(output: &Output) -> Vec<&'static str> {
    let machine = matches!(output.testing, Testing::Boot(_)).then_some(MACHINE);
    let update = output.sign_key.iter().flat_map(|_| update::STEPS);
    [IMAGE].into_iter().chain(machine).chain(update).collect()
}

fn inputs(steps: &[&dyn run::Step]) -> Vec<Input> {
    let mut inputs: Vec<_> = steps.iter().flat_map(|step| step.inputs().iter().cloned()).collect();
    inputs.sort();
    inputs.dedup_by_key(|input| input.digest);
    inputs
}
