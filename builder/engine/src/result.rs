//! The result folder: the images, what proves them, and what they are made of.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use coremax_machine::{BootReport, Expect, report};
use coremax_node_api::update::key::SecretKey;
use coremax_publish as publishing;
use coremax_publish::{Artefact, Boot, Build, Draft, Existing, Manifest, Proven};
use coremax_recipe::{Recipe, SecureBoot, Version};

use crate::{
    event::{Event, Observer, Stage, Unit},
    hint::mendable,
    plan::{IMAGE, MACHINE, Plan},
    run::Outputs,
    steps::{Image, lean},
    store::{Entry, Record},
    update,
    verify::{self, BootSettings, Firmware, Known, Proof},
    version::{Version as Chosen, named},
};

/// What the guest must answer for, beside the image: `coremax test` asks for it again.
const EXPECT: &str = "expect.json";

/// By which firmware believes an image that its operator signed, as DER: what a machine's set-up enrols.
const CERTIFICATE: &str = "secure-boot.cer";

/// Where a result goes, and how sure it must be.
#[derive(Debug, Clone)]
pub struct Output {
    /// The folder of all results.
    pub folder: PathBuf,
    /// The version; if none, the recipe's, else the date and a number.
    pub version: Option<Version>,
    /// Whether the image is booted.
    pub testing: Testing,
    /// The file of the key that signs an update to this version; if none, there will be none.
    pub sign_key: Option<PathBuf>,
    /// What signs the image for Secure Boot, where its recipe wants that.
    pub secure_boot: Option<SecureBootKey>,
}

/// A key for Secure Boot, and its certificate: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureBootKey {
    /// The private key.
    pub key: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
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
    /// By what its images boot.
    pub(crate) firmware: &'static [Firmware],
    /// By which firmware with Secure Boot on believes its images, where it is not by Microsoft's.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Stored {
    /// Reads the result in `folder`.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let Some(manifest) = Manifest::load(folder)? else {
            bail!("{} holds no result of a build", folder.display());
        };
        let firmware = made_for(&manifest.build)
            .with_context(|| format!("reading the result in {}", folder.display()))?;
        let path = folder.join(EXPECT);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let expect =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        let path = folder.join(CERTIFICATE);
        let certificate = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => Some(read.with_context(|| format!("reading {}", path.display()))?),
        };
        Ok(Self { manifest, expect, firmware, certificate })
    }

    /// Its images.
    pub(crate) fn images(&self, folder: &Path) -> Vec<Known> {
        let artefacts = self.manifest.build.artefacts.iter();
        let known = |artefact: &Artefact| Known {
            path: folder.join(&artefact.name),
            sha256: artefact.sha256,
        };
        artefacts.map(known).collect()
    }

    /// Lays the report of a new proof into a folder.
    pub(crate) fn report(&self, proof: &Proof, folder: &Path) -> Result<()> {
        // What its build took is in its own report.
        proof.write(folder, &report_build("", &self.manifest.build, &[]))
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
        let fingerprint = plan.fingerprint().to_string();
        let named = named(output, &plan.recipe);
        results(output, &plan.recipe).into_iter().find_map(|folder| {
            let manifest = Manifest::load(&folder).ok()??;
            let equal = manifest.build.fingerprint == fingerprint
                && is_as_proven(&manifest, &output.testing)
                && named.is_none_or(|version| version == manifest.build.version);
            equal.then_some(Self { folder, build: manifest.build })
        })
    }

    /// Its version.
    pub(crate) fn version(&self) -> &str {
        &self.build.version
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

/// Whether a result has the proof that is wanted, or says that it has none if none is.
fn is_as_proven(manifest: &Manifest, wanted: &Testing) -> bool {
    match (&manifest.verified, wanted) {
        (Some(proof), Testing::Boot(settings)) => {
            let is_met = |made_for: &[Firmware]| {
                settings.are_met(&manifest.build.artefacts, &proof.boots, made_for)
            };
            made_for(&manifest.build).is_ok_and(is_met)
        }
        (verified, _) => verified.is_none() && matches!(wanted, Testing::Skipped),
    }
}

/// What the images of a build boot by. One that says nothing of Secure Boot is of a time when there was nothing to say.
fn made_for(build: &Build) -> Result<&'static [Firmware]> {
    let Some(word) = &build.secure_boot else { return Ok(Firmware::of(SecureBoot::Off)) };
    let Ok(said) = word.parse() else {
        let why = format!("it was made for Secure Boot by {word:?}, which is not known here");
        return Err(mendable(why, "take a newer coremax".to_owned()));
    };
    Ok(Firmware::of(said))
}

