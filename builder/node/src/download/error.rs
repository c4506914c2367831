//! Why an update could not be fetched.

use std::{io, path::PathBuf};

use super::web::CERTIFICATES;

/// An update that did not come. No text has the login of a URL in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The text is none.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// Nobody knows the host.
    #[error("nobody knows the address of {host}")]
    NoAddress { host: String },
    /// No connection, or none that is trusted.
    #[error("asking {url}")]
    Connection { url: String, source: Box<ureq::Error> },
    /// The server has it not, or does not give it.
    #[error("{url} answered with status {status}")]
    Status { url: String, status: u16 },
    /// The server gave another range than it was asked for.
    #[error("{url} was asked for what follows byte {from}, and answered with something else")]
    Range { url: String, from: u64 },
    /// The connection ended too early.
    #[error("{url} broke off")]
    Broken { url: String, source: io::Error },
    /// What was fetched could not be kept.
    #[error("keeping what was fetched in {}", path.display())]
    Keep { path: PathBuf, source: io::Error },
    /// There is nothing to check an https server against.
    #[error("reading the certificates in {CERTIFICATES}")]
    Certificates { source: io::Error },
}

impl Error {
    /// Whether another attempt may go better.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Connection { source, .. } => !is_of_tls(source),
            Self::NoAddress { .. } | Self::Broken { .. } => true,
            Self::Url(_) | Self::Range { .. } | Self::Keep { .. } | Self::Certificates { .. } => {
                false
            }
        }
    }

    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Url(_) => "write it as https://host/path",
            Self::NoAddress { .. } => "look at `getent ahosts` of the host, or use its address",
            Self::Connection { source, .. } if is_of_tls(source) => {
                "put the certificate of the server's authority into /usr/local/share/ca-certificates and run \
                 `update-ca-certificates`, or use http: the update's signature is checked all the same"
            }
            Self::Keep { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room in /var: the whole update is kept there until it is written"
            }
            Self::Certificates { .. } => "put the package ca-certificates into the image",
            Self::Connection { .. } | Self::Broken { .. } => {
                "run it again: it goes on where it stopped"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn is_of_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        // A handshake that failed.
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}
