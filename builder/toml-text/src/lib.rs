//! Text in TOML that people write, and what is wrong with it: each mistake at its place, in the words of TOML.

mod cut;
mod mistakes;

use std::{fmt, ops::Range, sync::Arc};

use miette::NamedSource;

pub use cut::read;
pub use mistakes::Mistakes;

/// A file's name and text.
pub type Source = NamedSource<String>;

/// Where something stands in a file. Displays as `file:line:column`, both from 1, columns in characters.
#[derive(Debug, Clone)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

/// What the TOML reader found, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// A key, or a value out of a closed set, that does not exist.
    Unknown {
        /// `key` or `value`.
        kind: &'static str,
        /// As it was written.
        word: String,
        /// What may stand there.
        known: Vec<String>,
    },
    /// Something else.
    Value {
        /// What, in full.
        message: String,
    },
}

impl Place {
    /// `span` is in bytes of `source`; what lies beyond its end is cut off.
    pub fn new(source: Arc<Source>, span: Range<usize>) -> Self {
        let length = source.inner().len();
        Self { span: span.start.min(length)..span.end.min(length), source }
    }

    /// In bytes from the beginning of the file.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The file.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether both stand in one file.
    pub fn same_file(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.source.inner().get(..self.span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        write!(f, "{}:{line}:{column}", self.source.name())
    }
}

/// Takes apart what the TOML reader says.
pub fn what_is_wrong(message: &str) -> Wrong {
    for (opening, kind) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        if let Some((word, known)) = unknown(message, opening) {
            return Wrong::Unknown { kind, word, known };
        }
    }
    Wrong::Value { message: in_words_of_toml(message) }
}

/// Takes serde's message about an unknown word apart: the word, and those it expected. The message is all that
/// serde's errors carry; where its form is another one, the error is shown as it is.
fn unknown(message: &str, opening: &str) -> Option<(String, Vec<String>)> {
    let (word, expected) = message.strip_prefix(opening)?.rsplit_once("`, expected ")?;
    let known = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((word.to_owned(), known))
}

/// Says a reader's message in the words of TOML instead of Rust's.
fn in_words_of_toml(message: &str) -> String {
    let message = message.replace('\n', ", ").replace("missing field", "missing key");
    let Some((found, expected)) = message.split_once(", expected ") else { return message };
    match (found, expected) {
        ("invalid type: map", "a sequence") => {
            "a table of this name may come several times: write it in double brackets".to_owned()
        }
        (_, "a sequence") => format!("{found}, expected a list in brackets"),
        (_, "u32") => format!("{found}, expected a number from 0 to {}", u32::MAX),
        (_, "a nonzero i16") => {
            format!("{found}, expected a number from {} to {}, not 0", i16::MIN, i16::MAX)
        }
        _ if expected.starts_with("struct ") => format!("{found}, expected a table"),
        _ => message,
    }
}

/// The nearest right word, or else all of them.
pub fn suggestion(word: &str, known: &[String]) -> Option<String> {
    match nearest(word, known) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known here: {}", known.join(", "))),
    }
}

/// The known word that most likely was meant: at most a third of its letters off.
pub fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a String> {
    let distance = |near: &String| strsim::damerau_levenshtein(word, near);
    let near = known.iter().min_by_key(|near| distance(near))?;
    (distance(near) <= (near.chars().count() / 3).max(1)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["packages", "parts", "name"].map(str::to_owned);
        let cases = [
            ("pakcages", Some("packages")),
            ("part", Some("parts")),
            ("nmae", Some("name")),
            ("kernel", None),
            ("", None),
        ];
        for (word, near) in cases {
            assert_eq!(nearest(word, &known).map(String::as_str), near, "{word}");
        }
    }

    #[test]
    fn a_place_counts_lines_and_characters() {
        let source = Arc::new(Source::new("a.toml", "é = 1\nöä = 2\n".to_owned()));
        let places = [
            (0, "a.toml:1:1"),
            (3, "a.toml:1:3"),
            (7, "a.toml:2:1"),
            (12, "a.toml:2:4"),
            (99, "a.toml:3:1"),
        ];
        for (start, shown) in places {
            assert_eq!(Place::new(Arc::clone(&source), start..start).to_string(), shown);
        }
    }
}
