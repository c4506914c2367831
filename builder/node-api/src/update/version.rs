//! Versions of images, and which of two is the newer one.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// The longest version, in bytes. Set by the recipe's format.
pub const LONGEST: usize = 64;

/// The version of an image: `2026.11.22`, `2026.11.22.2`, `1.0-beta`.
///
/// Letters and digits, and within it also `.`, `+`, `_` and `-`. Two are compared piece by piece,
/// runs of digits as numbers and what stands between them as text, so that 2026.11.9 comes before
/// 2026.11.22; where one ends first it is the older one, so that 2026.11.22 comes before
/// 2026.11.22.2, and 1.0 before 1.0-beta. `1.0` and `1.00` are the same version.
#[derive(Debug, Clone)]
pub struct Version(String);

/// What was offered as a version is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version (letters, digits, and within it . + _ -, up to 64 characters)")]
pub struct NotAVersion(String);

impl Version {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let within = |byte: u8| byte.is_ascii_alphanumeric() || b".+_-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins || text.len() > LONGEST || !text.bytes().all(within) {
            return Err(NotAVersion(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (self.0.as_bytes(), other.0.as_bytes());
        while !(left.is_empty() && right.is_empty()) {
            let [text, other_text] = [&mut left, &mut right].map(|rest| run(rest, false));
            let [number, other_number] = [&mut left, &mut right].map(|rest| value(run(rest, true)));
            // Of two numbers without leading zeros the longer one is the larger.
            let numbers = (number.len(), number).cmp(&(other_number.len(), other_number));
            match text.cmp(other_text).then(numbers) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        Ordering::Equal
    }
}

/// Takes the digits, or what is none, from the front.
fn run<'a>(rest: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(rest.len());
    let (run, behind) = rest.split_at(end);
    *rest = behind;
    run
}

fn value(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_order_of_versions() {
        let ascending = [
            "1",
            "1.0",
            "1.0-beta",
            "1.0-rc",
            "1.0.1",
            "1.2",
            "1.10",
            "2026.2.1",
            "2026.11.9",
            "2026.11.22",
            "2026.11.22.2",
            "2026.11.22.10",
            "2026.11.23",
            "99999999999999999999999",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("2026.01.05"), version("2026.1.5"));
    }

    #[test]
    fn what_is_no_version() {
        let long = "1".repeat(65);
        for bad in ["", ".1", "-1", "1/2", "1 2", "é", "1~2", &long] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(mut versions in prop::collection::vec("[0-9a][0-9a.-]{0,6}", 3)) {
            versions.sort_by_key(|text| version(text));
            let [low, middle, high] = [0, 1, 2].map(|at: usize| version(&versions[at]));
            prop_assert!(low <= middle && middle <= high && low <= high);
            prop_assert_eq!(low.cmp(&high), high.cmp(&low).reverse());
        }
    }
}
