//! From a recipe and an archive to the packages of the image and of the tools trees.
//!
//! A resolution is kept by what it depends on, the archive's state and the request, so that a
//! build with nothing changed reads no index.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use coremax_archive::{
    Distribution, Freshness, Keyring, Mirrors, PackageSet, Request, Snapshot, Source, Universe,
    default_mirrors, distribution, host, keyring_of, sources_of,
};
use coremax_fetch::Transport;
use coremax_recipe::{Base, Recipe, SecureBoot};
use coremax_rootfs::Ids;

use crate::{
    builder::{ArchiveSettings, Builder},
    event::Stage,
    fingerprint::Fingerprint,
    locked::{Asked, Tree},
    packages::Packages,
    places::Places,
    plan::Resolved,
};

/// Changes when the same request on the same archive is answered otherwise.
const REVISION: u32 = 1;
/// What the steps run, by package; GRUB and shim come from the distribution's row.
const TOOLS: [&str; 5] =
    ["coreutils", "e2fsck-static", "e2fsprogs", "grub-common", "squashfs-tools"];
/// What boot tests run.
const MACHINE: [&str; 2] = ["qemu-system-x86", "ovmf"];

/// What the host and the command line say of archives.
pub(crate) struct Sources {
    settings: ArchiveSettings,
    host: host::Host,
}

impl Sources {
    pub(crate) fn load(settings: ArchiveSettings) -> Result<(Self, Transport)> {
        let host = host::load(std::path::Path::new("/"))?;
        let transport = host.transport.clone();
        Ok((Self { settings, host }, transport))
    }

    /// For a build that asks nobody.
    pub(crate) fn none(settings: ArchiveSettings) -> (Self, Transport) {
        (Self { settings, host: host::Host::none() }, Transport::default())
    }

    /// Tells what of the host's apt configuration is not followed.
    pub(crate) fn warn_of_ignored(&self, stage: &Stage<'_>) {
        for setting in &self.host.ignored {
            stage.warned(format!("in this host's apt configuration, {setting}"));
        }
    }

    /// The suites of the base and the recipe's own archives.
    pub(crate) fn of_recipe(&self, recipe: &Recipe, stage: &Stage<'_>) -> Result<Vec<Source>> {
        let base = distribution(recipe.base.as_str())?;
        let archive = recipe.mirror.archive.as_ref().map(ToString::to_string);
        let security = recipe.mirror.security.as_ref().map(ToString::to_string);
        let mut sources = self.of_base(base, archive, security, stage)?;
        for archive in &recipe.archives {
            let keyring = match &archive.key_source {
                Some(file) => Keyring::load(file)?,
                None => keyring_of(base)?,
            };
            sources.extend(archive.suites.iter().map(|suite| Source {
                mirror: archive.mirror.to_string(),
                suite: suite.to_string(),
                components: archive.components.iter().map(ToString::to_string).collect(),
                architecture: "amd64".to_owned(),
                keyring: keyring.clone(),
                pin: archive.pin.map(i32::from),
                check_valid_until: self.host.check_valid_until,
            }));
        }
        Ok(sources)
    }

    /// The suites of a base. The command line's mirror comes first, then the recipe's, then the
    /// distribution's own, then the host's.
    fn of_base(
        &self,
        base: &Distribution,
        archive: Option<String>,
        security: Option<String>,
        stage: &Stage<'_>,
    ) -> Result<Vec<Source>> {
        let keyring = self.keyring()?.map_or_else(|| keyring_of(base), Ok)?;
        let named = self.settings.security_mirror.clone().or(security);
        let mirrors = match (self.settings.mirror.clone().or(archive), default_mirrors(base)) {
            (Some(main), _) => {
                let beside = base.security_is_mirrored.then(|| main.clone());
                Mirrors { security: named.or(beside), main }
            }
            (None, Some(own)) => Mirrors { security: named.or(own.security), ..own },
            (None, None) => self.of_host(base, &keyring, named, stage)?,
        };
        if mirrors.security.is_none() {
            stage.warned("no security archive is named: its updates are left out");
        }
        let mut sources = sources_of(base, &mirrors)?;
        for source in &mut sources {
            source.keyring = keyring.clone();
            source.check_valid_until = self.host.checks_valid_until(&source.mirror);
        }
        Ok(sources)
    }

