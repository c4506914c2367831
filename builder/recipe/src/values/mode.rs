//! File modes as chmod(1) reads them: three or four octal digits, `0644`.

use std::{fmt, str::FromStr};

use super::{BadValue, TextValue, text_value};

/// A file mode's lower twelve bits. Displays as four octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u16);

impl Mode {
    /// `rw-r--r--`, what a file gets that says nothing.
    pub const FILE: Self = Self(0o644);

    /// The bits, at most 0o7777.
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl TextValue for Mode {
    const KIND: &'static str = "a file mode";
    const PATTERN: &'static str = "[0-7]{3,4}";
}

impl FromStr for Mode {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = octal.then(|| u16::from_str_radix(text, 8).ok()).flatten();
        bits.map(Self).ok_or_else(|| {
            BadValue::new(text, Self::KIND, "write three or four octal digits, as in \"0644\"")
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

text_value!(Mode);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_octal_digits_only() {
        assert_eq!("644".parse::<Mode>().unwrap(), Mode::FILE);
        assert_eq!("4755".parse::<Mode>().unwrap().bits(), 0o4755);
        for bad in ["", "44", "0o644", "888", "+644", "07777x", "17777", "u+x"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(bits in 0u16..=0o7777) {
            prop_assert_eq!(Mode(bits).to_string().parse::<Mode>().unwrap(), Mode(bits));
        }
    }
}
