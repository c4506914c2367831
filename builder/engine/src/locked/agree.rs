//! Whether a recipe still asks for what its lock holds.

use std::collections::BTreeSet;

use anyhow::Result;
use coremax_recipe::Recipe;

use super::{Asked, Lock};
use crate::{files, hint::mendable, read::Request, resolve};

impl Lock {
    /// Refuses a recipe that asks for something else than what was locked.
    ///
    /// # Errors
    /// Naming all that differs, or where what lies beside the recipe cannot be read.
    pub(crate) fn agree(&self, recipe: &Recipe, request: &Request) -> Result<()> {
        let mut differences = Vec::new();
        let mut same = |what: &str, now: &str, locked: &str| {
            if now != locked {
                differences.push(format!("the {what} is {now}, and {locked} is locked"));
            }
        };
        same("name", recipe.name.as_str(), &self.recipe);
        same("base", recipe.base.as_str(), &self.base);
        differences.extend(self.asked.differences(&resolve::asked(recipe)?));
        let inputs = files::digests(recipe)?;
        let paths: BTreeSet<_> = inputs.keys().chain(self.inputs.keys()).collect();
        differences.extend(paths.into_iter().filter_map(|path| {
            match (inputs.get(path), self.inputs.get(path)) {
                (Some(now), Some(locked)) if now == locked => None,
                (Some(_), Some(_)) => Some(format!("{path} has changed")),
                (Some(_), None) => Some(format!("{path} is not locked")),
                _ => Some(format!("{path} is locked, and no longer read")),
            }
        }));
        if differences.is_empty() {
            return Ok(());
        }
        let (recipe, lock) = (request.recipe.display(), request.lock()?);
        let text =
            format!("{recipe} and {} do not agree: {}", lock.display(), differences.join("; "));
        let hint = format!(
            "{} --update locks what the archive has now; without it, it takes in what \
             the recipe asks for, and moves nothing that it need not",
            request.locking()
        );
        Err(mendable(text, hint))
    }
}

impl Asked {
    /// What is asked for now, and was not; and the other way round.
    fn differences(&self, now: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (what, now, locked) in [
            ("installs", &now.image, &self.image),
            ("excludes", &now.exclude, &self.exclude),
            ("needs the tool", &now.tools, &self.tools),
            ("is tested with", &now.machine, &self.machine),
            ("reads the archive", &now.archives, &self.archives),
        ] {
            let more = now.difference(locked).map(|name| format!("it {what} {name}, not locked"));
            let less = locked.difference(now).map(|name| format!("it no longer {what} {name}"));
            differences.extend(more.chain(less));
        }
        if now.recommends != self.recommends {
            let no = if now.recommends { "" } else { "no " };
            differences.push(format!("it wants {no}recommended packages"));
        }
        differences
    }
}
