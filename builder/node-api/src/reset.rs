//! The mark on the ESP that asks early boot to make the data partition anew.
//!
//! The file [`FILE`] holds one word and a line feed: `all`, or `keep-identity`. Early boot acts on
//! it before it mounts the data partition, and removes it when that is done, so that a cut of power
//! in between does it again. What it cannot read it takes for nothing and leaves alone: no data
//! goes for a mark that nobody wrote.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The file, by its path on the ESP.
pub const FILE: &str = "coremax/reset";

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// All data.
    All,
    /// All data but machine-id, host keys, and what makes the node a member of its cluster.
    KeepIdentity,
}

impl Reset {
    /// Reads a mark; none for what is none.
    pub fn parse(mark: &[u8]) -> Option<Self> {
        match mark.trim_ascii_end() {
            b"all" => Some(Self::All),
            b"keep-identity" => Some(Self::KeepIdentity),
            _ => None,
        }
    }

    /// What stands in the file.
    pub fn mark(self) -> String {
        format!("{self}\n")
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::KeepIdentity => "keep-identity",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks() {
        for reset in [Reset::All, Reset::KeepIdentity] {
            assert_eq!(Reset::parse(reset.mark().as_bytes()), Some(reset));
        }
        for bad in [&b""[..], b"\0\0\0", b"al", b"all of it", b" all", b"keep"] {
            assert_eq!(Reset::parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn foreign_marks_are_those_of_marks_or_none(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(reset) = Reset::parse(&bytes) {
                prop_assert_eq!(reset.mark().into_bytes(), bytes);
            }
        }
    }
}
