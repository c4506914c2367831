//! Which version a build makes: it is in the image, so it is chosen before anything is made.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use coremax_recipe::Recipe;

use crate::{
    lock::Lock,
    result::{Equal, Output},
};

/// A version, and the right of a build to lay its result under it.
#[derive(Debug)]
pub(crate) struct Version {
    text: String,
    /// Held until the result is laid. Two builds at once have different dates by it; a version that
    /// somebody asked for needs none.
    reserved: Option<Lock>,
}

impl Version {
    /// The version asked for, else the recipe's, else that of an equal result that only lacks something,
    /// else today's date, with a number if that is taken.
    ///
    /// # Errors
    /// One that no node could compare with another; where nothing can be written beside the results.
    pub(crate) fn of(output: &Output, recipe: &Recipe, equal: Option<&Equal>) -> Result<Self> {
        let known = named(output, recipe).or(equal.map(Equal::version));
        let version = match known {
            Some(text) => Self { text: text.to_owned(), reserved: None },
            None => Self::of_today(&output.folder.join(recipe.name.as_str()))?,
        };
        version.text.parse::<coremax_node_api::update::Version>()?;
        Ok(version)
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether nothing may be there under it.
    pub(crate) fn is_new(&self) -> bool {
        self.reserved.is_some()
    }

    fn of_today(shelf: &Path) -> Result<Self> {
        fs::create_dir_all(shelf).with_context(|| format!("making {}", shelf.display()))?;
        let today = today();
        let mut number = 1;
        loop {
            let text = if number == 1 { today.clone() } else { format!("{today}.{number}") };
            number += 1;
            // Looked at with the lock held: who had it before may have laid its result meanwhile.
            let reserved = Lock::attempt(&shelf.join(format!(".{text}.lock")))?;
            let taken =
                || [&*text, &format!("{text}.untested")].iter().any(|v| shelf.join(v).exists());
            if reserved.is_some() && !taken() {
                return Ok(Self { text, reserved });
            }
        }
    }
}

/// The version that somebody asked for.
pub(crate) fn named<'a>(output: &'a Output, recipe: &'a Recipe) -> Option<&'a str> {
    output.version.as_ref().or(recipe.version.as_ref()).map(|version| version.as_str())
}

/// The version of a build that is only planned: nobody knows where its result goes.
pub(crate) fn planned(recipe: &Recipe) -> String {
    recipe.version.as_ref().map_or_else(today, ToString::to_string)
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%Y.%m.%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_at_once_have_versions_of_their_own() {
        let shelf = tempfile::tempdir().unwrap();
        let first = Version::of_today(shelf.path()).unwrap();
        let second = Version::of_today(shelf.path()).unwrap();
        assert_ne!(first.as_str(), second.as_str());
        fs::create_dir(shelf.path().join(first.as_str())).unwrap();
        let (laid, free) = (first.as_str().to_owned(), second.as_str().to_owned());
        drop((first, second));
        let third = Version::of_today(shelf.path()).unwrap();
        assert_ne!(third.as_str(), laid);
        assert_eq!(third.as_str(), free);
    }
}
