//! Closed sets of words.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A distribution that images are built from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Base {
    /// Debian 12, bookworm.
    #[serde(rename = "debian-12")]
    Debian12,
    /// Ubuntu 22.04 LTS, jammy.
    #[serde(rename = "ubuntu-22.04")]
    Ubuntu2204,
}

impl Base {
    /// Every base, in the order people are shown them.
    pub const ALL: [Self; 2] = [Self::Debian12, Self::Ubuntu2204];

    /// The word a recipe says.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debian12 => "debian-12",
            Self::Ubuntu2204 => "ubuntu-22.04",
        }
    }

    /// The distribution's own name for its kernel of this architecture.
    pub fn kernel_package(self) -> &'static str {
        match self {
            Self::Debian12 => "linux-image-amd64",
            Self::Ubuntu2204 => "linux-image-generic",
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What machines the kernel's modules are for.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Modules {
    /// Any machine, real or virtual.
    #[default]
    Metal,
    /// Virtual machines only.
    Cloud,
}

/// The form of a disk image.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's copy-on-write format, version 3, compressed.
    Qcow2,
    /// The disk's bytes, a sparse file.
    Raw,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_display_as_they_are_read() {
        for base in Base::ALL {
            assert_eq!(serde_json::to_value(base).unwrap(), base.as_str());
        }
        for format in [Format::Qcow2, Format::Raw] {
            assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
        }
    }
}
