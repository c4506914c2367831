//! What can go wrong between a set of packages and a root file system.

use std::{io, path::PathBuf};

/// An operation of this crate that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A .deb could not be read.
    #[error("reading {member} of {package} from {path}")]
    Deb {
        /// The package.
        package: String,
        /// The file.
        path: PathBuf,
        /// The part of the file.
        member: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A .deb holds another package than the index says.
    #[error("{path} holds {found}, not {expected}")]
    OtherPackage {
        /// The file.
        path: PathBuf,
        /// Name, version and architecture that were expected.
        expected: String,
        /// Those that the control file names.
        found: String,
    },
    /// A field of a package that has to be understood is not.
    #[error("reading the field {field} of {package}: {value:?} is not understood")]
    Field {
        /// The package.
        package: String,
        /// The field's name.
        field: &'static str,
        /// Its value, or the part that is wrong.
        value: String,
    },
    /// Two packages ship one path and neither replaces the other.
    #[error("{first} and {second} both ship {path}")]
    Conflict {
        /// The path.
        path: PathBuf,
        /// One package.
        first: String,
        /// The other.
        second: String,
    },
    /// An entry of a package's data.tar cannot be placed in any tree.
    #[error("unpacking {path:?} of {package}: {problem}")]
    Entry {
        /// The package.
        package: String,
        /// The path as the package has it.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of a package could not be written.
    #[error("unpacking {path} of {package}")]
    Unpack {
        /// The package.
        package: String,
        /// The path below the tree.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in the tree could not be read or written.
    #[error("{operation} {path} in the tree")]
    Tree {
        /// Such as "writing".
        operation: &'static str,
        /// The path below the tree.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the host could not be read or written.
    #[error("{operation} {path}")]
    Host {
        /// Such as "reading".
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file in the tree does not have the form it must have.
    #[error("reading {path} in the tree: {problem}")]
    Malformed {
        /// The path below the tree.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A maintainer script failed.
    #[error("{script} of {package} failed; the whole output is in {log}. It ended with:\n{output}")]
    Script {
        /// The package.
        package: String,
        /// Such as `post-installation script`.
        script: String,
        /// The last lines of its output.
        output: String,
        /// The file with all output.
        log: PathBuf,
    },
    /// dpkg, or another program of the tree, failed.
    #[error("running {program} in the tree")]
    Program {
        /// The program.
        program: String,
        /// Why.
        source: coremax_sandbox::Error,
    },
    /// Packages were left unconfigured.
    #[error("configuring left {} unfinished; the whole output is in {log}", .packages.join(", "))]
    Unconfigured {
        /// Each with its state.
        packages: Vec<String>,
        /// The file with all output.
        log: PathBuf,
    },
    /// A user, group or other name was asked for that the tree does not have or allow.
    #[error("{operation} {name:?}: {problem}")]
    Account {
        /// Such as "creating the user".
        operation: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Conflict { .. } => Some("install only one of the two".into()),
            Self::Deb { path, .. } | Self::OtherPackage { path, .. } => {
                Some(format!("delete {} to have it fetched again", path.display()))
            }
            Self::Unpack { source, .. } | Self::Tree { source, .. } | Self::Host { source, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Some(
                    "free some space, or keep the cache elsewhere with --cache; a build goes on \
                     where it stopped"
                        .into(),
                )
            }
            Self::Program { source, .. } => source.hint(),
            _ => None,
        }
    }
}
