//! What can be wrong with a recipe, each with its place in the text.

use std::{fmt, io, path::PathBuf, sync::Arc};

use coremax_toml_text::{Place, Source, Wrong, nearest, suggestion, what_is_wrong};
use miette::{Diagnostic, LabeledSpan, SourceCode};

use crate::values::{Base, PartName};

/// What is wrong with a recipe.
pub type Mistakes = coremax_toml_text::Mistakes<Error>;

/// A recipe that cannot be read or means nothing. As a [`Diagnostic`] it carries the text with the place
/// underlined, and [`Error::hint`] as help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("reading recipe {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is larger than any recipe.
    #[error("{path} is larger than {limit} bytes: not a recipe")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// The text is not TOML, or a value has a wrong type or form.
    #[error("{message}")]
    Value {
        /// What is wrong, in full.
        message: String,
        /// The value.
        at: Place,
    },
    /// A key, or a value out of a closed set, that does not exist.
    #[error("unknown {kind} `{word}`")]
    Unknown {
        /// `key` or `value`.
        kind: &'static str,
        /// As it was written.
        word: String,
        /// What may stand there.
        known: Vec<String>,
        /// The word.
        at: Place,
    },
    /// A recipe without a key it needs.
    #[error("the recipe says no `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
        /// The file's beginning.
        at: Place,
    },
    /// A part with a key that only a recipe has.
    #[error("`{key}` belongs in a recipe, not in a part")]
    NotInPart {
        /// The key.
        key: &'static str,
        /// Its value.
        at: Place,
    },
    /// One thing named twice.
    #[error("{what} is named twice")]
    Twice {
        /// The thing: user `ada`.
        what: String,
        /// Where it is named again.
        at: Place,
        /// Where it was named before.
        first: Place,
    },
    /// Two keys say the opposite about one thing.
    #[error("{what}")]
    Contradiction {
        /// The thing and both: package `foo` is installed and excluded.
        what: String,
        /// What came later.
        at: Place,
        /// What came first.
        first: Place,
    },
    /// A part that is not there.
    #[error("no part `{name}`: {path} does not exist")]
    NoPart {
        /// The part.
        name: PartName,
        /// Where it should be.
        path: PathBuf,
        /// The parts there are.
        known: Vec<String>,
        /// Where it is named.
        at: Place,
    },
    /// Parts that name each other in a circle.
    #[error("parts in a circle: {}", .chain.join(" -> "))]
    Circular {
        /// The names, the first one again at the end.
        chain: Vec<String>,
        /// Where the circle closes.
        at: Place,
    },
    /// A file or folder that is not there, or not of the kind it should be.
    #[error("no {kind} {path}")]
    NoFile {
        /// `file` or `folder`.
        kind: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What is there in its place: `file` or `folder`.
        found: Option<&'static str>,
        /// What else lies in the same folder.
        known: Vec<String>,
        /// Where it is named.
        at: Place,
    },
}

impl Error {
    /// What the TOML reader found.
    pub(crate) fn from_toml(error: &toml::de::Error, source: Arc<Source>) -> Self {
        let at = Place::new(source, error.span().unwrap_or(0..0));
        match what_is_wrong(error.message()) {
            Wrong::Unknown { kind, word, known } => Self::Unknown { kind, word, known, at },
            Wrong::Value { message } => Self::Value { message, at },
        }
    }

    /// What mends it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { word, known, .. } => Some(suggestion(word, known)?),
            Self::NoPart { name, known, .. } => suggestion(name.as_str(), known),
            Self::NoFile { found: Some(found), .. } => Some(format!("it is a {found}")),
            Self::NoFile { path, known, .. } => {
                let near = nearest(&path.file_name()?.to_string_lossy(), known)?;
                Some(format!("did you mean `{near}`?"))
            }
            Self::Missing { key: "base", .. } => {
                let bases = Base::all().iter().map(|base| format!("base = \"{base}\""));
                Some(format!("write {}", bases.collect::<Vec<_>>().join(" or ")))
            }
            Self::Missing { key, .. } => Some(format!("write {key} = \"...\"")),
            Self::Twice { at, first, .. } | Self::Contradiction { at, first, .. } => {
                // In one file both places are underlined.
                (!at.same_file(first)).then(|| format!("the first is at {first}"))
            }
            Self::Read { .. } | Self::TooLong { .. } | Self::Value { .. } => None,
            Self::NotInPart { .. } | Self::Circular { .. } => None,
        }
    }

    /// Where it stands; none if the file itself could not be read.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Read { .. } | Self::TooLong { .. } => None,
            Self::Value { at, .. }
            | Self::Unknown { at, .. }
            | Self::Missing { at, .. }
            | Self::NotInPart { at, .. }
            | Self::Twice { at, .. }
            | Self::Contradiction { at, .. }
            | Self::NoPart { at, .. }
            | Self::Circular { at, .. }
            | Self::NoFile { at, .. } => Some(at),
        }
    }

    /// The words beneath what is underlined.
    fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unknown { .. } => "not known here",
            Self::Twice { .. } => "again here",
            Self::Contradiction { .. } => "here the opposite",
            Self::NoPart { .. } | Self::NoFile { .. } => "named here",
            Self::Circular { .. } => "closes the circle",
            _ => return None,
        })
    }

    /// The other place, if the same text shows it.
    fn first(&self) -> Option<&Place> {
        match self {
            Self::Twice { at, first, .. } | Self::Contradiction { at, first, .. } => {
                at.same_file(first).then_some(first)
            }
            _ => None,
        }
    }
}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place().map(|place| place.source() as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = self.label().map(str::to_owned);
        let at = LabeledSpan::new_primary_with_span(label, self.place()?.span());
        let first = self
            .first()
            .map(|place| LabeledSpan::new_with_span(Some("first here".to_owned()), place.span()));
        Some(Box::new(first.into_iter().chain([at])))
    }
}
