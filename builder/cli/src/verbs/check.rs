//! `coremax check`: what is wrong with recipes, without asking any archive.

use anyhow::Result;

use crate::{
    args::{Check, Global, Progress},
    complain,
    text::say,
};

/// Every recipe is looked at, however many of them are wrong; the last that is, is the error.
pub(crate) fn run(global: &Global, check: &Check) -> Result<()> {
    let mut wrong = None;
    for path in &check.recipes {
        match coremax_recipe::load(path) {
            Ok(_) if global.progress == Progress::None => {}
            Ok(recipe) => say(&format!(
                "{}: {} is well formed ({} packages named)",
                path.display(),
                recipe.name,
                recipe.packages.install.len()
            ))?,
            Err(mistakes) => {
                if let Some(before) = wrong.replace(mistakes) {
                    complain::about(&before.into());
                }
            }
        }
    }
    wrong.map_or(Ok(()), |mistakes| Err(mistakes.into()))
}
