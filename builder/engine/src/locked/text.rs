//! The text of a lock: made for review, one order, one entry a package; read strictly.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    sync::Arc,
};

use coremax_archive::Reason;
use coremax_fetch::Digest;
use coremax_toml_text::{Place, Source};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Asked, Lock, Package, Tree};

/// The form that this program writes and reads.
const FORMAT: u32 = 1;
/// Bytes of a word or path, at most. Ours: ten times what Debian's longest has.
const MAX_WORD: usize = 1000;
/// No account has a higher number: the last means none. Set by Linux.
const MAX_ID: u32 = u32::MAX - 1;

/// A text that is no lock.
#[derive(Debug)]
pub(crate) struct Malformed {
    place: Place,
    what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl std::error::Error for Malformed {}

impl Malformed {
    /// What mends it.
    pub(crate) fn hint(&self) -> String {
        "a lock is not written by hand: take it from version control; made anew, it would give accounts other numbers"
            .to_owned()
    }

    fn new(name: &str, text: &str, span: Option<Range<usize>>, what: impl Into<String>) -> Self {
        let source = Arc::new(Source::new(name, text.to_owned()));
        Self { place: Place::new(source, span.unwrap_or(0..0)), what: what.into() }
    }
}

/// The file as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: Spanned<u32>,
    recipe: String,
    base: String,
    epoch: u64,
    asked: Asked,
    users: BTreeMap<String, Spanned<u32>>,
    groups: BTreeMap<String, Spanned<u32>>,
    #[serde(default, rename = "input")]
    inputs: Vec<Spanned<Input>>,
    #[serde(rename = "package")]
    packages: Vec<Spanned<Package>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    path: String,
    sha256: Digest,
}

/// Reads a lock. `name` is what messages call it.
///
/// # Errors
/// The first thing that is wrong, with its line and column: an unknown or missing key, a value of a wrong form, entries
/// that are out of order or come twice.
pub(crate) fn parse(name: &str, text: &str) -> Result<Lock, Malformed> {
    let wrong = |span, what: String| Malformed::new(name, text, span, what);
    let written: Written = toml::from_str(text)
        .map_err(|error| wrong(error.span(), error.message().replace('\n', ", ")))?;
    if *written.format.get_ref() != FORMAT {
        let what =
            format!("this is format {}, and {FORMAT} is known here", written.format.get_ref());
        return Err(wrong(Some(written.format.span()), what));
    }
    for ids in [&written.users, &written.groups] {
        numbers(ids).map_err(|(span, what)| wrong(Some(span), what))?;
    }
    in_order(&written.inputs, |input| &input.path)
        .and_then(|()| in_order(&written.packages, key))
        .map_err(|span| {
            wrong(Some(span), "this entry is out of order, or comes twice".to_owned())
        })?;
    if let Some(nowhere) =
        written.packages.iter().find(|package| package.get_ref().trees.is_empty())
    {
        return Err(wrong(Some(nowhere.span()), "this package is in no tree".to_owned()));
    }
    let ids = |ids: BTreeMap<String, Spanned<u32>>| {
        ids.into_iter().map(|(name, id)| (name, id.into_inner())).collect()
    };
    let inputs = written.inputs.into_iter().map(Spanned::into_inner);
    Ok(Lock {
        recipe: written.recipe,
        base: written.base,
        epoch: written.epoch,
        asked: written.asked,
        users: ids(written.users),
        groups: ids(written.groups),
        inputs: inputs.map(|input| (input.path, input.sha256)).collect(),
        packages: written.packages.into_iter().map(Spanned::into_inner).collect(),
    })
}

/// Each name has a number of its own, and root alone has root's. Two merge requests may have taken one each.
fn numbers(ids: &BTreeMap<String, Spanned<u32>>) -> Result<(), (Range<usize>, String)> {
    let mut owners = BTreeMap::new();
    for (name, id) in ids {
        let number = *id.get_ref();
        let what = if number > MAX_ID {
            format!("{number} is no number of an account")
        } else if (number == 0) != (name == "root") {
            "0 is root's number, and root's alone".to_owned()
        } else if let Some(other) = owners.insert(number, name) {
            format!("{number} is the number of {other}")
        } else {
            continue;
        };
        return Err((id.span(), what));
    }
    Ok(())
}

fn key(package: &Package) -> (&Word, &Word, &Word) {
    (&package.name, &package.version, &package.architecture)
}

/// The place of the first entry that is not after the one before.
fn in_order<'a, T, K: Ord>(
    entries: &'a [Spanned<T>],
    key: impl Fn(&'a T) -> K,
) -> Result<(), Range<usize>> {
    let wrong = entries.windows(2).find(|pair| key(pair[0].get_ref()) >= key(pair[1].get_ref()));
    wrong.map_or(Ok(()), |pair| Err(pair[1].span()))
}

