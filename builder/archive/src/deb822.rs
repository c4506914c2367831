//! Paragraphs of fields, the form of Release, Packages and .sources files.
//!
//! ```text
//! Field: value
//!  continued            (a line that begins with a space or a tab)
//! # a comment           (where comments are allowed)
//!                       (an empty line ends the paragraph)
//! ```
//! See <https://manpages.debian.org/deb822.5>. The reader copies nothing: an index of 50 MB is read once.

use memchr::memchr;

/// One field; `value` keeps its line breaks and is trimmed at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Field(Field<'a>),
    /// The paragraph ended; never given twice in a row.
    Paragraph,
    End,
}

/// Line `line` is no field, no continuation and no comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
}

pub(crate) struct Reader<'a> {
    rest: &'a str,
    line: usize,
    comments: bool,
    inside: bool,
}

impl<'a> Reader<'a> {
    /// A reader for indexes, which have no comments.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 0, comments: false, inside: false }
    }

    /// A reader for what people write: lines that begin with `#` are comments.
    pub(crate) fn with_comments(text: &'a str) -> Self {
        Self { comments: true, ..Self::new(text) }
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn next(&mut self) -> Result<Token<'a>, Malformed> {
        loop {
            let before = self.rest;
            let Some(line) = self.take_line() else {
                return Ok(if std::mem::take(&mut self.inside) {
                    Token::Paragraph
                } else {
                    Token::End
                });
            };
            if line.trim_ascii().is_empty() {
                if std::mem::take(&mut self.inside) {
                    return Ok(Token::Paragraph);
                }
            } else if !(self.comments && line.starts_with('#')) {
                self.inside = true;
                return self.field(before, line).map(Token::Field);
            }
        }
    }

    /// The field that begins with `line`, which is the first of `text`.
    fn field(&mut self, text: &'a str, line: &'a str) -> Result<Field<'a>, Malformed> {
        let malformed = Malformed { line: self.line };
        let colon = memchr(b':', line.as_bytes()).ok_or(malformed)?;
        let name = &line[..colon];
        if name.is_empty() || name.bytes().any(|byte| byte <= b' ') {
            return Err(malformed);
        }
        while self.continues() {
            self.take_line();
        }
        let length = text.len() - self.rest.len();
        Ok(Field { name, value: text[colon + 1..length].trim_ascii() })
    }

    /// Whether the next line belongs to the field before it. A comment may stand between its lines.
    fn continues(&self) -> bool {
        match self.rest.as_bytes().first() {
            Some(b' ' | b'\t') => {
                let end = memchr(b'\n', self.rest.as_bytes()).unwrap_or(self.rest.len());
                !self.rest[..end].trim_ascii().is_empty()
            }
            Some(b'#') => self.comments,
            _ => false,
        }
    }

    fn take_line(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let end = memchr(b'\n', self.rest.as_bytes());
        let (line, rest) = self.rest.split_at(end.map_or(self.rest.len(), |end| end + 1));
        self.rest = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mut reader: Reader<'_>) -> Result<Vec<Vec<(String, String)>>, Malformed> {
        let mut paragraphs = vec![Vec::new()];
        loop {
            match reader.next()? {
                Token::Field(Field { name, value }) => {
                    paragraphs.last_mut().unwrap().push((name.to_owned(), value.to_owned()));
                }
                Token::Paragraph => paragraphs.push(Vec::new()),
                Token::End => {
                    paragraphs.pop();
                    return Ok(paragraphs);
                }
            }
        }
    }

    #[test]
    fn paragraphs_fields_and_comments() {
        let text = "\n\nA: 1\nB:\n one\n# two\n three\n\n \nC:3";
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted =
            vec![vec![field("A", "1"), field("B", "one\n# two\n three")], vec![field("C", "3")]];
        assert_eq!(read(Reader::with_comments(text)), Ok(wanted));
        assert_eq!(read(Reader::new("A: 1\n# x\n")), Err(Malformed { line: 2 }));
        assert_eq!(read(Reader::new("A: 1\n\nfoo\n")), Err(Malformed { line: 3 }));
        assert_eq!(read(Reader::new(" a: 1\n")), Err(Malformed { line: 1 }));
        assert_eq!(read(Reader::new("")), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A: #\t\r\né]{0,60}") {
            let _ = (read(Reader::new(&text)), read(Reader::with_comments(&text)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let text = String::from_utf8_lossy(&bytes);
            for mut reader in [Reader::new(&text), Reader::with_comments(&text)] {
                while !matches!(reader.next(), Ok(Token::End) | Err(_)) {}
                prop_assert!(reader.line() <= text.lines().count());
            }
        }

        #[test]
        fn reads_what_is_written(fields in prop::collection::vec(("[A-Z][a-z-]{0,9}", "[!-~]([ -~]{0,20}[!-~])?"), 1..5)) {
            let text: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            prop_assert_eq!(read(Reader::new(&text)), Ok(vec![fields]));
        }
    }
}
