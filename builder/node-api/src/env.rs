//! GRUB's environment blocks: a few variables that GRUB can read and change in place.
//!
//! ```text
//! # GRUB Environment Block
//! name=value
//! ######## ... up to the end of the file
//! ```
//!
//! A backslash takes away the meaning of the byte behind it: `\\` is a backslash, and a backslash
//! before a line feed keeps it in the value. A line that begins with `#` is padding. GRUB changes a
//! block by writing the sectors of its file, so that a file keeps its size and place.
//! <https://www.gnu.org/software/grub/manual/grub/html_node/Environment-block.html>; the reader is
//! GRUB's lib/envblk.c, which [`Env::parse`] follows to the letter: what the two read differently,
//! node and loader would decide differently.

use std::{borrow::Cow, fmt};

/// The size of a block that GRUB makes, in bytes.
pub const BLOCK: usize = 1024;
/// What a disk writes whole or not at all, in bytes. Everything that decides fits the first one.
pub const SECTOR: usize = 512;
/// The longest block that [`Env::encode_long`] makes, in bytes. Set by this program: twice what a
/// kernel takes for a command line, with room for a title.
pub const LONGEST: usize = 8192;

const HEADER: &[u8] = b"# GRUB Environment Block\n";

/// Variables with their values, in the order they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Env {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A block that cannot be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin as every block does.
    #[error("this is no GRUB environment block")]
    NotABlock,
    /// A name or a value that cannot be in a block.
    #[error("{text:?} cannot stand in a GRUB environment block")]
    Text {
        /// The name or the value.
        text: String,
    },
    /// The variables need more room than there is.
    #[error("the variables of a GRUB environment block need {needed} bytes, where {room} are")]
    TooLong {
        /// What they need, in bytes.
        needed: usize,
        /// What there is, in bytes.
        room: usize,
    },
}

impl Env {
    /// Reads a block as GRUB does: what is broken behind the first line ends it in silence.
    ///
    /// # Errors
    /// [`Error::NotABlock`].
    pub fn parse(block: &[u8]) -> Result<Self, Error> {
        let mut rest = block.strip_prefix(HEADER).ok_or(Error::NotABlock)?;
        let mut pairs = Vec::new();
        while let Some(first) = rest.first() {
            if *first != b'#' {
                let Some(name) = rest.iter().position(|byte| *byte == b'=') else { break };
                let behind = &rest[name + 1..];
                let Some(value) = line_end(behind) else { break };
                pairs.push((c_string(&rest[..name]), c_string(&unescape(&behind[..value]))));
                rest = &behind[value..];
            }
            rest = line_end(rest).map_or(&[][..], |end| &rest[end + 1..]);
        }
        Ok(Self { pairs })
    }

    /// These variables, whose names are of `a`-`z`, `0`-`9` and `_`, and whose values have no
    /// control characters.
    ///
    /// # Errors
    /// [`Error::Text`].
    pub fn new(pairs: &[(&str, &str)]) -> Result<Self, Error> {
        let refuse = |text: &str| Err(Error::Text { text: text.to_owned() });
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        for (name, value) in pairs {
            if name.is_empty() || !name.chars().all(is_name) {
                return refuse(name);
            }
            if value.chars().any(char::is_control) {
                return refuse(value);
            }
        }
        let bytes =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        Ok(Self { pairs: pairs.iter().map(bytes).collect() })
    }

