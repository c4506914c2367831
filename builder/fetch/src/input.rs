//! What a build takes in from outside, pinned before it is fetched.

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, url::redact};

/// A file to be fetched that carries its own check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Input {
    /// What people call it: a package's name and version, a file's name.
    pub name: String,
    /// Where it is served; empty where it is only looked for in the cache. Not part of its identity: a mirror may change, the digest may not.
    pub url: String,
    /// Where else, in this order, if the places before do not have it (any more), cannot be reached or have other bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub digest: Digest,
}

impl Input {
    /// The error where no place gave it: the only one's own where it tells enough.
    pub(crate) fn nowhere(&self, mut failures: Vec<Error>) -> Error {
        let name = self.name.clone();
        let is_gone = failures.iter().all(Error::is_gone);
        match failures.pop() {
            Some(error) if failures.is_empty() && !(is_gone && self.url.starts_with("file:")) => {
                error
            }
            Some(_) if is_gone => {
                let tried = std::iter::once(&self.url).chain(&self.others).map(|url| redact(url));
                Error::Gone { name, tried: tried.collect() }
            }
            last => Error::NoPlace { name, failures: failures.into_iter().chain(last).collect() },
        }
    }
}
