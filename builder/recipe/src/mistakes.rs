//! Everything that is wrong with a recipe, at once.

use std::fmt;

use crate::error::Error;

/// What is wrong with a recipe: at least one mistake, each with its place, file by file from the top. Displays as
/// the first one, with the number of the others.
#[derive(Debug)]
pub struct Mistakes(Vec<Error>);

impl Mistakes {
    /// Nothing where there are none.
    ///
    /// # Errors
    /// The mistakes themselves.
    pub(crate) fn none_of(found: Vec<Error>) -> Result<(), Self> {
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }

    /// What mends the first one, where that is known.
    pub fn hint(&self) -> Option<String> {
        self.0.first()?.hint()
    }

    #[cfg(test)]
    pub(crate) fn into_first(self) -> Error {
        self.0.into_iter().next().unwrap()
    }
}

impl From<Error> for Mistakes {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.0.first() {
            write!(f, "{first}")?;
        }
        match self.0.len() {
            0 | 1 => Ok(()),
            number => write!(f, " (and {} more)", number - 1),
        }
    }
}

impl std::error::Error for Mistakes {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.first()?.source()
    }
}