    /// The value of `name`; of several, the last, as GRUB sets them one after the other.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let found = self.pairs.iter().rfind(|(known, _)| known == name.as_bytes())?;
        Some(String::from_utf8_lossy(&found.1))
    }

    /// The same where `name` stands once: of several GRUB reads the last and changes the first.
    pub(crate) fn get_once(&self, name: &str) -> Option<Cow<'_, str>> {
        let times = self.pairs.iter().filter(|(known, _)| known == name.as_bytes()).count();
        self.get(name).filter(|_| times == 1)
    }

    /// A block of [`BLOCK`] bytes with all that means something in its first [`SECTOR`], so that a
    /// change of it reaches the disk whole or not at all.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        // GRUB changes only a block whose padding follows a line feed: one # belongs to the sector.
        self.padded(SECTOR - 1, |_| BLOCK)
    }

    /// A block of as many [`SECTOR`]s as it takes, for what only replaces a file as a whole.
    ///
    /// # Errors
    /// [`Error::TooLong`] above [`LONGEST`].
    pub fn encode_long(&self) -> Result<Vec<u8>, Error> {
        self.padded(LONGEST, |length| length.next_multiple_of(SECTOR).max(BLOCK))
    }

    fn padded(&self, room: usize, size: impl Fn(usize) -> usize) -> Result<Vec<u8>, Error> {
        let mut block = HEADER.to_vec();
        for (name, value) in &self.pairs {
            block.extend_from_slice(name);
            block.push(b'=');
            for byte in value {
                if *byte == b'\\' {
                    block.push(b'\\');
                }
                block.push(*byte);
            }
            block.push(b'\n');
        }
        if block.len() > room {
            return Err(Error::TooLong { needed: block.len(), room });
        }
        block.resize(size(block.len()), b'#');
        Ok(block)
    }
}

/// The variables as grub-editenv lists them: `name=value`, one a line.
impl fmt::Display for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        self.pairs
            .iter()
            .try_for_each(|(name, value)| writeln!(f, "{}={}", text(name), text(value)))
    }
}

/// Whether GRUB can change a variable of this block: it wants its padding behind a line feed.
pub(crate) fn is_changeable(block: &[u8]) -> bool {
    block.iter().rfind(|byte| **byte != b'#') == Some(&b'\n')
}

/// Where the line feed is that ends a line.
fn line_end(line: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *line.get(at)? {
            b'\n' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A value without the backslashes that escape.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut bytes = value.iter();
    let next = || match bytes.next() {
        Some(b'\\') => bytes.next().copied(),
        other => other.copied(),
    };
    std::iter::from_fn(next).collect()
}

/// What GRUB, which is written in C, sees of some bytes: those before the first NUL.
fn c_string(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Vec<(String, String)> {
        let text_of = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let env = Env::parse(&[HEADER, text].concat()).unwrap();
        env.pairs.iter().map(|(name, value)| (text_of(name), text_of(value))).collect()
    }

    #[test]
    fn blocks_as_grub_reads_them() {
        for (text, want) in [
            (&b""[..], &[][..]),
            (b"####", &[]),
            (b"blessed=a\n###", &[("blessed", "a")]),
            (b"a=1\nb=2\na=3\n", &[("a", "1"), ("b", "2"), ("a", "3")]),
            (b"a=\n", &[("a", "")]),
            (b"#a=1\nb=2\n#", &[("b", "2")]),
            (b"a=b\\\\c=d\n#", &[("a", "b\\c=d")]),
            (b"a=1\nb=2", &[("a", "1")]),
            (b"a=1\nb", &[("a", "1")]),
            (b"a=1\\", &[]),
            (b"no value\nb=2\n", &[("no value\nb", "2")]),
            (b"a=1\0junk\n", &[("a", "1")]),
        ] {
            let want: Vec<_> =
                want.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(read(text), want, "{}", text.escape_ascii());
        }
        assert_eq!(Env::parse(b"# GRUB Environment Bloc"), Err(Error::NotABlock));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = |length| Env::new(&[("a", &*"x".repeat(length))]).unwrap();
        // The header, `a=` and a line feed take 28 of the 511.
        assert_eq!(long(483).encode().unwrap().len(), BLOCK);
        assert_eq!(long(484).encode(), Err(Error::TooLong { needed: 512, room: 511 }));
        assert_eq!(long(484).encode_long().unwrap().len(), BLOCK);
        assert_eq!(long(1000).encode_long().unwrap().len(), 1536);
        assert!(long(LONGEST).encode_long().is_err());
        for bad in [("", "x"), ("A", "x"), ("a=", "x"), ("a", "x\n"), ("a", "\0")] {
            assert!(Env::new(&[bad]).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in prop::collection::vec(("[a-z0-9_]{1,9}", "\\PC{0,30}"), 0..8)) {
            let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let env = Env::new(&pairs).unwrap();
            let block = env.encode_long().unwrap();
            prop_assert!(is_changeable(&block));
            prop_assert_eq!(Env::parse(&block).unwrap(), env);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..BLOCK)) {
            let _ = Env::parse(&bytes);
            let _ = Env::parse(&[HEADER, &bytes].concat());
        }
    }
}
