//! The update file of a build: kernel, initrd, both layers and their hashes, signed.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use coremax_fetch as fetch;
use coremax_node_api::update::{
    self, Digest, Hasher, Kind, Manifest, UPDATER,
    key::{KeyId, SecretKey},
};
use coremax_publish::Update;

use crate::{
    plan::{IMAGE, Plan},
    run::Outputs,
    steps::{
        Sealed,
        image::{DESCRIPTION, NO_INITRD, UNIFIED},
        kernel, layer, root,
    },
};

/// The steps that an update is made from, beside the one that makes the image.
pub(crate) const STEPS: [&str; 4] = ["initrd", "seal-system", "seal-site", "root"];

/// What the update of this recipe is called.
pub(crate) fn name(plan: &Plan) -> String {
    format!("{}.{}", plan.recipe.name, update::EXTENSION)
}

/// Writes the update to this version into `folder`.
pub(crate) fn write(
    plan: &Plan,
    outputs: &Outputs,
    version: &str,
    key: &SecretKey,
    folder: &Path,
) -> Result<Update> {
    let manifest = manifest(plan, outputs, version)?;
    let name = name(plan);
    let path = folder.join(&name);
    let made = || -> Result<(fetch::Digest, u64)> {
        let mut to = Hashed { file: File::create(&path)?, hasher: fetch::Hasher::default() };
        to.write_all(&update::head(&manifest, key)?)?;
        for part in &manifest.parts {
            // Read again and hashed again: what was signed is what is written.
            part.copy(File::open(source(outputs, part.kind))?, &mut to)?;
        }
        Ok(to.hasher.finish())
    };
    let (sha256, size) = made().with_context(|| format!("writing {}", path.display()))?;
    Ok(Update { name, size, sha256, key: id(key).to_string() })
}

/// By which a node, and a manifest, names the key.
pub(crate) fn id(key: &SecretKey) -> KeyId {
    key.public().id()
}

fn manifest(plan: &Plan, outputs: &Outputs, version: &str) -> Result<Manifest> {
    let part = |kind| -> Result<update::Part> {
        let path = source(outputs, kind);
        let (sha256, size) =
            digest(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(update::Part { kind, size, sha256, carried: true })
    };
    let created = jiff::Timestamp::from_second(i64::try_from(plan.epoch)?)?;
    Ok(Manifest {
        updater: UPDATER,
        recipe: plan.recipe.name.to_string(),
        version: version.parse()?,
        base: plan.recipe.base.to_string(),
        created: created.to_string(),
        root_hash: Digest::from_bytes(*Sealed::load(outputs)?.hash.as_bytes()),
        parts: Kind::ALL.into_iter().map(part).collect::<Result<_>>()?,
    })
}

fn digest(path: &Path) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    let length = io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok((hasher.finish(), length))
}

/// Where a part lies, whole. Where one image is all that boots, it is the kernel, and the initrd is empty.
fn source(outputs: &Outputs, kind: Kind) -> PathBuf {
    let is_unified = outputs.path(IMAGE, UNIFIED).exists();
    let (step, name) = match kind {
        Kind::Kernel if is_unified => (IMAGE, UNIFIED),
        Kind::Initrd if is_unified => (IMAGE, NO_INITRD),
        Kind::Kernel => ("initrd", kernel::KERNEL),
        Kind::Initrd => ("initrd", kernel::INITRD),
        Kind::Description => (IMAGE, DESCRIPTION),
        Kind::System => ("seal-system", layer::IMAGE),
        Kind::Site => ("seal-site", layer::IMAGE),
        Kind::Verity => ("root", root::TREE),
    };
    outputs.path(step, name)
}

/// A file, with the digest of what goes into it.
struct Hashed {
    file: File,
    hasher: fetch::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
