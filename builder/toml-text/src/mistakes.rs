//! Everything that is wrong with a text, at once.

use std::fmt;

use miette::Diagnostic;

/// What is wrong with a text: at least one mistake, each with its place, file by file from the top. Displays as the
/// first one, with the number of the others.
#[derive(Debug)]
pub struct Mistakes<E> {
    // In a box: results that may be this are as small as others.
    first: Box<E>,
    others: Vec<E>,
}

impl<E> Mistakes<E> {
    /// Nothing where there are none.
    ///
    /// # Errors
    /// The mistakes themselves.
    pub fn none_of(found: Vec<E>) -> Result<(), Self> {
        let mut found = found.into_iter();
        found
            .next()
            .map_or(Ok(()), |first| Err(Self { first: Box::new(first), others: found.collect() }))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        std::iter::once(&*self.first).chain(&self.others)
    }

    /// The first one.
    pub fn into_first(self) -> E {
        *self.first
    }
}

impl<E: Diagnostic> Mistakes<E> {
    /// What mends the first one, where that is known.
    pub fn hint(&self) -> Option<String> {
        self.first.help().map(|help| help.to_string())
    }
}

impl<E> From<E> for Mistakes<E> {
    fn from(first: E) -> Self {
        Self { first: Box::new(first), others: Vec::new() }
    }
}

impl<E: fmt::Display> fmt::Display for Mistakes<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        match self.others.len() {
            0 => Ok(()),
            number => write!(f, " (and {number} more)"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Mistakes<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.first.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_others_are_counted() {
        assert!(Mistakes::<&str>::none_of(Vec::new()).is_ok());
        for (found, told) in [(vec!["a"], "a"), (vec!["a", "b", "c"], "a (and 2 more)")] {
            let mistakes = Mistakes::none_of(found.clone()).unwrap_err();
            assert_eq!(mistakes.to_string(), told);
            assert_eq!(mistakes.iter().copied().collect::<Vec<_>>(), found);
            assert_eq!(mistakes.into_first(), "a");
        }
    }
}
