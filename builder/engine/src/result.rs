//! The result folder: the images, what proves them, and what they are made of.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use coremax_fetch::Digest;
use coremax_machine::{Expect, report};
use coremax_node_api::update::key::SecretKey;
use coremax_publish as publishing;
use coremax_publish::{Artefact, Boot, Build, Draft, Existing, FileInput, Manifest, Package};
use coremax_recipe::{Content, Recipe};

use crate::{
    event::{Event, Observer, Stage},
    plan::{IMAGE, Plan},
    run::Outputs,
    steps::Image,
    update,
    verify::{self, BootSettings, Proof},
};

/// What the guest must answer for, beside the image: `coremax test` asks for it again.
const EXPECT: &str = "expect.json";

/// Where a result goes, and how sure it must be.
#[derive(Debug, Clone)]
pub struct Output {
    /// The folder of all results.
    pub folder: PathBuf,
    /// The version; if none, the recipe's, else the date and a number.
    pub version: Option<String>,
    /// Whether the image is booted.
    pub testing: Testing,
    /// The file of the key that signs an update to this version; if none, there will be none.
    pub sign_key: Option<PathBuf>,
}

/// Whether the image is booted.
#[derive(Debug, Clone)]
pub enum Testing {
    /// No: the result is marked as untested.
    Skipped,
    /// Yes.
    Boot(BootSettings),
}

/// A result that was published before.
pub(crate) struct Stored {
    pub(crate) manifest: Manifest,
    pub(crate) expect: Expect,
}

impl Stored {
    /// Reads the result in `folder`.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let Some(manifest) = Manifest::load(folder)? else {
            bail!("{} holds no result of a build", folder.display());
        };
        let path = folder.join(EXPECT);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let expect =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { manifest, expect })
    }

    /// Its images.
    pub(crate) fn images(&self, folder: &Path) -> Vec<PathBuf> {
        self.manifest.build.artefacts.iter().map(|artefact| folder.join(&artefact.name)).collect()
    }
}

/// An equal build's result that is there already, as proven as it is wanted now.
pub(crate) struct Equal {
    pub(crate) folder: PathBuf,
    build: Build,
}

impl Equal {
    /// Looks for it.
    pub(crate) fn find(plan: &Plan, output: &Output) -> Option<Self> {
        let tested = matches!(output.testing, Testing::Boot(_));
        let fingerprint = plan.fingerprint().to_string();
        let named = named(output, &plan.recipe);
        results(output, &plan.recipe).into_iter().find_map(|folder| {
            let manifest = Manifest::load(&folder).ok()??;
            let equal = manifest.build.fingerprint == fingerprint
                && manifest.verified.is_some() == tested
                && named.is_none_or(|version| version == manifest.build.version);
            equal.then_some(Self { folder, build: manifest.build })
        })
    }

    /// Whether it has its images, and the update that `key` signs if there is one.
    pub(crate) fn is_whole(&self, key: Option<&SecretKey>) -> bool {
        let is_there = |name: &str, size: u64| {
            fs::metadata(self.folder.join(name)).is_ok_and(|found| found.len() == size)
        };
        let signed = |key: &SecretKey| {
            self.build.update.as_ref().is_some_and(|made| {
                made.key == update::id(key).to_string() && is_there(&made.name, made.size)
            })
        };
        self.build.artefacts.iter().all(|made| is_there(&made.name, made.size))
            && key.is_none_or(signed)
    }
}

/// The version that somebody asked for.
fn named<'a>(output: &'a Output, recipe: &'a Recipe) -> Option<&'a str> {
    output.version.as_deref().or(recipe.version.as_ref().map(|version| version.as_str()))
}

/// All results of a recipe, the newest last.
fn results(output: &Output, recipe: &Recipe) -> Vec<PathBuf> {
    let shelf = output.folder.join(recipe.name.as_str());
    let entries = fs::read_dir(shelf).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}

/// What a build has made, and what of it is to be published.
pub(crate) struct Made<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) outputs: &'a Outputs,
    pub(crate) version: &'a str,
    /// Signs the update, where one is wanted.
    pub(crate) key: Option<&'a SecretKey>,
}

