//! `coremax check`: what is wrong with a recipe, without asking any archive.

use anyhow::Result;

use crate::args::{Check, Global, Progress};

pub(crate) fn run(global: &Global, check: &Check) -> Result<()> {
    for path in &check.recipes {
        let recipe = coremax_recipe::load(path)?;
        if global.progress != Progress::None {
            let packages = recipe.packages.install.len();
            println!(
                "{}: {} is well formed ({packages} packages named)",
                path.display(),
                recipe.name
            );
        }
    }
    Ok(())
}
