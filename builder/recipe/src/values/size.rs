//! Sizes in bytes, written with a binary unit: `512MiB`, `2GiB`.
//!
//! Units are those of IEC 80000-13: B, KiB, MiB, GiB, TiB. Decimal ones (`2GB`) are refused, since
//! programs disagree about what they mean.

use std::{fmt, str::FromStr};

use super::{BadValue, TextValue, text_value};

/// The units, the largest first, with their size in bytes.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A size in bytes. Displays as a whole number of the largest unit that holds it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// `count` bytes.
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// How many bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TextValue for Bytes {
    const KIND: &'static str = "a size";
    const PATTERN: &'static str = "[0-9]+(B|KiB|MiB|GiB|TiB)";
}

impl FromStr for Bytes {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let refuse = |form: String| BadValue::new(text, Self::KIND, form);
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(refuse(advice(number, unit)));
        };
        let count: Option<u64> = number.parse().ok();
        match count.and_then(|count| count.checked_mul(*scale)) {
            Some(bytes) => Ok(Self(bytes)),
            None if number.is_empty() => Err(refuse(advice("2", unit))),
            None => Err(refuse("it is more than 64 bits count".to_owned())),
        }
    }
}

/// How to write it: with the binary unit that was nearly written, if one was.
fn advice(number: &str, unit: &str) -> String {
    let wanted = unit.trim().chars().next().map(|first| first.to_ascii_uppercase());
    let near = UNITS.iter().find(|(name, _)| name.chars().next() == wanted);
    match (number, near) {
        ("", _) | (_, None) => "write a whole number and B, KiB, MiB, GiB or TiB".to_owned(),
        (number, Some((unit, _))) => format!("write {number}{unit}"),
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |scale: &u64| self.0 >= *scale && self.0.is_multiple_of(*scale);
        let (unit, scale) = UNITS.iter().find(|(_, scale)| exact(scale)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

text_value!(Bytes);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_binary_units() {
        let good = [
            ("0B", 0, "0B"),
            ("512B", 512, "512B"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("2GiB", 2 << 30, "2GiB"),
            ("16777215TiB", 16_777_215 << 40, "16777215TiB"),
        ];
        for (text, bytes, shown) in good {
            let size: Bytes = text.parse().unwrap();
            assert_eq!((size.get(), size.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn refuses_the_rest_and_says_how_to_write_it() {
        let bad = [
            ("2GB", "write 2GiB"),
            ("2 GiB", "write 2GiB"),
            ("2g", "write 2GiB"),
            ("100", "write a whole number and B, KiB, MiB, GiB or TiB"),
            ("-1MiB", "write a whole number"),
            ("1.5GiB", "write a whole number"),
            ("", "write a whole number"),
            ("GiB", "write 2GiB"),
            ("16777216TiB", "more than 64 bits"),
            ("99999999999999999999B", "more than 64 bits"),
            ("٣GiB", "write a whole number"),
        ];
        for (text, why) in bad {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(bytes: u64) {
            let size = Bytes::new(bytes);
            prop_assert_eq!(size.to_string().parse::<Bytes>().unwrap(), size);
        }

        #[test]
        fn reads_any_text_without_a_panic(text: String) {
            let _ = text.parse::<Bytes>();
        }
    }
}
