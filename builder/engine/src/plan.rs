//! The plan: every input pinned, every step named with its fingerprint, nothing written.

use std::fmt;

use anyhow::{Result, bail};
use coremax_archive::{Distribution, Reason, Selected};
use coremax_disk::Bytes;
use coremax_fetch::Digest;
use coremax_recipe::Recipe;
use coremax_rootfs::Ids;
use serde::Serialize;

use crate::{
    files::Files,
    fingerprint::Fingerprint,
    identity::Identity,
    packages::Packages,
    run::Step,
    steps::{
        Filesystem, Image, Initramfs, Initrd, Kind, Layer, Part, Root, Signature, Site, System,
        Tools, Which,
    },
    store::{Record, Store},
};

/// What a build will do.
pub struct Plan {
    /// The recipe, merged and with what the command line added.
    pub recipe: Recipe,
    /// The packages of the image.
    pub(crate) packages: Packages,
    /// Those of the tree with QEMU and firmware.
    pub(crate) machine: Packages,
    /// What the recipe brings along into the image.
    pub(crate) files: Files,
    /// The keys that its archives are believed by.
    pub(crate) keys: Files,
    /// What it took to come to this plan.
    pub(crate) took: Vec<Record>,
    /// All steps, each after its needs.
    pub(crate) steps: Vec<Box<dyn Step>>,
    /// The step that makes the images, of no version yet.
    image: Image,
    /// The time that everything in the image is clamped to, in seconds since 1970.
    pub(crate) epoch: u64,
    /// The command that made the lock that its packages are from, where they are from one.
    pub(crate) locked: Option<String>,
}

/// What was resolved for a plan.
pub(crate) struct Resolved {
    pub(crate) distribution: &'static Distribution,
    pub(crate) packages: Packages,
    pub(crate) tools: Packages,
    pub(crate) machine: Packages,
    pub(crate) epoch: u64,
    /// The numbers that accounts must have.
    pub(crate) ids: Ids,
    /// The command that made the lock that it stands in, if it does.
    pub(crate) locked: Option<String>,
}

impl Resolved {
    /// The step that makes the system of it.
    pub(crate) fn system(&self) -> System {
        System {
            packages: self.packages.clone(),
            epoch: self.epoch,
            ids: self.ids.clone(),
            merges_usr: self.distribution.needs_usr_links,
        }
    }
}

/// The last step of every plan that makes something for the user.
pub(crate) const IMAGE: &str = "image";
/// The tools tree with QEMU and firmware.
pub(crate) const MACHINE: &str = "machine";

impl Plan {
    /// The steps from the recipe and what was resolved for it.
    pub(crate) fn new(recipe: Recipe, resolved: Resolved) -> Result<Self> {
        let system = resolved.system();
        let Resolved { distribution, packages, tools, machine, epoch, locked, .. } = resolved;
        let merges_usr = distribution.needs_usr_links;
        let tools = Tools { id: "tools", packages: tools, merges_usr };
        let bench = Tools { id: MACHINE, packages: machine.clone(), merges_usr };
        let identity = Identity::new(recipe.name.as_str(), &system.fingerprint());
        let site = Site::new(&recipe, system.fingerprint(), &identity, epoch)?;
        let (files, keys) = (site.files().clone(), Files::keys_of(&recipe)?);
        let base = Base { recipe: &recipe, distribution, identity, epoch, packages: &packages };
        let (made, image) = if recipe.root.verity {
            base.sealed(&system, &site, &tools)
        } else {
            base.plain(&site, &tools)
        };
        let mut steps: Vec<Box<dyn Step>> = vec![Box::new(tools), Box::new(system), Box::new(site)];
        steps.extend(made);
        steps.push(Box::new(image.clone()));
        steps.push(Box::new(bench));
        let took = Vec::new();
        Ok(Self { recipe, packages, machine, files, keys, took, steps, image, epoch, locked })
    }

