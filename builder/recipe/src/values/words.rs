//! Closed sets of words.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BadValue;

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

/// How hard something is compressed.
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
pub enum Compression {
    /// For every day: a few seconds.
    #[default]
    Fast,
    /// For what is released: a few minutes, and a sixth smaller.
    Small,
}

/// Who a machine with Secure Boot on trusts to start this image.
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
pub enum SecureBoot {
    /// Microsoft, by the distribution's signed shim, GRUB and kernel: boots on any machine. What GRUB reads beside the
    /// kernel (grub.cfg, initrd, the root's hash) is not authenticated.
    #[default]
    Shim,
    /// The operator alone, whose key signs systemd-boot and one image of kernel, initrd and command line: UEFI only, on
    /// machines that have the operator's certificate enrolled. All of it is authenticated, to the last byte of the root.
    Sealed,
    /// Nobody: GRUB is not signed, and such a machine does not start it.
    Off,
}

impl SecureBoot {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Shim, Self::Sealed, Self::Off];
}

impl FromStr for SecureBoot {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        word(text, "a way of Secure Boot", &Self::ALL)
    }
}

impl fmt::Display for SecureBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shim => "shim",
            Self::Sealed => "sealed",
            Self::Off => "off",
        })
    }
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

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Qcow2, Self::Raw];
}

impl FromStr for Format {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        word(text, "an image's format", &Self::ALL)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        })
    }
}

/// The one of `all` that is called `text`.
pub(super) fn word<T: Copy + fmt::Display>(
    text: &str,
    kind: &'static str,
    all: &[T],
) -> Result<T, BadValue> {
    all.iter().copied().find(|word| word.to_string() == text).ok_or_else(|| {
        let words: Vec<_> = all.iter().map(T::to_string).collect();
        BadValue::new(text, kind, format!("write {}", words.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_display_as_they_are_read() {
        for format in Format::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        for secure_boot in SecureBoot::ALL {
            assert_eq!(serde_json::to_value(secure_boot).unwrap(), secure_boot.to_string());
            assert_eq!(secure_boot.to_string().parse::<SecureBoot>().unwrap(), secure_boot);
        }
        let error = "vhd".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "`vhd` is not an image's format: write qcow2 or raw");
    }
}