/// Points `latest` at a result that a build has come to, new or old, if all boot tests prove it.
pub(crate) fn point_latest(folder: &Path) -> Result<()> {
    let proven = Manifest::load(folder)?
        .is_some_and(|manifest| is_as_proven(&manifest, &Testing::Boot(BootSettings::default())));
    if proven {
        publishing::point_latest(folder)?;
    }
    Ok(())
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
    pub(crate) version: &'a Chosen,
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
    stage.started("copying the images", None, Unit::Count);
    let recipe = &plan.recipe;
    let draft = Draft::begin(&output.folder, recipe.name.as_str())?;
    let images = Image::made(outputs)?;
    for image in &images {
        let source = outputs.path(IMAGE, &image.name);
        coremax_disk::copy_file(&source, &draft.path().join(&image.name), &|_| ())?;
    }
    let expect = serde_json::to_vec_pretty(&expectations(plan))?;
    fs::write(draft.path().join(EXPECT), expect)?;
    if let Some(certificate) = plan.certificate() {
        fs::write(draft.path().join(CERTIFICATE), certificate)?;
    }
    let update = key.map(|key| update::write(plan, outputs, version.as_str(), key, draft.path()));
    let told = told(plan, outputs, proof);
    let mut build = build_record(plan, images, version.as_str(), &told);
    build.update = update.transpose().context("making the update")?;
    let existing = if version.is_new() { Existing::Spare } else { existing_policy(output) };
    let receipt = match proof {
        None => publishing::publish_untested(&draft, build, existing)?,
        Some(proof) => {
            proof.write(draft.path(), &report_build(&recipe.summary, &build, &told))?;
            publishing::publish(&draft, Proven::new(build, proof.boots_of_verified())?, existing)?
        }
    };
    stage.ended(receipt.folder.display().to_string(), None);
    let mut names: Vec<_> = fs::read_dir(&receipt.folder)?.flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for name in names.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        observer(Event::Made { path: name.path().display().to_string() });
    }
    Ok(receipt.folder)
}

/// What was proven keeps its content under its version that was asked for; what was not may be made anew.
fn existing_policy(output: &Output) -> Existing {
    match output.testing {
        Testing::Skipped => Existing::Replace,
        Testing::Boot(_) => Existing::Keep,
    }
}

fn build_record(plan: &Plan, artefacts: Vec<Artefact>, version: &str, told: &[Told]) -> Build {
    Build {
        recipe: plan.recipe.name.to_string(),
        version: version.to_owned(),
        base: plan.recipe.base.to_string(),
        builder: format!("coremax {}", env!("CARGO_PKG_VERSION")),
        fingerprint: plan.fingerprint().to_string(),
        machine: plan.steps.iter().find(|step| step.id() == MACHINE).map(|step| step.fingerprint()),
        created: plan.epoch,
        machine_packages: plan.machine.to_manifest(),
        packages: plan.packages.to_manifest(),
        secure_boot: Some(plan.recipe.root.secure_boot.to_string()),
        files: [plan.files.inputs(), plan.keys.inputs()].concat(),
        masked: lean::masked(&plan.recipe),
        artefacts,
        update: None,
        stages: told.iter().map(Told::manifest).collect(),
    }
}

/// What the guest must answer for: the recipe's promises, its packages with the plan's versions. A virtual name is
/// none that dpkg knows: the package that stands for it is.
pub(crate) fn expectations(plan: &Plan) -> Expect {
    let expect = &plan.recipe.expect;
    let package = |name: &coremax_recipe::PackageName| {
        let selected = plan.packages.set.standing_for(name.as_str()).map(|s| &s.package);
        coremax_node_api::boot_test::Package {
            name: selected.map_or_else(|| name.to_string(), |package| package.name.clone()),
            version: selected.map(|package| package.version.clone()),
        }
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
        verify::lay_report(folder, build, &self.boots, self.kept.path())
    }

    /// What goes into the manifest. Nothing but a verified artefact's own reports gets there.
    fn boots_of_verified(&self) -> Vec<Boot> {
        let reports = self
            .verified
            .iter()
            .flat_map(|verified| verified.reports().iter().map(|report| (verified.get(), report)));
        let boot = |(artefact, report): (&coremax_machine::Artefact, &BootReport)| Boot {
            artefact: artefact.path().file_name().unwrap_or_default().to_string_lossy().into(),
            sha256: report.digest,
            firmware: report.scenario.clone(),
            accelerator: report.accelerator.accelerator.name().to_owned(),
            seconds: report.seconds,
            checks: report.checks.iter().map(|check| check.name.clone()).collect(),
        };
        reports.map(boot).collect()
    }
}

/// A stage of this build.
struct Told {
    record: Record,
    /// Whether an earlier build did the work.
    stored: bool,
}