    /// The archives of the host's apt configuration; `security` instead of the host's, where it is named.
    fn of_host(
        &self,
        base: &Distribution,
        keyring: &Keyring,
        security: Option<String>,
        stage: &Stage<'_>,
    ) -> Result<Mirrors> {
        let main = self.host.debian_mirror(base, keyring)?;
        let security = match security {
            None => self.host.debian_security_mirror(base, keyring)?,
            named => named,
        };
        for fault in &self.host.unread {
            stage.warned(format!("in this host's apt configuration, passed over: {fault}"));
        }
        Ok(Mirrors { main, security })
    }

    /// The keys that the command line names, if it names any.
    fn keyring(&self) -> Result<Option<Keyring>> {
        let keys = self.settings.keys.iter().map(|file| Keyring::load(file));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        Ok(keys.into_iter().reduce(|all, key| all.and(&key)))
    }
}

impl Builder {
    /// Everything that a plan needs to know of the archive.
    pub(crate) fn resolve(&self, recipe: &Recipe, stage: &Stage<'_>) -> Result<Resolved> {
        let sources = self.remote()?.sources.of_recipe(recipe, stage)?;
        let places = self.with_shelf(Places::of(recipe, &sources));
        let asked = asked(recipe)?;
        let mut archive = Archive::open(self, &sources)?;
        let epoch = archive.epoch();
        let mut packages = |tree| archive.packages(&request_for(tree, &asked), &places, stage);
        Ok(Resolved {
            packages: packages(Tree::Image)?,
            tools: packages(Tree::Tools).context("for the tools tree")?,
            machine: packages(Tree::Machine).context("for QEMU")?,
            distribution: distribution(recipe.base.as_str())?,
            epoch,
            ids: Ids::default(),
            locked: None,
        })
    }

    fn with_shelf(&self, places: Places) -> Places {
        places.with_shelf(self.archive.inputs.as_deref())
    }

    /// The packages of QEMU and its firmware alone, from the archive of `base`; from what is kept of it where it cannot
    /// be asked.
    pub(crate) fn resolve_machine(&self, base: Base, stage: &Stage<'_>) -> Result<Packages> {
        let base = distribution(base.as_str())?;
        let sources = self.remote()?.sources.of_base(base, None, None, stage)?;
        let mut archive = match Archive::open(self, &sources) {
            Err(error) if is_unreachable(&error) => {
                // Where nothing is kept, it is the mirror that the user must hear of.
                let kept = Archive::open_kept(self, &sources).map_err(|_| error)?;
                stage.warned("the archive cannot be reached: QEMU is the one that it had last");
                kept
            }
            archive => archive?,
        };
        let places = self.with_shelf(Places::of_base(&sources));
        archive.packages(&closure_of(MACHINE), &places, stage)
    }
}

fn is_unreachable(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(coremax_archive::Error::Fetch { .. }))
}

/// What the trees of a recipe are resolved for.
pub(crate) fn asked(recipe: &Recipe) -> Result<Asked> {
    let loaders = &distribution(recipe.base.as_str())?.loaders;
    let systemd_boot =
        (recipe.root.secure_boot == SecureBoot::Sealed).then_some(loaders.systemd_boot);
    let loaders = [loaders.bios, loaders.uefi, loaders.uefi_signed, loaders.shim];
    let tools = TOOLS.into_iter().chain(loaders).chain(systemd_boot);
    Ok(Asked {
        image: recipe.packages.install.keys().map(ToString::to_string).collect(),
        exclude: recipe.packages.exclude.iter().map(ToString::to_string).collect(),
        recommends: recipe.packages.recommends,
        tools: tools.map(str::to_owned).collect(),
        machine: MACHINE.map(str::to_owned).into(),
        archives: recipe.archives.iter().flat_map(in_words).collect(),
    })
}

/// What of an archive decides which packages it gives; its key is locked as a file is.
fn in_words(archive: &coremax_recipe::Archive) -> impl Iterator<Item = String> {
    let mut components: Vec<_> = archive.components.iter().map(ToString::to_string).collect();
    components.sort();
    let pin = archive.pin.map(|pin| format!(", pin {pin}")).unwrap_or_default();
    let rest = format!("{}{pin}", components.join(" "));
    archive.suites.iter().map(move |suite| format!("{}/{suite}: {rest}", archive.name))
}

