//! A layer of the sealed root: a tree as squashfs, and the digests of its blocks.
//!
//! The system layer and the site layer are sealed apart, so that a changed overlay file seals a few
//! megabytes again and no more.

use std::path::{Path, PathBuf};

use anyhow::Result;
use coremax_disk::{
    Bytes,
    squashfs::{self, Squashfs},
    verity,
};
use coremax_fetch::Digest;
use coremax_recipe::Compression;
use coremax_rootfs::read_at_boot;
use coremax_sandbox::Sandbox;

use super::{modules, site, system, tools};
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    identity::Identity,
    run::{Outputs, Step},
};

/// Changes when the same tree makes another file.
const REVISION: u32 = 6;
/// The files in the step's output.
pub(crate) const IMAGE: &str = "layer.squashfs";
pub(crate) const LEAVES: &str = "leaves";
/// zstd's level, and what it compresses at once, for every day: it takes a thirtieth of the time of the other. The
/// largest pieces that there are make the smallest file.
const FAST: (i32, Bytes) = (5, Bytes(1 << 20));
/// For what is released: a sixth smaller. Higher levels gain nothing more.
const SMALL: (i32, Bytes) = (19, Bytes(1 << 20));
/// What lies on the ESP, or in a file system of its own when the machine runs.
const LEFT_OUT: [&str; 1] = ["boot"];

/// Which layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The packages, configured.
    System,
    /// What the recipe lays over them.
    Site,
}

/// The step that seals a layer.
pub(crate) struct Layer {
    /// Which layer.
    pub(crate) which: Which,
    /// Fingerprint of the step that makes its tree.
    pub(crate) tree: Digest,
    /// Fingerprint of the tools tree.
    pub(crate) tools: Digest,
    /// How hard it is compressed.
    pub(crate) compression: Compression,
    /// The time it was made at, in seconds since 1970.
    pub(crate) epoch: u64,
    /// What the hashes of its blocks begin with.
    pub(crate) identity: Identity,
    /// Bytes that its tree takes, at most.
    pub(crate) unpacked: u64,
}

impl Step for Layer {
    fn id(&self) -> &'static str {
        match self.which {
            Which::System => "seal-system",
            Which::Site => "seal-site",
        }
    }

    fn description(&self) -> String {
        match self.which {
            Which::System => "sealing the system layer".to_owned(),
            Which::Site => "sealing the site layer".to_owned(),
        }
    }

    fn reads(&self) -> Fingerprint {
        Fingerprint::new(self.id(), REVISION)
            .with_digest("tree", &self.tree)
            .with_digest("tools", &self.tools)
            .with_json("compression", &self.compression)
            .with("epoch", self.epoch.to_string())
            .with_json("salt", &self.identity)
    }

    fn needs(&self) -> &[&'static str] {
        match self.which {
            Which::System => &["system", "tools"],
            Which::Site => &["site", "tools"],
        }
    }

    fn room(&self) -> u64 {
        match self.which {
            Which::System => self.unpacked / 2,
            // It may hold what is compressed already.
            Which::Site => self.unpacked,
        }
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("running mksquashfs", None, Unit::Count);
        let source = match self.which {
            Which::System => needed.path("system", system::TREE),
            Which::Site => needed.path("site", site::LAYER),
        };
        let tools = Sandbox::tools(&needed.path("tools", tools::TREE));
        let image = out.join(IMAGE);
        let volume = Squashfs { single: self.read_at_boot(&source)?, ..self.squashfs() };
        let size = squashfs::make(&tools.bind_ro(&source), &volume, &source, &image)?;
        verity::leaves(&self.identity.salt()?, &image, &out.join(LEAVES), &|_| ())?;
        Ok(format!("{} layer, {} MiB", self.id().trim_start_matches("seal-"), size.0 >> 20))
    }
}

impl Layer {
    /// What a boot finds without unpacking its neighbours: of the packages, most of which no boot reads.
    fn read_at_boot(&self, tree: &Path) -> Result<Vec<PathBuf>> {
        if self.which == Which::Site {
            return Ok(Vec::new());
        }
        let mut files = read_at_boot(tree)?;
        files.extend(modules::read_at_boot(tree)?);
        Ok(files)
    }

    fn squashfs(&self) -> Squashfs {
        let (level, block) = match self.compression {
            Compression::Fast => FAST,
            Compression::Small => SMALL,
        };
        Squashfs {
            compression: squashfs::Compression::Zstd { level },
            block,
            emptied: LEFT_OUT.map(PathBuf::from).into(),
            ..Squashfs::new(self.epoch)
        }
    }
}