    /// Makes it a plan for images of this version. No other step knows of it.
    pub(crate) fn set_version(&mut self, version: &str) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.id() == IMAGE) {
            *step = Box::new(self.image.of_version(version));
        }
    }

    /// Makes it a plan for images that this signs. No other step knows of it.
    pub(crate) fn set_signature(&mut self, signature: Signature) {
        self.image = self.image.signed_by(signature);
    }

    /// By which firmware believes the images, where it is not by Microsoft's.
    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        self.image.certificate().map(<[u8]>::to_vec)
    }

    /// What the whole build comes from: the image, of whatever version, and what a boot test must
    /// find in it.
    pub(crate) fn fingerprint(&self) -> Digest {
        Fingerprint::new("build", 2)
            .with("image", self.image.content().to_string())
            .with_json("expect", &self.recipe.expect)
            .finish()
    }

    /// Why a package gets in: the chain of reasons, a line each.
    ///
    /// # Errors
    /// If it does not get in.
    pub fn why(&self, package: &str) -> Result<String> {
        let chain = self.packages.set.why(package);
        if chain.is_empty() {
            bail!("{package} does not get in");
        }
        let line = |selected: &&Selected| {
            format!("{} {}", selected.package.name, reason(&selected.reason))
        };
        Ok(chain.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// What the steps behind the layers share.
struct Base<'a> {
    recipe: &'a Recipe,
    distribution: &'static Distribution,
    identity: Identity,
    epoch: u64,
    packages: &'a Packages,
}

impl Base<'_> {
    /// The steps of an image with an ext4 root that the distribution's initramfs mounts.
    fn plain(&self, site: &Site, tools: &Tools) -> (Vec<Box<dyn Step>>, Image) {
        let site = site.fingerprint();
        let unpacked = self.packages.installed_bytes();
        let initramfs = Initramfs { site, epoch: self.epoch, unpacked };
        let root = self.filesystem(Part::Root, Some(site), tools, self.recipe.root.size);
        let data = self.filesystem(Part::Data, Some(site), tools, self.recipe.data.size);
        let image = self.image(Kind::Plain, [&initramfs, &root, &data, tools]);
        (vec![Box::new(initramfs), Box::new(root), Box::new(data)], image)
    }

    /// The steps of an image with a sealed root.
    fn sealed(&self, system: &System, site: &Site, tools: &Tools) -> (Vec<Box<dyn Step>>, Image) {
        let initrd = Initrd {
            system: system.fingerprint(),
            tools: tools.fingerprint(),
            modules: self.recipe.kernel.modules,
            epoch: self.epoch,
            unpacked: system.room(),
        };
        let layers = [(Which::System, system as &dyn Step), (Which::Site, site)]
            .map(|(which, tree)| self.layer(which, tree, tools));
        let root = Root {
            layers: layers.each_ref().map(Step::fingerprint),
            sealed: layers.iter().map(Step::room).sum(),
            size: self.recipe.root.size.map(|size| Bytes(size.get())),
            identity: self.identity.clone(),
        };
        let data = self.filesystem(Part::Empty, None, tools, self.recipe.data.size);
        let image = self.image(Kind::Sealed, [&initrd, &root, &data, tools]);
        let [system, site] = layers;
        let steps: Vec<Box<dyn Step>> = vec![
            Box::new(system),
            Box::new(site),
            Box::new(initrd),
            Box::new(data),
            Box::new(root),
        ];
        (steps, image)
    }

    fn layer(&self, which: Which, tree: &dyn Step, tools: &Tools) -> Layer {
        Layer {
            which,
            tree: tree.fingerprint(),
            tools: tools.fingerprint(),
            compression: self.recipe.root.compression,
            epoch: self.epoch,
            identity: self.identity.clone(),
            unpacked: tree.room(),
        }
    }

    fn filesystem(
        &self,
        part: Part,
        site: Option<Digest>,
        tools: &Tools,
        size: Option<coremax_recipe::Bytes>,
    ) -> Filesystem {
        Filesystem {
            part,
            site,
            tools: tools.fingerprint(),
            size: size.map(|size| Bytes(size.get())),
            epoch: self.epoch,
            identity: self.identity.clone(),
            unpacked: self.packages.installed_bytes(),
        }
    }

    /// From kernel, root, data and the tools for it.
    fn image(&self, kind: Kind, made_of: [&dyn Step; 4]) -> Image {
        let holds = made_of[..3].iter().map(|step| step.room()).sum();
        let made_of = made_of.map(Step::fingerprint);
        Image::new(self.recipe, kind, self.distribution, made_of, holds, self.identity.clone())
    }
}