/// Lays images, update, report and manifest into their folder, which appears at once and whole.
pub(crate) fn publish(
    made: &Made<'_>,
    proof: Option<&Proof>,
    output: &Output,
    observer: Observer<'_>,
) -> Result<PathBuf> {
    let Made { plan, outputs, version, key } = *made;
    let stage = Stage::new("done", observer);
    let recipe = &plan.recipe;
    let draft = Draft::begin(&output.folder, recipe.name.as_str())?;
    let images = Image::made(outputs)?;
    for image in &images {
        let source = outputs.path(IMAGE, &image.name);
        coremax_disk::copy_file(&source, &draft.path().join(&image.name), &|_| ())?;
    }
    let expect = serde_json::to_vec_pretty(&expectations(plan))?;
    fs::write(draft.path().join(EXPECT), expect)?;
    let update = key.map(|key| update::write(plan, outputs, version, key, draft.path()));
    let mut build = build_record(plan, outputs, images, version, proof)?;
    build.update = update.transpose().context("making the update")?;
    if let Some(proof) = proof {
        proof.write(draft.path(), &report_build(&recipe.summary, &build, outputs, proof))?;
    }
    let receipt = match proof {
        Some(proof) => publishing::publish(draft, build, proof.record(), existing_policy(output))?,
        None => publishing::publish_untested(draft, build, existing_policy(output))?,
    };
    stage.ended(receipt.folder.display().to_string(), None);
    let mut names: Vec<_> = fs::read_dir(&receipt.folder)?.flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for name in names.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        observer(Event::Made { path: name.path().display().to_string() });
    }
    Ok(receipt.folder)
}

/// What was proven keeps its content under its version; what was not may be made anew.
fn existing_policy(output: &Output) -> Existing {
    match output.testing {
        Testing::Skipped => Existing::Replace,
        Testing::Boot(_) => Existing::Keep,
    }
}

/// The version asked for, else the recipe's, else that of an equal result that only lacks something,
/// else today's date, with a number if that is taken.
///
/// # Errors
/// One that no node could compare with another.
pub(crate) fn version(output: &Output, recipe: &Recipe, equal: Option<&Equal>) -> Result<String> {
    let known = named(output, recipe).or(equal.map(|equal| &*equal.build.version));
    let version = known.map_or_else(|| free_version(output, recipe), str::to_owned);
    version.parse::<coremax_node_api::update::Version>()?;
    Ok(version)
}

/// The version of a build that is only planned: nobody knows where its result goes.
pub(crate) fn planned_version(recipe: &Recipe) -> String {
    recipe.version.as_ref().map_or_else(today, ToString::to_string)
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%Y.%m.%d").to_string()
}

fn free_version(output: &Output, recipe: &Recipe) -> String {
    let today = today();
    let shelf = output.folder.join(recipe.name.as_str());
    let taken = |version: &String| {
        [version.clone(), format!("{version}.untested")].iter().any(|v| shelf.join(v).exists())
    };
    let numbered = (2..).map(|number| format!("{today}.{number}"));
    std::iter::once(today.clone()).chain(numbered).find(|v| !taken(v)).unwrap_or(today)
}

fn build_record(
    plan: &Plan,
    outputs: &Outputs,
    artefacts: Vec<Artefact>,
    version: &str,
    proof: Option<&Proof>,
) -> Result<Build> {
    let selected = plan.packages.set.selected.iter().zip(&plan.packages.suites);
    let packages = selected.map(|(selected, suite)| Package {
        name: selected.package.name.clone(),
        version: selected.package.version.clone(),
        architecture: selected.package.architecture.clone(),
        archive: suite.clone(),
        size: selected.package.size,
        sha256: selected.package.digest,
    });
    let stage = |name: &str, wall_seconds, cpu_seconds| publishing::Stage {
        name: name.to_owned(),
        wall_seconds,
        cpu_seconds,
    };
    // In the order of the plan.
    let steps = plan.steps.iter().filter_map(|step| outputs.record(step.id()));
    let steps = steps.map(|r| stage(&r.step, r.seconds, r.cpu_seconds));
    let boots = proof.map(|proof| stage("boot", proof.seconds, proof.cpu_seconds));
    Ok(Build {
        recipe: plan.recipe.name.to_string(),
        version: version.to_owned(),
        base: plan.recipe.base.to_string(),
        builder: format!("coremax {}", env!("CARGO_PKG_VERSION")),
        fingerprint: plan.fingerprint().to_string(),
        created: plan.epoch,
        packages: packages.collect(),
        files: files(&plan.recipe)?,
        artefacts,
        update: None,
        stages: steps.chain(boots).collect(),
    })
}

