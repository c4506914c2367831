//! Why a request cannot be met, and what would help.

use std::fmt;

use super::lookup::Lookup;
use crate::relation::BadRelation;

/// A request has no solution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum Unsolvable {
    /// No package has that name, or provides it.
    #[error("no package is called {name}")]
    UnknownPackage { name: String, nearest: Option<String> },
    /// Several packages provide the name, and the request has to choose.
    #[error("{name} is a virtual package, provided by {}", .providers.join(", "))]
    Virtual { name: String, providers: Vec<String> },
    /// Every version is pinned below 1, or its providers are not candidates themselves.
    #[error("{name} has no version that may be installed")]
    NoCandidate { name: String },
    /// The package exists, that version does not.
    #[error("{name} has no version {version}")]
    NoSuchVersion { name: String, version: String, available: Vec<String> },
    /// The request asks for two versions of one package.
    #[error("{name} is requested as {first} and as {second}")]
    TwoVersions { name: String, first: String, second: String },
    /// The request both installs and excludes it.
    #[error("{name} is requested, and excluded too")]
    Excluded { name: String },
    /// A dependency that no candidate satisfies; `instead`, a version that is none, would.
    #[error("nothing provides {relation}, which {chain}")]
    Missing { relation: String, available: Vec<String>, instead: Option<String>, chain: Chain },
    /// Two packages that the request needs exclude each other.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// Every combination of alternatives fails.
    #[error("no combination of packages satisfies the request: {explanation}")]
    NoCombination { explanation: String },
    /// A package's field breaks the syntax.
    #[error("{field} of {package} cannot be read")]
    BadField { package: String, field: &'static str, source: BadRelation },
    /// A solution was found that the check does not accept: an error of the resolver itself.
    #[error("the solution found does not hold: {violation}")]
    Unproven { violation: String },
}

/// Two packages that cannot be installed together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{left} conflicts with {right} (it names {relation}): {left} {}; {right} {}", .left_chain.needed(), .right_chain.needed())]
pub struct Conflict {
    /// Whose field it is.
    pub left: String,
    /// What it excludes.
    pub right: String,
    /// The clause of Conflicts or Breaks.
    pub relation: String,
    /// Why `left` is needed.
    pub left_chain: Chain,
    /// Why `right` is needed.
    pub right_chain: Chain,
}

/// How the request leads to a package: the packages that depend on one another, the one nearest
/// to the trouble first, the one requested last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// May be empty, where the trouble is with what was requested itself.
    pub dependents: Vec<String>,
    /// The last of them is an essential package, and nothing that was requested.
    pub essential: bool,
}

impl Unsolvable {
    /// What the author of the request can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownPackage { nearest: Some(nearest), .. } => Some(format!(
                "did you mean {nearest}? Otherwise add the archive that has it to [[archive]]"
            )),
            Self::UnknownPackage { .. } => {
                Some("add the archive that has it to [[archive]]".to_owned())
            }
            Self::Virtual { .. } => Some("name the one to install".to_owned()),
            Self::NoCandidate { .. } => {
                Some("pin the archive that has it to a priority above 0".to_owned())
            }
            Self::NoSuchVersion { available, .. } => {
                Some(format!("the archive has {}", available.join(", ")))
            }
            Self::TwoVersions { .. } | Self::Excluded { .. } => {
                Some("take one of the two out of the recipe".to_owned())
            }
            Self::Missing { instead: Some(instead), .. } => {
                Some(format!("name {instead} in the request: it is not the candidate"))
            }
            Self::Missing { available, .. } if available.is_empty() => {
                Some("add the archive that has it to [[archive]]".to_owned())
            }
            Self::Missing { available, .. } => Some(format!(
                "the archive has {}; add one that has what is asked for to [[archive]]",
                available.join(", ")
            )),
            Self::Conflict(_) => {
                Some("leave out one of the two packages that lead here".to_owned())
            }
            Self::NoCombination { .. } | Self::BadField { .. } | Self::Unproven { .. } => None,
        }
    }
}

impl Chain {
    /// `was requested`, or `is needed by a, which is needed by b, which was requested`.
    fn needed(&self) -> String {
        let needed: String = self
            .dependents
            .iter()
            .map(|package| format!("is needed by {package}, which "))
            .collect();
        needed + self.end()
    }

    fn end(&self) -> &'static str {
        if self.essential { "is essential" } else { "was requested" }
    }
}

/// `a depends on, which b depends on, which was requested`.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dependents.iter().try_for_each(|package| write!(f, "{package} depends on, which "))?;
        f.write_str(self.end())
    }
}

/// The package name most like `name`, if there is one that a slip could have turned into it.
pub(super) fn nearest(lookup: &Lookup<'_>, name: &str) -> Option<String> {
    let limit = 1 + name.len() / 4;
    let known =
        lookup.names().filter(|&id| lookup.candidate(id).is_some()).map(|id| lookup.text(id));
    let alike = known.filter(|other| other.len().abs_diff(name.len()) <= limit);
    let distances = alike.map(|other| (strsim::damerau_levenshtein(name, other), other));
    distances.filter(|&(distance, _)| distance <= limit).min().map(|(_, other)| other.to_owned())
}