/// The text that [`parse`] reads the same of.
impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# What `coremax build --locked` builds the recipe from. Made by `coremax lock`; not to be edited."
        )?;
        writeln!(f, "format = {FORMAT}")?;
        writeln!(f, "recipe = {}\nbase = {}", quoted(&self.recipe), quoted(&self.base))?;
        writeln!(f, "epoch = {}", self.epoch)?;
        writeln!(f, "\n[asked]")?;
        list(f, "image", &self.asked.image)?;
        list(f, "exclude", &self.asked.exclude)?;
        writeln!(f, "recommends = {}", self.asked.recommends)?;
        list(f, "tools", &self.asked.tools)?;
        list(f, "machine", &self.asked.machine)?;
        if !self.asked.archives.is_empty() {
            list(f, "archives", &self.asked.archives)?;
        }
        for (table, ids) in [("users", &self.users), ("groups", &self.groups)] {
            writeln!(f, "\n[{table}]")?;
            for (name, id) in ids {
                writeln!(f, "{} = {id}", quoted(name))?;
            }
        }
        for (path, sha256) in &self.inputs {
            writeln!(f, "\n[[input]]\npath = {}\nsha256 = \"{sha256}\"", quoted(path))?;
        }
        self.packages.iter().try_for_each(|package| write!(f, "\n[[package]]\n{package}"))
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in [
            ("name", &self.name.0),
            ("version", &self.version.0),
            ("architecture", &self.architecture.0),
            ("suite", &self.suite),
            ("pool", &self.pool.0),
        ] {
            writeln!(f, "{key} = {}", quoted(value))?;
        }
        writeln!(f, "size = {}\ninstalled = {}", self.size, self.installed)?;
        writeln!(f, "sha256 = \"{}\"", self.sha256)?;
        if !self.provides.is_empty() {
            writeln!(f, "provides = {}", quoted(&self.provides))?;
        }
        let trees: Vec<_> = self.trees.iter().map(|tree| format!("\"{tree}\"")).collect();
        writeln!(f, "in = [{}]", trees.join(", "))?;
        match &self.why {
            Some(why) => writeln!(f, "why = {}", quoted(&why.to_string())),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Tools => "tools",
            Self::Machine => "machine",
        })
    }
}

/// One a line, so that a change is one line of a review.
fn list(f: &mut fmt::Formatter<'_>, key: &str, values: &BTreeSet<String>) -> fmt::Result {
    if values.is_empty() {
        return writeln!(f, "{key} = []");
    }
    writeln!(f, "{key} = [")?;
    values.iter().try_for_each(|value| writeln!(f, "    {},", quoted(value)))?;
    writeln!(f, "]")
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A name, version or architecture: it becomes part of file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Word(String);

/// A path below an archive's root, which does not lead out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PoolPath(String);

impl TryFrom<String> for Word {
    type Error = NotThat;

    fn try_from(text: String) -> Result<Self, NotThat> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._~:".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        match begins && text.len() <= MAX_WORD && text.bytes().all(plain) {
            true => Ok(Self(text)),
            false => Err(NotThat { text, what: "name, version or architecture" }),
        }
    }
}

impl TryFrom<String> for PoolPath {
    type Error = NotThat;

    fn try_from(text: String) -> Result<Self, NotThat> {
        let plain = text.len() <= MAX_WORD && text.bytes().all(|byte| byte.is_ascii_graphic());
        let inside = text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        match plain && inside && !text.contains(['?', '#', '\\']) {
            true => Ok(Self(text)),
            false => Err(NotThat { text, what: "path in an archive" }),
        }
    }
}

/// A word of another kind than was to come.
#[derive(Debug)]
pub(crate) struct NotThat {
    text: String,
    what: &'static str,
}

impl fmt::Display for NotThat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no {}", self.text, self.what)
    }
}

impl std::error::Error for NotThat {}

macro_rules! text {
    ($($type:ty)*) => {$(
        impl From<$type> for String {
            fn from(text: $type) -> Self {
                text.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text!(Word PoolPath);

/// Why a package is in the image, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Why {
    /// It is essential.
    Essential,
    /// The recipe names it.
    Asked,
    /// This package depends on it.
    NeededBy(Word),
    /// This package recommends it.
    RecommendedBy(Word),
}

impl Why {
    /// A lock says who, and not by which words: those change with every version.
    pub(crate) fn of(reason: &Reason) -> Self {
        match reason {
            Reason::Essential => Self::Essential,
            Reason::Requested => Self::Asked,
            Reason::DependencyOf { package, .. } => Self::NeededBy(Word(package.clone())),
            Reason::RecommendedBy { package, .. } => Self::RecommendedBy(Word(package.clone())),
        }
    }

    /// As the resolver says it.
    pub(crate) fn reason(&self) -> Reason {
        let relation = String::new();
        match self {
            Self::Essential => Reason::Essential,
            Self::Asked => Reason::Requested,
            Self::NeededBy(package) => {
                Reason::DependencyOf { package: package.0.clone(), relation }
            }
            Self::RecommendedBy(package) => {
                Reason::RecommendedBy { package: package.0.clone(), relation }
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Essential => f.write_str("essential"),
            Self::Asked => f.write_str("asked for"),
            Self::NeededBy(package) => write!(f, "needed by {package}"),
            Self::RecommendedBy(package) => write!(f, "recommended by {package}"),
        }
    }
}

impl TryFrom<String> for Why {
    type Error = NotThat;

    fn try_from(text: String) -> Result<Self, NotThat> {
        let word = |name: &str| Word::try_from(name.to_owned());
        match text.as_str() {
            "essential" => Ok(Self::Essential),
            "asked for" => Ok(Self::Asked),
            _ => match (text.strip_prefix("needed by "), text.strip_prefix("recommended by ")) {
                (Some(name), _) => word(name).map(Self::NeededBy),
                (_, Some(name)) => word(name).map(Self::RecommendedBy),
                _ => Err(NotThat { text, what: "reason" }),
            },
        }
    }
}

impl From<Why> for String {
    fn from(why: Why) -> Self {
        why.to_string()
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
