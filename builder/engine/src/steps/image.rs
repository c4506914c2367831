//! The disk: partitions around the file systems, a loader for BIOS and one for UEFI, in every
//! format that is wanted.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use coremax_archive::{Distribution, Loaders};
use coremax_disk::{
    fat,
    gpt::{Layout, Partition},
    grub, qcow2,
};
use coremax_fetch::Digest;
use coremax_node_api::slot::{
    Slot, State, VERSION,
    grub::{Description, SLOT},
};
use coremax_publish::Artefact;
use coremax_recipe::{Format, Recipe, RecipeName, SecureBoot};
use coremax_sandbox::Sandbox;

use serde::Serialize;

use super::{
    disk::{BIOS_PARTITION, Disk, ESP_PARTITION},
    kernel, tools,
    unified::{Parts, Signature},
};
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    identity::Identity,
    plan::IMAGE,
    run::{Outputs, Step},
};

/// Changes when the same parts make another disk.
const REVISION: u32 = 5;
/// What was made, in the step's output.
const MADE: &str = "made.json";
/// Seconds in which another entry of the loader's menu can be chosen.
const TIMEOUT: u32 = 1;
/// What the slot's description is called in the step's output; a plain image has none.
pub(crate) const DESCRIPTION: &str = SLOT;

/// What an image signed by its operator leaves in the step's output: the unified image, and an empty initrd beside it.
pub(crate) const UNIFIED: &str = "unified.efi";
pub(crate) const NO_INITRD: &str = "no-initrd";

/// Bytes of GRUB, shim and a FAT.
const LOADER: u64 = 8 << 20;

/// What the image's root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// An ext4 that the distribution's initramfs mounts.
    Plain,
    /// Layers under dm-verity, in slots.
    Sealed,
}

/// The step that makes the images.
#[derive(Clone)]
pub(crate) struct Image {
    name: RecipeName,
    formats: Vec<Format>,
    kind: Kind,
    base: String,
    loaders: Loaders,
    version: String,
    command_line: Vec<String>,
    secure_boot: SecureBoot,
    signature: Option<Signature>,
    made_of: [Digest; 4],
    holds: u64,
    identity: Identity,
}

impl Image {
    /// The step for a recipe, from steps with the fingerprints `made_of` that make `holds` bytes, at most.
    pub(crate) fn new(
        recipe: &Recipe,
        kind: Kind,
        distribution: &Distribution,
        made_of: [Digest; 4],
        holds: u64,
        identity: Identity,
    ) -> Self {
        Self {
            kind,
            name: recipe.name.clone(),
            formats: recipe.outputs.iter().copied().collect(),
            version: String::new(),
            base: distribution.name.to_owned(),
            loaders: distribution.loaders,
            command_line: recipe.kernel.command_line.iter().map(ToString::to_string).collect(),
            secure_boot: recipe.root.secure_boot,
            signature: None,
            made_of,
            holds,
            identity,
        }
    }

    /// The same step for this version.
    pub(crate) fn of_version(&self, version: &str) -> Self {
        Self { version: version.to_owned(), ..self.clone() }
    }

    /// The same step with what it signs.
    pub(crate) fn signed_by(&self, signature: Signature) -> Self {
        Self { signature: Some(signature), ..self.clone() }
    }

