//! The disk: partitions around the file systems, a loader for BIOS and one for UEFI, in every
//! format that is wanted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use coremax_archive::Distribution;
use coremax_disk::{
    Bytes, fat,
    gpt::{Attributes, Layout, Partition, Type},
    grub, qcow2,
};
use coremax_fetch::Digest;
use coremax_publish::Artefact;
use coremax_recipe::{Format, Recipe, RecipeName};
use coremax_sandbox::Sandbox;

use super::{filesystem, initrd, tools};
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    identity::Identity,
    plan::IMAGE,
    run::{Outputs, Step},
};

/// Changes when the same parts make another disk.
const REVISION: u32 = 2;
/// What was made, in the step's output.
const MADE: &str = "made.json";
/// The folder of the ESP with the kernel that boots: one a slot.
const SLOT: &str = "a";
/// Names that the partitions' UUIDs are made of.
pub(crate) const ROOT_PARTITION: &str = "root partition";
pub(crate) const DATA_PARTITION: &str = "data partition";
/// The places of partitions, from 1.
const BIOS_PARTITION: usize = 1;
const ESP_PARTITION: u32 = 2;
/// Room for GRUB's core image, which takes some 100 KiB.
const BIOS_SIZE: Bytes = Bytes::mib(1);

/// The step that makes the images.
pub(crate) struct Image {
    name: RecipeName,
    formats: Vec<Format>,
    title: String,
    command_line: Vec<String>,
    made_of: [Digest; 4],
    identity: Identity,
}

impl Image {
    /// The step for a recipe, from steps with the fingerprints `made_of`.
    pub(crate) fn new(
        recipe: &Recipe,
        distribution: &Distribution,
        made_of: [Digest; 4],
        identity: Identity,
    ) -> Self {
        let root = format!("root=PARTUUID={}", identity.of(ROOT_PARTITION));
        let arguments = recipe.kernel.command_line.iter().map(ToString::to_string);
        Self {
            name: recipe.name.clone(),
            formats: recipe.outputs.iter().copied().collect(),
            title: format!("{} ({})", recipe.name, distribution.name),
            command_line: [root, "ro".to_owned()].into_iter().chain(arguments).collect(),
            made_of,
            identity,
        }
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

    fn fingerprint(&self) -> Digest {
        let start = Fingerprint::new("image", REVISION)
            .with("name", self.name.as_str())
            .with_json("formats", &self.formats)
            .with("title", &self.title)
            .with_json("command line", &self.command_line)
            .with_json("identity", &self.identity);
        self.made_of.iter().fold(start, |print, part| print.with("part", part.as_bytes())).finish()
    }

    fn needs(&self) -> &[&'static str] {
        &["initrd", "root", "data", "tools"]
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("making the loader", None, Unit::Count);
        let work = out.join("work");
        fs::create_dir(&work)?;
        let esp = work.join("esp.fat");
        let tools = Sandbox::tools(&needed.path("tools", tools::TREE));
        self.make_esp(&tools, needed, &esp)?;
        let disk = work.join("disk.raw");
        self.make_disk(&tools, needed, &esp, &disk)?;
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
    fn make_esp(&self, tools: &Sandbox, needed: &Outputs, image: &Path) -> Result<()> {
        let [kernel, initrd] =
            [initrd::KERNEL, initrd::INITRD].map(|name| (format!("{SLOT}/{name}"), name));
        let config = grub::config::render(&grub::config::Config {
            timeout: 1,
            entries: vec![grub::config::Entry {
                title: self.title.clone(),
                kernel: format!("/{}", kernel.0),
                initrd: Some(format!("/{}", initrd.0)),
                command_line: self.command_line.clone(),
            }],
        })?;
        let mut files = grub::efi::signed(tools, &config)?;
        for (path, name) in [kernel, initrd] {
            files.push(fat::File::copy(path, needed.path("initrd", name)));
        }
        let [a, b, c, d, ..] = *self.identity.of("ESP volume").as_bytes();
        let volume = fat::Volume {
            label: "ESP".to_owned(),
            id: u32::from_be_bytes([a, b, c, d]),
            size: fat::DEFAULT_SIZE,
            files,
        };
        Ok(fat::make(&volume, image, &|_| ())?)
    }

    /// The whole disk, with GRUB for BIOS installed in it.
    fn make_disk(&self, tools: &Sandbox, needed: &Outputs, esp: &Path, disk: &Path) -> Result<()> {
        let layout = self.layout(needed, esp)?;
        let placement = layout.write(disk, &|_| ())?;
        let images = grub::bios::images(tools, ESP_PARTITION)?;
        Ok(grub::bios::install(&images, disk, placement.partitions[BIOS_PARTITION - 1])?)
    }

    fn layout(&self, needed: &Outputs, esp: &Path) -> Result<Layout> {
        let partition = |name: &str, kind, guid: &str, content: Option<PathBuf>| {
            let size = match &content {
                Some(path) => Bytes(fs::metadata(path)?.len()),
                None => BIOS_SIZE,
            };
            anyhow::Ok(Partition {
                name: name.to_owned(),
                kind,
                guid: self.identity.of(guid),
                attributes: Attributes::default(),
                size,
                content,
            })
        };
        let filesystem = |step| Some(needed.path(step, filesystem::IMAGE));
        Ok(Layout {
            disk_guid: self.identity.of("disk"),
            partitions: vec![
                partition("bios", Type::BiosBoot, "BIOS boot partition", None)?,
                partition("esp", Type::Esp, "ESP", Some(esp.to_owned()))?,
                partition("root-a", Type::RootX86_64, ROOT_PARTITION, filesystem("root"))?,
                partition("data", Type::LinuxGeneric, DATA_PARTITION, filesystem("data"))?,
            ],
        })
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