/// A reason as the end of a sentence that begins with the package.
fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Essential => "is essential".to_owned(),
        Reason::Requested => "is named by the recipe".to_owned(),
        // A lock does not say by which words.
        Reason::DependencyOf { relation, .. } | Reason::RecommendedBy { relation, .. }
            if relation.is_empty() =>
        {
            short(reason)
        }
        Reason::DependencyOf { package, relation } => format!("for {package} ({relation})"),
        Reason::RecommendedBy { package, relation } => {
            format!("recommended by {package} ({relation})")
        }
    }
}

/// A reason as it fits into a line.
fn short(reason: &Reason) -> String {
    match reason {
        Reason::DependencyOf { package, .. } => format!("for {package}"),
        Reason::RecommendedBy { package, .. } => format!("recommended by {package}"),
        other => self::reason(other),
    }
}

/// A plan for people (`Display`) and for machines (JSON).
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Description {
    recipe: String,
    base: String,
    fingerprint: Digest,
    source_date_epoch: u64,
    packages: Vec<PackageLine>,
    steps: Vec<StepLine>,
    fetch_bytes: u64,
}

#[derive(Debug, Serialize)]
struct PackageLine {
    name: String,
    version: String,
    architecture: String,
    size: u64,
    sha256: Digest,
    reason: String,
    /// The reason without versions, for a line.
    #[serde(skip)]
    short: String,
}

#[derive(Debug, Serialize)]
struct StepLine {
    id: &'static str,
    description: String,
    fingerprint: Digest,
    stored: bool,
    needs: Vec<&'static str>,
}

impl Description {
    pub(crate) fn of(plan: &Plan, store: &Store, fetch_bytes: u64) -> Self {
        let packages = plan.packages.set.selected.iter().map(|selected| PackageLine {
            name: selected.package.name.clone(),
            version: selected.package.version.clone(),
            architecture: selected.package.architecture.clone(),
            size: selected.package.size,
            sha256: selected.package.digest,
            reason: reason(&selected.reason),
            short: short(&selected.reason),
        });
        let steps = plan.steps.iter().map(|step| StepLine {
            id: step.id(),
            description: step.description(),
            fingerprint: step.fingerprint(),
            stored: store.get(&step.fingerprint()).is_some(),
            needs: step.needs().to_vec(),
        });
        Self {
            recipe: plan.recipe.name.to_string(),
            base: plan.recipe.base.as_str().to_owned(),
            fingerprint: plan.fingerprint(),
            source_date_epoch: plan.epoch,
            packages: packages.collect(),
            steps: steps.collect(),
            fetch_bytes,
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.recipe, self.base)?;
        writeln!(f, "\nsteps")?;
        for step in &self.steps {
            let state = if step.stored { "stored" } else { "to run" };
            writeln!(f, "  {:<12}{state:<8}{}", step.id, step.description)?;
        }
        writeln!(f, "\npackages")?;
        let name = |package: &PackageLine| format!("{} {}", package.name, package.version);
        let width = self.packages.iter().map(|package| name(package).len()).max().unwrap_or(0);
        for package in &self.packages {
            writeln!(f, "  {:<width$}  {}", name(package), package.short)?;
        }
        let total: u64 = self.packages.iter().map(|package| package.size).sum();
        let (count, total, fetch) =
            (self.packages.len(), total / 1_000_000, self.fetch_bytes / 1_000_000);
        writeln!(f, "\n{count} packages, {total} MB; {fetch} MB to fetch")
    }
}
