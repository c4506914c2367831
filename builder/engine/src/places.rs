//! Where the packages of a plan are served: none of it is part of what they are.
//!
//! One after the other is asked: the folder that `vendor` filled, the mirror, the snapshot that the recipe names.

use std::path::{Path, PathBuf};

use coremax_archive::{Package, Source};
use coremax_fetch::{Cache, Input, file_url};
use coremax_recipe::Recipe;

/// The places of all suites.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// In the order of the sources.
    suites: Vec<Suite>,
    /// A folder of inputs by digest.
    shelf: Option<PathBuf>,
    /// Whether nothing else may be asked.
    offline: bool,
}

/// One suite, and who serves it.
#[derive(Debug, Clone)]
struct Suite {
    /// Of the base, the suite's own name; of an archive of the recipe's, `ARCHIVE/SUITE`.
    name: String,
    /// Roots of archives, in the order in which they are asked.
    mirrors: Vec<String>,
}

impl Places {
    /// Those of a recipe whose sources are these: the base's first, then those of its own archives.
    pub(crate) fn of(recipe: &Recipe, sources: &[Source]) -> Self {
        let own = recipe.archives.iter();
        let own: Vec<_> =
            own.flat_map(|a| a.suites.iter().map(|s| format!("{}/{s}", a.name))).collect();
        let base = sources.len() - own.len();
        let names = sources[..base].iter().map(|source| source.suite.clone()).chain(own);
        let suite = |(name, source): (String, &Source)| Suite {
            name,
            mirrors: vec![source.mirror.clone()],
        };
        Self { suites: names.zip(sources).map(suite).collect(), ..Self::default() }
    }

    /// No archive at all: the folder of [`Self::with_shelf`], and the cache.
    pub(crate) fn nowhere() -> Self {
        let suite = Suite { name: String::new(), mirrors: Vec::new() };
        Self { suites: vec![suite], offline: true, ..Self::default() }
    }

    /// Those of a base alone.
    pub(crate) fn of_base(sources: &[Source]) -> Self {
        let suite = |s: &Source| Suite { name: s.suite.clone(), mirrors: vec![s.mirror.clone()] };
        Self { suites: sources.iter().map(suite).collect(), ..Self::default() }
    }

    /// Asks this folder first.
    pub(crate) fn with_shelf(self, shelf: Option<&Path>) -> Self {
        Self { shelf: shelf.map(Path::to_owned), ..self }
    }

    /// Asks nobody else.
    pub(crate) fn offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// Adds places to ask last for a suite: the archive that its name begins with, or is.
    pub(crate) fn also(&mut self, suites: impl Fn(&str) -> bool, mirror: &str) {
        for suite in self.suites.iter_mut().filter(|suite| suites(&suite.name)) {
            suite.mirrors.push(mirror.to_owned());
        }
    }

    /// Takes in a suite that is not known: a lock may name one that this host has no mirror for.
    pub(crate) fn add(&mut self, name: &str) {
        if !self.suites.iter().any(|suite| suite.name == name) {
            self.suites.push(Suite { name: name.to_owned(), mirrors: Vec::new() });
        }
    }

    /// The number of a suite that is known.
    pub(crate) fn number(&self, name: &str) -> usize {
        self.suites.iter().position(|suite| suite.name == name).unwrap_or(0)
    }

    /// The name of the suite that a package comes from: of an archive of the recipe's, `ARCHIVE/SUITE`.
    pub(crate) fn suite(&self, package: &Package) -> &str {
        &self.suites[package.source].name
    }

    /// A package's .deb.
    pub(crate) fn input(&self, package: &Package) -> Input {
        let mut input = package.input("");
        let mirrors = self.suites[package.source].mirrors.iter().filter(|_| !self.offline);
        let mirrored = mirrors.map(|mirror| package.input(mirror).url);
        let mut urls = self.shelved(&input).into_iter().chain(mirrored);
        input.url = urls.next().unwrap_or_default();
        input.others = urls.collect();
        input
    }

    /// Where the folder has it; offline, where it should.
    fn shelved(&self, input: &Input) -> Option<String> {
        let path = Cache::path_in(self.shelf.as_deref()?, &input.digest);
        (self.offline || path.exists()).then(|| file_url(&path))
    }
}
