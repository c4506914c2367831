//! Lengths and positions on a disk, in bytes and in sectors of 512 bytes, which must not be confused.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A length or position in bytes. Displays in the largest binary unit that is exact: `512 MiB`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A length or position in sectors of 512 bytes, the unit of GPT and of the BIOS.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sectors(pub u64);

impl Bytes {
    /// `n` times 2^20 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` times 2^30 bytes.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The next multiple of `unit` from here on, or `None` past 2^64.
    pub const fn round_up(self, unit: Self) -> Option<Self> {
        match self.0.checked_next_multiple_of(unit.0) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The sectors that hold these bytes; a part of a sector counts whole.
    pub const fn sectors(self) -> Sectors {
        Sectors(self.0.div_ceil(Sectors::SIZE))
    }
}

impl Sectors {
    /// Bytes in a sector.
    pub const SIZE: u64 = 512;

    /// The same length in bytes, or the largest number where that is past 2^64.
    pub const fn bytes(self) -> Bytes {
        Bytes(self.0.saturating_mul(Self::SIZE))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let exact =
            |&&(shift, _): &&(u32, &str)| self.0 >> shift > 0 && self.0.trailing_zeros() >= shift;
        match units.iter().find(exact) {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(Bytes::mib(1).sectors(), Sectors(2048));
        assert_eq!(Bytes(513).sectors(), Sectors(2));
        assert_eq!(Sectors(2).bytes(), Bytes(1024));
        assert_eq!(Bytes(1).round_up(Bytes::mib(1)), Some(Bytes::mib(1)));
        assert_eq!(Bytes(u64::MAX).round_up(Bytes::mib(1)), None);
    }

    #[test]
    fn display_is_exact() {
        for (bytes, text) in [
            (Bytes(0), "0 bytes"),
            (Bytes(1023), "1023 bytes"),
            (Bytes::mib(512), "512 MiB"),
            (Bytes::mib(1536), "1536 MiB"),
            (Bytes::gib(2), "2 GiB"),
        ] {
            assert_eq!(bytes.to_string(), text);
        }
    }
}
