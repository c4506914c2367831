//! What is wrong with a roster's text, each mistake with its place.

use std::fmt;

use coremax_node_api::roster::Fault;
use coremax_toml_text::{Place, Wrong, suggestion};
use miette::{Diagnostic, LabeledSpan, SourceCode};

/// One thing that is wrong. As a [`Diagnostic`] it carries the text with the place underlined.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Mistake {
    what: String,
    hint: Option<String>,
    at: Place,
    first: Option<Place>,
}

/// What is wrong with a roster.
pub type Mistakes = coremax_toml_text::Mistakes<Mistake>;

impl Mistake {
    /// Where it stands: `file:line:column`.
    pub fn place(&self) -> &Place {
        &self.at
    }

    /// What mends it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn of_text(wrong: Wrong, at: Place) -> Self {
        let (what, hint) = match wrong {
            Wrong::Unknown { kind, word, known } => {
                (format!("unknown {kind} `{word}`"), suggestion(&word, &known))
            }
            Wrong::Value { message } => (message, None),
        };
        Self { what, hint, at, first: None }
    }

    pub(crate) fn of_rules(fault: Fault, at: Place, first: Option<Place>) -> Self {
        Self { what: fault.what, hint: fault.hint.map(str::to_owned), at, first }
    }
}

impl Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.at.source())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let first = self
            .first
            .as_ref()
            .map(|first| LabeledSpan::new_with_span(Some("first here".to_owned()), first.span()));
        let at = LabeledSpan::new_primary_with_span(None, self.at.span());
        Some(Box::new(first.into_iter().chain([at])))
    }
}
