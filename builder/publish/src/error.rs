//! What keeps a result from being published.

use std::{io, path::PathBuf};

/// Why a result was not published. Nothing that was there before has changed, and no half of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the result could not be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something could not be written, synced or renamed.
    #[error("writing {path}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A manifest is not one.
    #[error("reading the manifest {path}")]
    Parse {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A manifest is longer than any.
    #[error("the manifest {path} is larger than {limit} bytes")]
    LongManifest {
        /// The manifest.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// A recipe or version whose name cannot name a folder.
    #[error("{name:?} cannot name a {kind}'s folder")]
    Name {
        /// `recipe` or `version`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The draft holds something that is no plain file or folder.
    #[error("{path} is neither a file nor a folder")]
    NotPlain {
        /// What.
        path: PathBuf,
    },
    /// An artefact that the draft does not hold, or not as the manifest describes it.
    #[error("artefact {artefact} is not the one that was built: it is missing or has changed")]
    Changed {
        /// The artefact.
        artefact: String,
    },
    /// An artefact that no boot test proves.
    #[error("artefact {artefact} was not booted as it is")]
    Unproven {
        /// The artefact.
        artefact: String,
    },
    /// A boot of something that is not published.
    #[error("the boot of {artefact} by {firmware} proves nothing that was built")]
    Stray {
        /// What was booted.
        artefact: String,
        /// By which firmware.
        firmware: String,
    },
    /// A result of this version with other content is there already.
    #[error("{path} is there already, with other content")]
    Exists {
        /// The result folder.
        path: PathBuf,
    },
}

impl Error {
    /// What mends it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some(
                "give this one another `version`, or ask for the old one to be replaced".to_owned(),
            ),
            Self::Unproven { .. } => {
                Some("run its boot tests, or ask for an untested result".to_owned())
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space there, or remove old results".to_owned())
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::InvalidInput => Some(
                "this file system cannot exchange two folders: remove the old result first"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
