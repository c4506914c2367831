//! One package as a `Packages` index describes it.

use coremax_fetch::{Digest, Input};
use serde::{Deserialize, Serialize};

/// A binary package that an archive offers. Relations are kept as the index writes them;
/// `relation` parses them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Package name, without architecture.
    pub name: String,
    /// Version as the archive writes it.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// `Multi-Arch`: `no`, `same`, `foreign`, `allowed`; empty where the field is absent.
    pub multi_arch: String,
    /// `Essential: yes`.
    pub essential: bool,
    /// `Priority`, such as `required`; empty where absent.
    pub priority: String,
    /// `Section`; empty where absent.
    pub section: String,
    /// `Pre-Depends`, as written; empty where absent, like those below.
    pub pre_depends: String,
    /// `Depends`.
    pub depends: String,
    /// `Recommends`.
    pub recommends: String,
    /// `Suggests`; never followed, but apt settles a tie between providers by which of them an
    /// index mentions last, and this field mentions too.
    pub suggests: String,
    /// `Enhances`; kept for the same reason.
    pub enhances: String,
    /// `Conflicts`.
    pub conflicts: String,
    /// `Breaks`.
    pub breaks: String,
    /// `Provides`.
    pub provides: String,
    /// `Replaces`.
    pub replaces: String,
    /// Pool path below the mirror's root: `pool/main/b/bash/bash_5.2.15-2+b7_amd64.deb`.
    pub filename: String,
    /// Length of the .deb in bytes.
    pub size: u64,
    /// `Installed-Size` in KiB; 0 where absent.
    pub installed_size: u64,
    /// SHA-256 of the .deb.
    pub digest: Digest,
    /// `Phased-Update-Percentage`: how many of 100 machines are to get this update already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phased: Option<u8>,
    /// Which of the sources it came from: an index into the list the universe was opened with.
    pub source: usize,
    /// The pin priority of that source (apt_preferences(5)): the recipe's, else what its Release asks for.
    pub pin: i32,
}

impl Package {
    /// The .deb as an input, fetched from `mirror` (the root URL of the package's source).
    pub fn input(&self, mirror: &str) -> Input {
        Input {
            name: format!("{} {}", self.name, self.version),
            url: format!("{}/{}", mirror.trim_end_matches('/'), self.filename),
            others: Vec::new(),
            size: self.size,
            digest: self.digest,
        }
    }
}
