//! An ext4 file system of the image: what the layers have at `/` without /var, or in /var; or none
//! of it, for a sealed image fills its data partition at first boot.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use coremax_disk::{
    Bytes,
    ext4::{self, Content, Ext4},
};
use coremax_fetch::Digest;
use coremax_sandbox::Sandbox;

use super::{layers, tools};
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    identity::Identity,
    run::{Outputs, Step},
};

/// Changes when the same layers make another file.
const REVISION: u32 = 3;
/// The file in the step's output.
pub(crate) const IMAGE: &str = "image.ext4";
/// What the data file system has if the recipe names no size. Free space costs nothing in a qcow2.
const DATA_SIZE: Bytes = Bytes::gib(4);

/// Bytes that a file system with nothing in it takes.
const METADATA: u64 = 4 << 20;

/// Which part of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but /var.
    Root,
    /// /var, which is all that grows.
    Data,
    /// Nothing, on the partition for data.
    Empty,
}

/// The step that makes a file system.
pub(crate) struct Filesystem {
    /// Of which part of the tree.
    pub(crate) part: Part,
    /// Fingerprint of the site layer, and so of the system layer; none where nothing is read.
    pub(crate) site: Option<Digest>,
    /// Fingerprint of the tools tree.
    pub(crate) tools: Digest,
    /// Its size; if none, twice what the root holds, or [`DATA_SIZE`].
    pub(crate) size: Option<Bytes>,
    /// The time it was made at, in seconds since 1970.
    pub(crate) epoch: u64,
    /// Its UUIDs.
    pub(crate) identity: Identity,
    /// Bytes that the packages take unpacked, a bound for its content.
    pub(crate) unpacked: u64,
}

impl Step for Filesystem {
    fn id(&self) -> &'static str {
        match self.part {
            Part::Root => "root",
            Part::Data | Part::Empty => "data",
        }
    }

    fn description(&self) -> String {
        format!("making the {} file system", self.id())
    }

    fn reads(&self) -> Fingerprint {
        Fingerprint::new(self.id(), REVISION)
            .with_json("site", &self.site)
            .with_digest("tools", &self.tools)
            .with_json("size", &self.size.map(|size| size.0))
            .with("epoch", self.epoch.to_string())
            .with_json("identity", &self.identity)
    }

    fn needs(&self) -> &[&'static str] {
        match self.part {
            Part::Root | Part::Data => &["system", "site", "tools"],
            Part::Empty => &["tools"],
        }
    }

    fn room(&self) -> u64 {
        match self.part {
            Part::Root | Part::Data => self.unpacked,
            Part::Empty => METADATA,
        }
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("running mke2fs", None, Unit::Count);
        let scratch = out.join("scratch");
        let tools = Sandbox::tools(&needed.path("tools", tools::TREE));
        let merged = match self.part {
            Part::Root => Some(layers::without_var(needed, &scratch)?),
            Part::Data => Some(layers::merged(needed, &scratch)?),
            Part::Empty => None,
        };
        let source = match (&merged, self.part) {
            (Some(merged), Part::Data) => merged.path().join("var"),
            (Some(merged), _) => merged.path().to_owned(),
            (None, _) => self.empty(&scratch)?,
        };
        let size = self.make(&tools, &source, &out.join(IMAGE))?;
        drop(merged);
        crate::store::remove(&scratch)?;
        Ok(format!("{} file system of {} MiB", self.id(), size.0 >> 20))
    }
}

impl Filesystem {
    /// A folder with nothing in it, of the image's time.
    fn empty(&self, scratch: &Path) -> Result<PathBuf> {
        let folder = scratch.join("empty");
        fs::create_dir_all(&folder)?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.epoch);
        fs::File::open(&folder)?.set_modified(time)?;
        Ok(folder)
    }

    fn make(&self, tools: &Sandbox, source: &Path, image: &Path) -> Result<Bytes> {
        let content = Content::of(source)?;
        let least = content.minimum();
        let size = self.size.unwrap_or(match self.part {
            Part::Root => Bytes(least.0 * 2),
            Part::Data | Part::Empty => DATA_SIZE.max(least),
        });
        if size < least {
            bail!("{} is too small for the {} file system: it needs {least}", size, self.id());
        }
        let volume = Ext4 {
            label: self.id().to_owned(),
            uuid: self.identity.of(&format!("{} file system", self.id())),
            hash_seed: self.identity.of(&format!("{} hash seed", self.id())),
            size,
            epoch: self.epoch,
        };
        ext4::make(&tools.clone().bind_ro(source), &volume, source, &content, image)?;
        Ok(size)
    }
}