/// What the resolver is asked for a tree: for the image everything essential too.
pub(crate) fn request_for(tree: Tree, asked: &Asked) -> Request {
    match tree {
        Tree::Image => Request {
            install: asked.image.iter().cloned().collect(),
            exclude: asked.exclude.iter().cloned().collect(),
            recommends: asked.recommends,
            essential: true,
            architecture: "amd64".to_owned(),
        },
        Tree::Tools => closure_of(&asked.tools),
        Tree::Machine => closure_of(&asked.machine),
    }
}

/// These packages with what they depend on, for a tree that is never configured.
fn closure_of(packages: impl IntoIterator<Item: ToString>) -> Request {
    Request {
        install: packages.into_iter().map(|name| name.to_string()).collect(),
        architecture: "amd64".to_owned(),
        ..Request::default()
    }
}

/// One state of the archive, whose indexes are read when the first resolution is not known yet.
pub(crate) struct Archive<'a> {
    builder: &'a Builder,
    snapshot: Snapshot,
    universe: Option<Universe>,
}

impl<'a> Archive<'a> {
    pub(crate) fn open(builder: &'a Builder, sources: &[Source]) -> Result<Self> {
        let mut freshness = Freshness::default();
        if builder.remote()?.sources.settings.refresh {
            freshness.max_age = std::time::Duration::ZERO;
        }
        Self::open_as(builder, sources, &freshness)
    }

    /// As it was when it was last asked.
    fn open_kept(builder: &'a Builder, sources: &[Source]) -> Result<Self> {
        Self::open_as(builder, sources, &Freshness { offline: true, ..Freshness::default() })
    }

    fn open_as(builder: &'a Builder, sources: &[Source], freshness: &Freshness) -> Result<Self> {
        let snapshot = Snapshot::open(sources, &builder.remote()?.fetcher, freshness)?;
        Ok(Self { builder, snapshot, universe: None })
    }

    /// The date of the base's first suite, which is the release itself: it moves with point
    /// releases, not with every update, and so does what is clamped to it.
    fn epoch(&self) -> u64 {
        let date = self.snapshot.releases().first().map(|release| release.date().as_second());
        date.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0)
    }

    fn packages(
        &mut self,
        request: &Request,
        places: &Places,
        stage: &Stage<'_>,
    ) -> Result<Packages> {
        let kept = self.kept(request);
        let set = match fs::read(&kept).ok().and_then(|json| serde_json::from_slice(&json).ok()) {
            Some(set) => set,
            None => {
                let set = self.solve(request, stage)?;
                // A cache that cannot be written only costs the next build a second.
                let _ = keep(&kept, &set);
                set
            }
        };
        Ok(Packages::new(set, places, &self.builder.inputs))
    }

    fn solve(&mut self, request: &Request, stage: &Stage<'_>) -> Result<PackageSet> {
        let universe = match self.universe.take() {
            Some(universe) => universe,
            None => self.load(stage)?,
        };
        let set = coremax_archive::resolve(&universe.packages, request);
        self.universe = Some(universe);
        Ok(set?)
    }

    pub(crate) fn load(&self, stage: &Stage<'_>) -> Result<Universe> {
        stage.busy_with("reading the package indexes");
        let progress = |bytes| stage.progressed(bytes);
        let fetcher = &self.builder.remote()?.fetcher;
        let universe = self.snapshot.load(fetcher, &progress).context("reading the archive")?;
        for packages in &universe.passed_over {
            stage.warned(format!("packages passed over: {packages}"));
        }
        Ok(universe)
    }

    fn kept(&self, request: &Request) -> PathBuf {
        let print = Fingerprint::new("resolution", REVISION)
            .with("archive", self.snapshot.digest().as_bytes())
            .with_json("request", request)
            .finish();
        self.builder.cache.join("resolved").join(format!("{print}.json"))
    }
}

/// Writes it whole or not at all.
fn keep(path: &std::path::Path, set: &PackageSet) -> Result<()> {
    let folder = path.parent().context("a folder")?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, set)?;
    file.persist(path)?;
    Ok(())
}