/// Every file that the recipe brings along, by its path in the recipe's own words.
fn files(recipe: &Recipe) -> Result<Vec<FileInput>> {
    let mut files = Vec::new();
    for overlay in &recipe.overlays {
        walk(&overlay.source, overlay.from.as_str(), &mut files)?;
    }
    for file in &recipe.files {
        if let Content::Copy { from, source } = &file.content {
            walk(source, from.as_str(), &mut files)?;
        }
    }
    Ok(files)
}

fn walk(path: &Path, name: &str, files: &mut Vec<FileInput>) -> Result<()> {
    let kind = fs::symlink_metadata(path).with_context(|| format!("reading {}", path.display()))?;
    if kind.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        return entries.iter().try_for_each(|entry| {
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            walk(&entry.path(), &name, files)
        });
    }
    if kind.is_file() {
        let (sha256, size) = Digest::of_reader(fs::File::open(path)?)?;
        files.push(FileInput { path: name.to_owned(), size, sha256 });
    }
    Ok(())
}

/// What the guest must answer for: the recipe's promises, its packages with the plan's versions.
pub(crate) fn expectations(plan: &Plan) -> Expect {
    let expect = &plan.recipe.expect;
    let package = |name: &coremax_recipe::PackageName| coremax_node_api::boot_test::Package {
        name: name.to_string(),
        version: plan.packages.set.get(name.as_str()).map(|s| s.package.version.clone()),
    };
    Expect {
        packages: expect.packages.iter().map(package).collect(),
        files: expect.files.iter().map(ToString::to_string).collect(),
        units: expect.units.iter().map(ToString::to_string).collect(),
        listens: expect.listens.iter().filter_map(|l| l.to_string().parse().ok()).collect(),
    }
}

impl Proof {
    /// Lays report, logs and screenshots beside the images.
    fn write(&self, folder: &Path, build: &report::Build) -> Result<()> {
        let boots = self.boots.iter().map(|boot| {
            let folder = Path::new("boot").join(&boot.folder).display().to_string();
            report::Boot { folder, ..boot.clone() }
        });
        let boots: Vec<_> = boots.collect();
        for (kept, laid) in self.boots.iter().zip(&boots) {
            verify::copy_tree(&self.kept.path().join(&kept.folder), &folder.join(&laid.folder))?;
        }
        Ok(report::write(folder, build, &boots)?)
    }

    /// What goes into the manifest: every boot of a verified artefact.
    fn record(&self) -> publishing::Proof {
        let boots = self.boots.iter().filter_map(|boot| {
            let sha256 = boot.report.digest;
            let verified = self.verified.iter().any(|v| *v.get().digest() == sha256);
            verified.then(|| Boot {
                artefact: boot.artefact.clone(),
                sha256,
                firmware: boot.report.scenario.clone(),
                accelerator: boot.report.accelerator.accelerator.name().to_owned(),
                seconds: boot.report.seconds,
                checks: boot.report.checks.iter().map(|check| check.name.clone()).collect(),
            })
        });
        publishing::Proof { boots: boots.collect() }
    }
}

/// The manifest's facts as the report's page tells them.
fn report_build(summary: &str, build: &Build, outputs: &Outputs, proof: &Proof) -> report::Build {
    let detail = |stage: &str| {
        let step = outputs.record(stage);
        step.map_or_else(|| verify::summary(&proof.boots), |record| record.summary.clone())
    };
    let created = i64::try_from(build.created).ok();
    let created = created.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    report::Build {
        recipe: build.recipe.clone(),
        summary: summary.to_owned(),
        version: build.version.clone(),
        base: build.base.clone(),
        builder: build.builder.clone(),
        created: created.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default(),
        packages: build.packages.len(),
        artefacts: build
            .artefacts
            .iter()
            .map(|made| report::Made {
                name: made.name.clone(),
                size: made.size,
                sha256: made.sha256.to_string(),
            })
            .collect(),
        stages: build
            .stages
            .iter()
            .map(|stage| report::BuildStage {
                name: stage.name.clone(),
                detail: detail(&stage.name),
                wall: stage.wall_seconds,
                cpu: Some(stage.cpu_seconds),
            })
            .collect(),
    }
}
