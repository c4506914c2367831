//! Why an update is refused.

use std::io;

use super::{FORMAT, Kind, MANIFEST_MAX, UPDATER, Version, key::KeyId};
use crate::slot::Loader;

/// An update that is refused, or could not be read or written to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin as an update file does.
    #[error("this is not an update file")]
    NotAnUpdate,
    /// It is of a version of the format that this program does not read.
    #[error("the update is of format {theirs}, and this program reads format {FORMAT}")]
    OtherFormat {
        /// The update's.
        theirs: u32,
    },
    /// It asks for an updater that can do more.
    #[error(
        "the update needs an updater of version {needed}, and this one is of version {UPDATER}"
    )]
    NewerUpdater {
        /// What it asks for.
        needed: u32,
    },
    /// It bears no signature.
    #[error("the update is not signed")]
    Unsigned,
    /// It is signed with a key that this node does not know.
    #[error("the update is signed with key {id}, which is none of this node's")]
    UnknownKey {
        /// The key.
        id: KeyId,
    },
    /// Its signature is not that of the key it names: it was changed, or never signed with it.
    #[error("the signature of the update does not hold: it was damaged or changed")]
    BadSignature,
    /// Its manifest is longer than any is.
    #[error("the update's manifest has {length} bytes, where {MANIFEST_MAX} are allowed")]
    ManifestTooLong {
        /// What the header says, in bytes.
        length: usize,
    },
    /// Its manifest is signed and yet not of the documented form.
    #[error("reading the update's manifest")]
    Malformed(#[source] serde_json::Error),
    /// Something in its manifest cannot be.
    #[error("the update's manifest cannot be used: {why}")]
    Nonsense {
        /// What.
        why: String,
    },
    /// It is not newer than what runs.
    #[error("the update is of version {theirs}, and version {running}, which runs, is no older")]
    Older {
        /// The update's.
        theirs: Version,
        /// The running one's.
        running: Version,
    },
    /// It is of another recipe.
    #[error("the update is of the recipe {theirs}, and this node is of {ours}")]
    OtherRecipe {
        /// The update's.
        theirs: String,
        /// The node's.
        ours: String,
    },
    /// It is made for the other loader, which cannot start it here.
    #[error("the update is made for {theirs}, which is not what starts this node")]
    OtherLoader {
        /// What would start it.
        theirs: Loader,
    },
    /// It is larger than the place it goes to.
    #[error("the update needs {needed} bytes for its {what}, and the slot has {room}")]
    TooLarge {
        /// For what: "root", "verity tree", "kernel and initrd".
        what: &'static str,
        /// In bytes.
        needed: u64,
        /// In bytes.
        room: u64,
    },
    /// It ends too early.
    #[error("the update ends within its {what}: it was cut off")]
    Truncated {
        /// "header", "manifest", "signature" or the name of a part.
        what: &'static str,
    },
    /// It goes on behind its last part.
    #[error("the update goes on behind its last part: it was changed")]
    Trailing,
    /// A part is not what was signed.
    #[error("the {part} of the update is damaged: its digest is not the one that was signed")]
    Damaged {
        /// Which.
        part: Kind,
    },
    /// A layer is neither carried nor here.
    #[error("the update does not carry the {part}, and this node does not have it")]
    Missing {
        /// Which.
        part: Kind,
    },
    /// Reading it failed.
    #[error("reading the update's {what}")]
    Read {
        /// "header", "manifest", "signature" or the name of a part.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A part could not be written to where it goes.
    #[error("writing the update's {part}")]
    Write {
        /// Which.
        part: Kind,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::OtherFormat { theirs } if *theirs > FORMAT => {
                "first update to a version in between"
            }
            Self::NewerUpdater { .. } => "first update to a version in between",
            Self::Unsigned | Self::UnknownKey { .. } => {
                "sign it with a key whose public half is in this node's image"
            }
            Self::BadSignature | Self::Truncated { .. } | Self::Trailing | Self::Damaged { .. } => {
                "fetch the update again, and compare its SHA-256 with the one that was published"
            }
            Self::Older { .. } => {
                "run `coremax-node rollback` to go back to the version in the other slot"
            }
            Self::OtherRecipe { .. } => "build the update from the recipe of this node",
            Self::OtherLoader { .. } => {
                "build it with the [root] secure-boot that this node was installed with: only a new installation changes it"
            }
            Self::TooLarge { .. } => {
                "make the image smaller, or install it anew with a larger [root] slot-size"
            }
            Self::Missing { .. } => "use the complete update",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
