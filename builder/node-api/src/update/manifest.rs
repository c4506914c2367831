//! What an update is, and whether a node can take it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BOOT_FILE_MAX, Digest, Error, LAYER_BLOCK, LAYER_MAX, MANIFEST_MAX, UPDATER, Version};
use crate::{env, slot::Loader};

/// The longest text in a manifest, in bytes. Set by this format.
const TEXT_MAX: usize = 200;

/// What an update is. A field that is not known is refused: what adds one raises `updater`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The [`UPDATER`] that it takes to understand this manifest.
    pub updater: u32,
    /// The name of the recipe.
    pub recipe: String,
    /// The version of the image.
    pub version: Version,
    /// The distribution: `debian-12`.
    pub base: String,
    /// When it was made, as RFC 3339 writes it. For people: nothing compares it.
    pub created: String,
    /// The root hash of the verity tree over both layers.
    pub root_hash: Digest,
    /// One of each [`Kind`], in their order.
    pub parts: Vec<Part>,
}

/// A part of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Its length, in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Whether it is in the file. A layer that is not must be in the node's running slot.
    pub carried: bool,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The kernel.
    Kernel,
    /// The initrd.
    Initrd,
    /// The block that tells the loader about the slot ([`crate::slot::grub::Description`]).
    Description,
    /// The layer of packages, at the beginning of the root partition.
    System,
    /// The layer of what the recipe adds, behind it.
    Site,
    /// The verity tree, at the beginning of its partition.
    Verity,
}

/// What must be known of a node to say whether it can take an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The recipe of the running image.
    pub recipe: String,
    /// Its version.
    pub version: Version,
    /// What starts its slots.
    pub loader: Loader,
    /// The room in the slot to be written.
    pub room: Room,
}

/// The room in a slot, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The root partition.
    pub root: u64,
    /// The verity partition.
    pub verity: u64,
    /// What kernel, initrd and description may take of the ESP.
    pub boot: u64,
}

impl Manifest {
    /// Reads a manifest. Never panics.
    ///
    /// # Errors
    /// [`Error::ManifestTooLong`], [`Error::NewerUpdater`], [`Error::Malformed`] and
    /// [`Error::Nonsense`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MANIFEST_MAX {
            return Err(Error::ManifestTooLong { length: bytes.len() });
        }
        /// The one field that every manifest has, in whatever version.
        #[derive(Deserialize)]
        struct Any {
            updater: u32,
        }
        let needed = serde_json::from_slice::<Any>(bytes).map_err(Error::Malformed)?.updater;
        if needed > UPDATER {
            return Err(Error::NewerUpdater { needed });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(Error::Malformed)?;
        manifest.check_itself()?;
        Ok(manifest)
    }

    /// Its bytes: JSON on one line.
    ///
    /// # Errors
    /// What [`Manifest::parse`] would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let bytes = serde_json::to_vec(self).map_err(Error::Malformed)?;
        Self::parse(&bytes)?;
        Ok(bytes)
    }

    /// Whether `node` can take this.
    ///
    /// # Errors
    /// [`Error::OtherRecipe`], [`Error::Older`], [`Error::OtherLoader`], [`Error::TooLarge`].
    pub fn check(&self, node: &Node) -> Result<(), Error> {
        if self.recipe != node.recipe {
            return Err(Error::OtherRecipe {
                theirs: self.recipe.clone(),
                ours: node.recipe.clone(),
            });
        }
        if self.version <= node.version {
            let (theirs, running) = (self.version.clone(), node.version.clone());
            return Err(Error::Older { theirs, running });
        }
        if self.loader() != node.loader {
            return Err(Error::OtherLoader { theirs: self.loader() });
        }
        let Room { root, verity, boot } = node.room;
        let boot_files = [Kind::Kernel, Kind::Initrd, Kind::Description];
        for (what, kinds, room) in [
            ("root", &[Kind::System, Kind::Site][..], root),
            ("verity tree", &[Kind::Verity], verity),
            ("kernel and initrd", &boot_files, boot),
        ] {
            let needed = kinds.iter().map(|kind| self.part(*kind).size).sum();
            if needed > room {
                return Err(Error::TooLarge { what, needed, room });
            }
        }
        Ok(())
    }

    /// What can start it: only a unified kernel image has no initrd beside it, and only systemd-boot starts one.
    pub fn loader(&self) -> Loader {
        match self.part(Kind::Initrd).size {
            0 => Loader::SystemdBoot,
            _ => Loader::Grub,
        }
    }

    /// The part of this kind: every manifest that was parsed has one.
    pub fn part(&self, kind: Kind) -> Part {
        let absent = Part { kind, size: 0, sha256: Digest::of([]), carried: false };
        self.parts.iter().find(|part| part.kind == kind).copied().unwrap_or(absent)
    }

    fn check_itself(&self) -> Result<(), Error> {
        for (name, text) in
            [("recipe", &self.recipe), ("base", &self.base), ("created", &self.created)]
        {
            if text.is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
                return nonsense(format!("its {name} is empty, too long or no text"));
            }
        }
        if !self.parts.iter().map(|part| part.kind).eq(Kind::ALL) {
            return nonsense("its parts are not the six that every update has, in order".into());
        }
        self.parts.iter().try_for_each(Part::check_itself)
    }
}

impl Part {
    fn check_itself(&self) -> Result<(), Error> {
        let Self { kind, size, carried, .. } = *self;
        let max = match kind {
            Kind::Kernel | Kind::Initrd => BOOT_FILE_MAX,
            Kind::Description => env::LONGEST as u64,
            Kind::System | Kind::Site | Kind::Verity => LAYER_MAX,
        };
        // A unified kernel image, which is started as a kernel is, has its initrd in itself.
        let min = u64::from(kind != Kind::Initrd);
        if size < min || size > max {
            return nonsense(format!(
                "its {kind} has {size} bytes, where {min} to {max} are allowed"
            ));
        }
        let is_layer = matches!(kind, Kind::System | Kind::Site);
        if (is_layer || kind == Kind::Verity) && !size.is_multiple_of(LAYER_BLOCK) {
            return nonsense(format!("its {kind} has {size} bytes, no multiple of {LAYER_BLOCK}"));
        }
        if !carried && !is_layer {
            return nonsense(format!("it does not carry its {kind}"));
        }
        Ok(())
    }
}

fn nonsense(why: String) -> Result<(), Error> {
    Err(Error::Nonsense { why })
}

impl Kind {
    /// All of them, in the order in which they lie in a file.
    pub const ALL: [Self; 6] =
        [Self::Kernel, Self::Initrd, Self::Description, Self::System, Self::Site, Self::Verity];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Description => "slot's description",
            Self::System => "system layer",
            Self::Site => "site layer",
            Self::Verity => "verity tree",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