    /// The certificate of what signs them, as DER.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        self.signature.as_ref().map(|signature| signature.certificate.as_slice())
    }

    /// What the images come from, whatever version they are given.
    pub(crate) fn content(&self) -> Digest {
        self.of_version("").fingerprint()
    }

    /// What the step has made.
    pub(crate) fn made(outputs: &Outputs) -> Result<Vec<Artefact>> {
        let path = outputs.path(IMAGE, MADE);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

impl Step for Image {
    fn id(&self) -> &'static str {
        IMAGE
    }

    fn description(&self) -> String {
        "making the disk image".to_owned()
    }

    fn reads(&self) -> Fingerprint {
        let start = Fingerprint::new("image", REVISION)
            .with("name", self.name.as_str())
            .with_json("formats", &self.formats)
            .with_json("kind", &self.kind)
            .with("base", &self.base)
            .with("version", &self.version)
            .with_json("command line", &self.command_line)
            .with_json("secure boot", &self.secure_boot)
            .with_json("identity", &self.identity)
            // Where the distribution's row has the loaders' files, which make the ESP.
            .with("loaders", format!("{:?}", self.loaders))
            // The key is not looked at: what it signs is always the same.
            .with("certificate", self.certificate().unwrap_or_default());
        self.made_of.iter().fold(start, |print, part| print.with_digest("part", part))
    }

    fn needs(&self) -> &[&'static str] {
        &["initrd", "root", "data", "tools"]
    }

    fn room(&self) -> u64 {
        // The disk itself, and every image of it.
        (self.formats.len() as u64 + 1) * (self.holds + LOADER)
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("making the loader", None, Unit::Count);
        let work = out.join("work");
        fs::create_dir(&work)?;
        let esp = work.join("esp.fat");
        let tools = Sandbox::tools(&needed.path("tools", tools::TREE));
        let parts = match self.kind {
            Kind::Plain => Disk::plain(&self.identity, needed)?,
            Kind::Sealed => Disk::sealed(&self.identity, needed)?,
        };
        let files = match (self.kind, self.secure_boot) {
            (_, SecureBoot::Sealed) => self.unified_files(needed, &parts, out)?,
            (Kind::Plain, _) => self.plain_files(&tools, needed, &parts)?,
            (Kind::Sealed, _) => self.slot_files(&tools, needed, &parts)?,
        };
        self.make_esp(files, &esp)?;
        if self.kind == Kind::Sealed {
            fs::write(out.join(DESCRIPTION), self.description(&parts).encode()?)?;
        }
        let disk = work.join("disk.raw");
        self.make_disk(&tools, parts.with_esp(&self.identity, esp, self.boots_by_bios())?, &disk)?;
        let made = self.formats.iter().map(|format| self.write(*format, &disk, out, stage));
        let made: Vec<_> = made.collect::<Result<_>>()?;
        crate::store::remove(&work)?;
        fs::write(out.join(MADE), serde_json::to_vec_pretty(&made)?)?;
        let each: Vec<_> =
            made.iter().map(|image| format!("{}, {} MiB", image.name, image.size >> 20)).collect();
        Ok(each.join("; "))
    }
}

impl Image {
    /// The ESP with loader, kernel and initrd.
    fn make_esp(&self, files: Vec<fat::File>, image: &Path) -> Result<()> {
        let [a, b, c, d, ..] = *self.identity.of("ESP volume").as_bytes();
        let volume = fat::Volume {
            label: "ESP".to_owned(),
            id: u32::from_be_bytes([a, b, c, d]),
            size: fat::DEFAULT_SIZE,
            files,
        };
        Ok(fat::make(&volume, image, &|_| ())?)
    }

    /// One kernel, started by its own entry of GRUB's menu.
    fn plain_files(
        &self,
        tools: &Sandbox,
        needed: &Outputs,
        parts: &Disk,
    ) -> Result<Vec<fat::File>> {
        let [kernel, initrd] = [kernel::KERNEL, kernel::INITRD];
        let config = grub::config::render(&grub::config::Config {
            timeout: TIMEOUT,
            entries: vec![grub::config::Entry {
                title: self.title(),
                kernel: format!("/{kernel}"),
                initrd: Some(format!("/{initrd}")),
                command_line: self.arguments(parts),
            }],
        })?;
        let mut files = self.loader(tools, &config)?;
        files.extend(
            [kernel, initrd].map(|name| fat::File::copy(name, needed.path("initrd", name))),
        );
        Ok(files)
    }

    /// Slot a, blessed, and the state by which GRUB chooses a slot.
    fn slot_files(
        &self,
        tools: &Sandbox,
        needed: &Outputs,
        parts: &Disk,
    ) -> Result<Vec<fat::File>> {
        let (command_line, description) = (self.arguments(parts), self.description(parts));
        let [kernel, initrd] = [kernel::KERNEL, kernel::INITRD]
            .map(|name| fat::Content::Path(needed.path("initrd", name)));
        let config = grub::slots::render(&grub::slots::Config { timeout: TIMEOUT, command_line });
        let mut files = self.loader(tools, &config)?;
        files.extend(grub::slots::state_files(&State::NEW));
        files.extend(grub::slots::slot_files(Slot::A, &description, kernel, initrd)?);
        Ok(files)
    }

