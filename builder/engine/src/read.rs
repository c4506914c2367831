//! Reading a recipe, with what the command line changes in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use coremax_recipe::{Base, Format, Recipe, SshKey};

use crate::{
    event::{Observer, Stage},
    locked,
};

/// Which recipe, and what the command line changes in it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The recipe's file.
    pub recipe: PathBuf,
    /// Another distribution, by its id.
    pub base: Option<String>,
    /// Files of public keys that may log in as root.
    pub ssh_keys: Vec<PathBuf>,
    /// What to make, instead of what the recipe says; by name.
    pub formats: Vec<String>,
    /// Whether to build what the recipe's lock says, and nothing else.
    pub locked: bool,
}

impl Request {
    /// Where its lock lies: beside the recipe, and by another name where another base than the recipe's own is asked
    /// for.
    ///
    /// # Errors
    /// Where the recipe cannot be read.
    pub(crate) fn lock(&self) -> Result<PathBuf> {
        let own = || Ok::<_, anyhow::Error>(coremax_recipe::load(&self.recipe)?.base);
        let other = match &self.base {
            Some(base) if own()?.as_str() != base => Some(base.as_str()),
            _ => None,
        };
        Ok(locked::path_of(&self.recipe, other))
    }

    /// The command that makes its lock.
    pub(crate) fn locking(&self) -> String {
        let base = self.base.iter().map(|base| format!(" --base {base}"));
        format!("coremax lock {}{}", self.recipe.display(), base.collect::<String>())
    }
}

/// The recipe as it is to be built.
pub(crate) fn recipe(request: &Request, observer: Observer<'_>) -> Result<Recipe> {
    let base = request.base.as_deref().map(str::parse::<Base>).transpose()?;
    let mut recipe = coremax_recipe::load_on(&request.recipe, base)?;
    for file in &request.ssh_keys {
        recipe.root_ssh_keys.extend(keys(file)?);
    }
    if !request.formats.is_empty() {
        let formats = request.formats.iter().map(|name| name.parse::<Format>());
        recipe.outputs = formats.collect::<Result<_, _>>()?;
    }
    let stage = Stage::new("read", observer);
    let named = recipe.packages.install.len();
    stage.ended(format!("{} on {}, {named} packages named", recipe.name, recipe.base), None);
    if recipe.root_ssh_keys.is_empty() && recipe.users.iter().all(|user| user.ssh_keys.is_empty()) {
        stage.warned("nobody can log in: no key in the recipe and no --ssh-key");
    }
    Ok(recipe)
}

/// The keys in a file of public keys, one a line.
fn keys(file: &Path) -> Result<Vec<SshKey>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("reading the public key {}", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            line.parse().with_context(|| format!("{} is no public key file", file.display()))
        })
        .collect()
}
