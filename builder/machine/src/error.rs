//! What can go wrong in running a machine. What goes wrong inside the guest is no error but a
//! [`crate::Fault`] in the report.

use std::{io, path::PathBuf};

/// An operation of this crate that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be handled.
    #[error("{operation} {path}")]
    File {
        /// What was being done, such as `reading`.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// firmware.toml is not as it should be.
    #[error("reading the sources of firmware")]
    Sources(#[source] Box<toml::de::Error>),
    /// No firmware of this kind is anywhere.
    #[error("no {kind} firmware was found; looked for {}", listed(.looked))]
    NoFirmware {
        /// Such as `UEFI`.
        kind: &'static str,
        /// The files that were looked for.
        looked: Vec<PathBuf>,
    },
    /// ovmf-prebuilt could not be had.
    #[error("fetching the firmware {tag}")]
    Prebuilt {
        /// The release.
        tag: String,
        /// Why.
        source: Box<ovmf_prebuilt::Error>,
    },
    /// QEMU could not be started or waited for.
    #[error("running a machine")]
    Program(#[source] coremax_sandbox::Error),
    /// QEMU ended, or did not come up, before the machine ran.
    #[error("QEMU did not start: {said}")]
    NotStarted {
        /// The end of what it said.
        said: String,
    },
    /// QEMU's control socket failed.
    #[error("asking QEMU for {command}")]
    Qmp {
        /// The QMP command.
        command: &'static str,
        /// Why.
        source: qapi::ExecuteError,
    },
    /// The kernel gave no random bytes.
    #[error("making a nonce")]
    Random(#[source] io::Error),
    /// The terminal could not be set or restored.
    #[error("setting the terminal")]
    Terminal(#[source] io::Error),
    /// Somebody asked the program to end, and so the machine ended first.
    #[error("the machine was ended by a signal")]
    Interrupted,
    /// A page could not be made from its template.
    #[error("writing the report's {page}")]
    Report {
        /// Which page.
        page: &'static str,
        /// Why.
        source: Box<minijinja::Error>,
    },
    /// A value could not be written as JSON.
    #[error("writing {what} as JSON")]
    Json {
        /// What it was.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoFirmware { .. } => Some(
                "the package ovmf has it: it belongs to the tools tree; with the host's tools, \
                 install it there"
                    .into(),
            ),
            Self::Prebuilt { .. } => Some(
                "it is fetched from GitHub only where no local firmware is found: install ovmf, or \
                 name other files in firmware/firmware.toml"
                    .into(),
            ),
            Self::Program(source) => source.hint(),
            Self::NotStarted { said } if said.contains("Could not set up host forwarding") => {
                Some("the port was taken in the meantime: try again".into())
            }
            _ => None,
        }
    }
}

/// For `map_err`: the file and what was being done with it.
pub(crate) fn file(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { operation, path, source }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
