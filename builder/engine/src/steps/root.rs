//! The sealed root: both layers, one after the other, and the dm-verity tree over them.
//!
//! ```text
//! root-a          system.squashfs | site.squashfs | zeros     each layer begins at a multiple of 4 KiB
//! root-a-verity   superblock | levels of hashes, the topmost first
//! ```

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use coremax_disk::{
    Bytes,
    verity::{self, RootHash, Verity},
};
use coremax_fetch::Digest;
use serde::{Deserialize, Serialize};

use super::layer;
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    identity::Identity,
    run::{Outputs, Step},
};

/// Changes when the same layers make another root.
const REVISION: u32 = 1;
/// The files in the step's output.
pub(crate) const LAYERS: &str = "layers.img";
pub(crate) const TREE: &str = "verity.img";
const SEALED: &str = "sealed.json";
/// The layers in their order.
const STEPS: [&str; 2] = ["seal-system", "seal-site"];

/// What came of sealing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// What the whole root is known by.
    pub(crate) hash: RootHash,
    /// Bytes that the layers take.
    pub(crate) used: Bytes,
    /// The size of each slot's root partition.
    pub(crate) slot_size: Bytes,
    /// The size of each slot's verity partition.
    pub(crate) tree_size: Bytes,
}

impl Sealed {
    /// What the step has left.
    pub(crate) fn load(outputs: &Outputs) -> Result<Self> {
        let path = outputs.path("root", SEALED);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// The step that seals the root.
pub(crate) struct Root {
    /// Fingerprints of the steps that seal the layers.
    pub(crate) layers: [Digest; 2],
    /// The size of a slot; if none, twice what the layers take.
    pub(crate) size: Option<Bytes>,
    /// Bytes that the layers take, at most.
    pub(crate) sealed: u64,
    /// Its UUID and salt.
    pub(crate) identity: Identity,
}

impl Step for Root {
    fn id(&self) -> &'static str {
        "root"
    }

    fn description(&self) -> String {
        "sealing the root".to_owned()
    }

    fn reads(&self) -> Fingerprint {
        let start = Fingerprint::new("sealed root", REVISION)
            .with_json("size", &self.size.map(|size| size.0))
            .with_json("identity", &self.identity);
        self.layers.iter().fold(start, |print, layer| print.with_digest("layer", layer))
    }

    fn needs(&self) -> &[&'static str] {
        &STEPS
    }

    fn room(&self) -> u64 {
        // A digest of 32 bytes for each 4 KiB, and digests of those.
        self.sealed + self.sealed / 64
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("hashing", None, Unit::Count);
        let used = join(needed, &out.join(LAYERS))?;
        let slot_size = self.slot_size(used)?;
        let leaves = STEPS.map(|step| needed.path(step, layer::LEAVES));
        let verity = Verity { uuid: self.identity.of("verity"), salt: self.identity.salt()? };
        let made =
            verity::build(&verity, &leaves.each_ref().map(PathBuf::as_path), &out.join(TREE))?;
        let tree_size = verity::length(slot_size);
        let sealed = Sealed { hash: made.hash, used, slot_size, tree_size };
        fs::write(out.join(SEALED), serde_json::to_vec_pretty(&sealed)?)?;
        Ok(format!("root of {} MiB in slots of {} MiB", used.0 >> 20, slot_size.0 >> 20))
    }
}

impl Root {
    fn slot_size(&self, used: Bytes) -> Result<Bytes> {
        match self.size {
            Some(size) if size < used => {
                bail!("{size} is too small for the root, which takes {used}; see [root] size")
            }
            Some(size) => Ok(size),
            None => Ok(Bytes((used.0 * 2).next_multiple_of(1 << 20))),
        }
    }
}

/// Writes the layers one after the other. Each is a whole number of 4 KiB blocks already.
fn join(needed: &Outputs, to: &Path) -> Result<Bytes> {
    let mut joined = File::create(to).with_context(|| format!("making {}", to.display()))?;
    let mut length = 0;
    for step in STEPS {
        let path = needed.path(step, layer::IMAGE);
        let mut layer = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        length += io::copy(&mut layer, &mut joined).context("joining the layers")?;
    }
    Ok(Bytes(length))
}