    /// Slot a with one signed image, which is kept for an update too.
    fn unified_files(&self, needed: &Outputs, parts: &Disk, out: &Path) -> Result<Vec<fat::File>> {
        let signature =
            self.signature.as_ref().context("there is no key to sign the image with")?;
        let tools = needed.path("tools", tools::TREE);
        let [kernel, initrd] =
            [kernel::KERNEL, kernel::INITRD].map(|name| needed.path("initrd", name));
        let description = self.description(parts);
        let parts =
            Parts { tools: &tools, kernel: &kernel, initrd: &initrd, description: &description };
        let image = signature.image(&parts)?;
        fs::write(out.join(UNIFIED), &image)?;
        fs::write(out.join(NO_INITRD), "")?;
        signature.files(&tools, TIMEOUT, image, &description)
    }

    /// What UEFI firmware starts, with the configuration that a BIOS's GRUB reads too.
    fn loader(&self, tools: &Sandbox, config: &str) -> Result<Vec<fat::File>> {
        Ok(match self.secure_boot {
            SecureBoot::Shim => grub::efi::signed(tools, &self.signed_files(), config)?,
            SecureBoot::Sealed | SecureBoot::Off => grub::efi::unsigned(tools, config)?,
        })
    }

    /// Where the distribution has what it signed.
    fn signed_files(&self) -> grub::efi::Signed<'static> {
        let Loaders { shim_files, grub_files, manager_files, efi_folder, .. } = self.loaders;
        let (shim, grub, manager) = (shim_files, grub_files, manager_files);
        grub::efi::Signed { shim, grub, manager, folder: efi_folder }
    }

    fn boots_by_bios(&self) -> bool {
        self.secure_boot != SecureBoot::Sealed
    }

    /// What the loader is told of the slot that this version is in.
    fn description(&self, parts: &Disk) -> Description {
        Description {
            title: self.title(),
            version: self.version.clone(),
            command_line: self.arguments(parts).join(" "),
        }
    }

    fn title(&self) -> String {
        format!("{} {} ({})", self.name, self.version, self.base)
    }

    /// The kernel's arguments.
    fn arguments(&self, parts: &Disk) -> Vec<String> {
        let version = (self.kind == Kind::Sealed).then(|| format!("{VERSION}={}", self.version));
        [&parts.root[..], version.as_slice(), &self.command_line].concat()
    }

    /// The whole disk, with GRUB for BIOS installed in it where a BIOS may start it.
    fn make_disk(&self, tools: &Sandbox, partitions: Vec<Partition>, disk: &Path) -> Result<()> {
        let layout = Layout { disk_guid: self.identity.of("disk"), partitions };
        let placement = layout.write(disk, &|_| ())?;
        if !self.boots_by_bios() {
            return Ok(());
        }
        let images = grub::bios::images(tools, ESP_PARTITION)?;
        Ok(grub::bios::install(&images, disk, placement.partitions[BIOS_PARTITION - 1])?)
    }

    /// One image of the disk, in one format.
    fn write(
        &self,
        format: Format,
        disk: &Path,
        out: &Path,
        stage: &Stage<'_>,
    ) -> Result<Artefact> {
        let name = format!("{}.{format}", self.name);
        let path = out.join(&name);
        let virtual_size = fs::metadata(disk)?.len();
        stage.started(format!("writing {name}"), Some(coremax_disk::data(disk)?.0), Unit::Bytes);
        let progress = |bytes| stage.progressed(bytes);
        match format {
            Format::Qcow2 => {
                qcow2::write(disk, &path, &qcow2::Options::default(), &progress)?;
            }
            Format::Raw => coremax_disk::copy_file(disk, &path, &progress)?,
        }
        let (sha256, size) = Digest::of_reader(fs::File::open(&path)?)?;
        Ok(Artefact { name, format: format.to_string(), size, sha256, virtual_size })
    }
}
