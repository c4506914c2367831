//! What can be wrong with a kernel's modules and their index.

use std::io;

use crate::Name;

/// A module or an index that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that does not have its file's form.
    #[error("{file}, line {line}: {what}")]
    Malformed {
        /// The file's name, such as modules.dep.
        file: &'static str,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A module that is neither a file nor built in.
    #[error("this kernel has no module {0}")]
    Unknown(Name),
    /// A module that something needs has no line of its own.
    #[error("{module} needs {needed}, which this kernel has not")]
    Missing {
        /// The module that was asked for.
        module: Name,
        /// What it needs.
        needed: Name,
    },
    /// A file that is not a module for x86-64.
    #[error("reading a module: {0}")]
    NotAModule(&'static str),
    /// A compressed module that could not be read.
    #[error("decompressing a module")]
    Decompress(#[source] io::Error),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) | Self::Missing { .. } => Some(
                "the kernel's package may keep it in a second one (linux-modules-extra): add that to \
                 the recipe's packages"
                    .into(),
            ),
            _ => None,
        }
    }
}
