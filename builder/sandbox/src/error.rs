//! What can go wrong between here and a program's end.

use std::{io, path::PathBuf, process::ExitStatus};

/// An operation of this crate that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started at all.
    #[error("starting {program}")]
    Start {
        /// The program as it was named.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The sandbox could not be made.
    #[error("preparing the sandbox for {program}: {operation}")]
    Prepare {
        /// The program that was to run.
        program: String,
        /// The step that failed, such as a mount.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// A sandbox was asked for something that does not exist.
    #[error("reading {path} for the sandbox")]
    Missing {
        /// The tree or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program ran and ended badly.
    #[error("{program} ended with {status}{}", quoted(.stderr))]
    Failed {
        /// The program as it was named.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines it wrote to its standard error.
        stderr: String,
    },
    /// The program's input, output or end could not be handled.
    #[error("running {program}")]
    Run {
        /// The program as it was named.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Signals could not be caught.
    #[error("catching signals: {operation}")]
    Signals {
        /// The call that failed.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No user namespace could be entered.
    #[error("entering a user namespace: {operation}")]
    Namespace {
        /// The call or the program that failed.
        operation: String,
        /// What the user can do about it.
        remedy: Option<String>,
        /// Why.
        source: io::Error,
    },
    /// An overlay could not be mounted.
    #[error("mounting an overlay at {at}")]
    Overlay {
        /// The mount point.
        at: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A block device did not do what it was asked.
    #[error("{operation} {device}")]
    Device {
        /// What was asked.
        operation: &'static str,
        /// The device.
        device: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Namespace { remedy, .. } => remedy.clone(),
            Self::Overlay { source, .. } if source.raw_os_error() == Some(libc::EPERM) => {
                Some("mounting an overlay in a user namespace needs Linux 5.11".into())
            }
            Self::Start { program, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!(
                    "{program} is not in the tree that it was to run from, or is a script whose first \
                     line names a program that is not"
                ))
            }
            _ => None,
        }
    }
}

/// `stderr` as the tail of a message: nothing where the program said nothing.
fn quoted(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(", and said:\n{stderr}") }
}