/// All stages of this build, in the order of the work.
fn told(plan: &Plan, outputs: &Outputs, proof: Option<&Proof>) -> Vec<Told> {
    let now = |record: &Record| Told { record: record.clone(), stored: false };
    let step = |entry: &Entry| Told { record: entry.record.clone(), stored: entry.stored };
    let boots = proof.map(|proof| &proof.took);
    let steps = plan.steps.iter().filter_map(|step| outputs.entry(step.id()));
    let before = plan.took.iter().chain(&outputs.fetched);
    before.map(now).chain(steps.map(step)).chain(boots.map(now)).collect()
}

impl Told {
    /// A step that was stored took its seconds in another build, and none in this one.
    fn manifest(&self) -> publishing::Stage {
        let took = |seconds| if self.stored { 0.0 } else { seconds };
        publishing::Stage {
            name: self.record.step.clone(),
            wall_seconds: took(self.record.seconds),
            cpu_seconds: took(self.record.cpu_seconds),
            stored: self.stored,
        }
    }

    fn report(&self) -> report::BuildStage {
        let stage = self.manifest();
        let stored = if self.stored { " (stored by an earlier build)" } else { "" };
        report::BuildStage {
            name: stage.name,
            detail: format!("{}{stored}", self.record.summary),
            wall: stage.wall_seconds,
            cpu: Some(stage.cpu_seconds),
        }
    }
}

/// The manifest's facts as the report's page tells them.
fn report_build(summary: &str, build: &Build, told: &[Told]) -> report::Build {
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
        stages: told.iter().map(Told::report).collect(),
    }
}

#[cfg(test)]
mod tests {
    use coremax_fetch::Digest;
    use coremax_publish::Receipt;

    use super::*;

    /// A result of this content under this version, booted by these.
    fn lay(images: &Path, version: &str, by: &[&str], existing: Existing) -> Result<Receipt> {
        let draft = Draft::begin(images, "node")?;
        fs::write(draft.path().join("node.qcow2"), version)?;
        let (sha256, size) = (Digest::of(version), version.len() as u64);
        let (name, format) = ("node.qcow2".to_owned(), "qcow2".to_owned());
        let boots = by.iter().map(|firmware| Boot {
            artefact: name.clone(),
            sha256,
            firmware: (*firmware).to_owned(),
            accelerator: "tcg".to_owned(),
            seconds: 1.0,
            checks: Vec::new(),
        });
        let boots = boots.collect();
        let build = Build {
            recipe: "node".to_owned(),
            version: version.to_owned(),
            base: "debian-12".to_owned(),
            builder: String::new(),
            fingerprint: String::new(),
            machine: None,
            machine_packages: Vec::new(),
            created: 0,
            secure_boot: None,
            packages: Vec::new(),
            files: Vec::new(),
            masked: Vec::new(),
            artefacts: vec![Artefact { name, format, size, sha256, virtual_size: 1 }],
            update: None,
            stages: Vec::new(),
        };
        Ok(publishing::publish(&draft, Proven::new(build, boots)?, existing)?)
    }

    #[test]
    fn the_latest_is_what_a_build_came_to_and_wholly_proven() {
        let images = tempfile::tempdir().unwrap();
        let latest = || fs::read_link(images.path().join("node/latest")).ok();
        let lay = |version, by: &[_]| lay(images.path(), version, by, Existing::Keep).unwrap();
        let half = lay("1", &["BIOS"]);
        point_latest(&half.folder).unwrap();
        assert_eq!(latest(), None);
        let (two, three) = (lay("2", &["BIOS", "UEFI"]), lay("3", &["UEFI", "BIOS"]));
        for (folder, want) in [(&two, "2"), (&three, "3"), (&half, "3"), (&two, "2")] {
            point_latest(&folder.folder).unwrap();
            assert_eq!(latest().unwrap(), Path::new(want));
        }
    }

    #[test]
    fn a_version_that_was_to_be_new_spares_what_is_there() {
        let images = tempfile::tempdir().unwrap();
        let lay = |by| lay(images.path(), "1", &[by], Existing::Spare);
        let first = lay("UEFI").unwrap();
        assert!(lay("BIOS").is_err());
        let kept = Manifest::load(&first.folder).unwrap().unwrap().verified.unwrap();
        assert_eq!(kept.boots[0].firmware, "UEFI");
    }

    #[test]
    fn a_stored_step_takes_no_time() {
        let record = |step: &str| Record {
            step: step.to_owned(),
            summary: "done".to_owned(),
            seconds: 2.0,
            cpu_seconds: 3.0,
        };
        let [now, then] = [false, true].map(|stored| Told { record: record("system"), stored });
        assert_eq!((now.manifest().wall_seconds, now.report().cpu), (2.0, Some(3.0)));
        assert_eq!((then.manifest().wall_seconds, then.report().wall), (0.0, 0.0));
        assert_eq!((then.manifest().cpu_seconds, then.report().cpu), (0.0, Some(0.0)));
        assert!(then.report().detail.contains("earlier build") && then.manifest().stored);
    }
}
