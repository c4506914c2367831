//! What a build takes in from outside, pinned before it is fetched.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A file to be fetched that carries its own check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Input {
    /// What people call it: a package's name and version, a file's name.
    pub name: String,
    /// Where it is served. Not part of its identity: a mirror may change, the digest may not.
    pub url: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub digest: Digest,
}
