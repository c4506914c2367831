//! What can go wrong while fetching, and what the user can do about it.

use std::{io, path::PathBuf};

use crate::Digest;

/// A fetch that failed. URLs in messages never hold credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cache folder cannot be made or read.
    #[error("opening the cache {}", dir.display())]
    OpenCache {
        /// The cache's folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the cache, or a local file, cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the cache cannot be written.
    #[error("writing {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system filled up while writing.
    #[error("writing {}: no space left", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// There is not enough room for what must be fetched.
    #[error("{} has {free} bytes free, and {needed} must be fetched", dir.display())]
    Space {
        /// The cache's folder.
        dir: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes to fetch.
        needed: u64,
    },
    /// The file must be fetched, but the cache cannot be written.
    #[error("{name} is not in the cache {}, which is read-only", dir.display())]
    ReadOnly {
        /// The input's name.
        name: String,
        /// The cache's folder.
        dir: PathBuf,
    },
    /// A file of the cache is not what it was, and cannot be removed.
    #[error("removing {}, which is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not the one that was pinned.
    #[error("fetching {name} from {url}: wanted SHA-256 {wanted}, got {got}")]
    Digest {
        /// The input's name.
        name: String,
        /// Where it came from.
        url: String,
        /// What the index says.
        wanted: Digest,
        /// What came.
        got: Digest,
    },
    /// The file has not the length that was pinned.
    #[error("fetching {name} from {url}: wanted {wanted} bytes, the server has {got}")]
    Size {
        /// The input's name.
        name: String,
        /// Where it came from.
        url: String,
        /// What the index says.
        wanted: u64,
        /// What the server has.
        got: u64,
    },
    /// The file ended early.
    #[error("fetching {url}: it ended after {got} of {wanted} bytes")]
    Short {
        /// Where it came from.
        url: String,
        /// What was to come.
        wanted: u64,
        /// What came.
        got: u64,
    },
    /// A file without a pinned length is longer than is sensible.
    #[error("fetching {url}: it is longer than {limit} bytes")]
    TooLong {
        /// Where it came from.
        url: String,
        /// The bound.
        limit: u64,
    },
    /// The server refuses.
    #[error("fetching {url}: the server answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection failed.
    #[error("fetching {url}")]
    Connection {
        /// What was asked for.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The connection was lost in the middle of a file.
    #[error("fetching {url}: the transfer broke off")]
    Transfer {
        /// What was asked for.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// No byte came for as long as the transport allows.
    #[error("fetching {url}: no data for {seconds} s")]
    Stalled {
        /// What was asked for.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Every attempt failed.
    #[error("gave up after {attempts} attempts")]
    GaveUp {
        /// How many.
        attempts: u32,
        /// The last failure.
        source: Box<Error>,
    },
    /// Redirected in a circle, or to where one must not follow.
    #[error("fetching {url}: redirected to {to:?}, which is not followed")]
    Redirect {
        /// What was asked for.
        url: String,
        /// The `Location`.
        to: String,
    },
    /// Not a URL that can be fetched.
    #[error("{url:?} is not an http, https or file URL")]
    Url {
        /// What was asked for.
        url: String,
    },
    /// A proxy setting is not a URL.
    #[error("{proxy:?} is not the address of an http or https proxy")]
    Proxy {
        /// The setting, without its password.
        proxy: String,
    },
    /// A file of certificates cannot be used.
    #[error("reading the certificates in {}", path.display())]
    Certificates {
        /// The PEM file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// None of the places that an input names has it.
    #[error("fetching {name}: it is not (or no longer) at {}", tried.join(", nor at "))]
    Gone {
        /// The input's name.
        name: String,
        /// Where it was looked for.
        tried: Vec<String>,
    },
    /// No place that an input names gave it, and some for another reason than that they do not have it.
    #[error("fetching {name}: {}", failures.iter().map(told).collect::<Vec<_>>().join("; "))]
    NoPlace {
        /// The input's name.
        name: String,
        /// What each place answered, in the order in which they were asked.
        failures: Vec<Error>,
    },
    /// The file is not in the cache, and there is no other place where it may be looked for.
    #[error("{name} is not in the cache, and the network is not to be used")]
    Nowhere {
        /// The input's name.
        name: String,
    },
    /// Another fetch failed first.
    #[error("stopped, as another download failed")]
    Stopped,
}

/// A failure with what it came of.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text += &format!(": {source}");
        cause = source.source();
    }
    text
}

impl Error {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::GaveUp { source, .. } => return source.hint(),
            Self::NoPlace { failures, .. } => return failures.iter().find_map(Self::hint),
            Self::OpenCache { .. } => "name another folder with --cache",
            Self::Full { .. } | Self::Space { .. } => {
                "make room there, or name a folder on a larger file system with --cache; what has come is kept"
            }
            Self::ReadOnly { .. } => {
                "make the cache writable, or fill it by a build elsewhere first"
            }
            Self::Damaged { .. } => "remove it yourself, or name another folder with --cache",
            Self::Digest { url, .. } | Self::Size { url, .. } if url.starts_with("file:") => {
                "that file is not what it was, or not the one that is asked for: put it there anew \
                 (`coremax vendor` gathers what locked builds read)"
            }
            Self::Digest { .. } | Self::Size { .. } => {
                "the mirror may be in the middle of an update, or a proxy changes what it passes on: \
                 try again later, or name another mirror"
            }
            Self::Status { status: 401 | 403, .. } => {
                "the server asks for a login: put it into /etc/apt/auth.conf.d (see apt_auth.conf(5))"
            }
            Self::Status { status: 407, .. } => {
                "the proxy asks for a login: put it into Acquire::http::Proxy, http://user:password@host:port"
            }
            Self::Status { status: 404 | 410, .. } => {
                "the mirror does not have it (any more): refresh the index, or name another mirror"
            }
            Self::Gone { .. } => {
                "name another mirror, or gather it where it still is with `coremax vendor`"
            }
            Self::Nowhere { .. } => {
                "name the folder that `coremax vendor` filled with --inputs, or build with the network"
            }
            Self::Connection { source, .. } if is_untrusted(source) => {
                "install the package ca-certificates, or name the authority's file in SSL_CERT_FILE \
                 or Acquire::https::CAInfo"
            }
            Self::Status { .. }
            | Self::Connection { .. }
            | Self::Transfer { .. }
            | Self::Stalled { .. }
            | Self::Short { .. } => {
                "check the network and its proxy (Acquire::http::Proxy, http_proxy), or name another mirror"
            }
            Self::Url { .. } => "name a mirror as http://, https:// or file:/",
            Self::Proxy { .. } => {
                "write it as http://host:port, in Acquire::http::Proxy or http_proxy"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether nothing was heard of the server: it is not there, or the network does not lead to it.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::GaveUp { source, .. } => source.is_unreachable(),
            Self::Connection { source, .. } => !is_untrusted(source) && !is_misuse(source),
            Self::Stalled { .. } => true,
            _ => false,
        }
    }

    /// Whether the place that was asked has no such file.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Status { status: 404 | 410, .. } | Self::Gone { .. } => true,
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether the server has no time for anybody.
    pub(crate) fn is_overloaded(&self) -> bool {
        match self {
            Self::GaveUp { source, .. } => source.is_overloaded(),
            Self::Status { status, .. } => matches!(status, 429 | 503),
            _ => false,
        }
    }

    /// Whether a place that was asked has no such file (any more), whatever the others said.
    pub fn is_gone_somewhere(&self) -> bool {
        match self {
            Self::NoPlace { failures, .. } => failures.iter().any(Self::is_gone),
            error => error.is_gone(),
        }
    }

    /// Whether it is the place that failed: another may do better.
    pub(crate) fn is_of_place(&self) -> bool {
        match self {
            Self::Digest { .. }
            | Self::Size { .. }
            | Self::Status { .. }
            | Self::Connection { .. }
            | Self::Redirect { .. }
            // While a place is asked, only one that is a file of this host is read.
            | Self::Read { .. }
            | Self::GaveUp { .. } => true,
            error => error.is_gone(),
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Connection { source, .. } => !is_untrusted(source) && !is_misuse(source),
            Self::Transfer { .. } | Self::Stalled { .. } | Self::Short { .. } => true,
            _ => false,
        }
    }

    /// A failure to write `path`, with a full disk told apart.
    pub(crate) fn writing(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Write { path, source },
        }
    }
}

/// The server's certificate is not trusted, or there is nothing to trust it by.
fn is_untrusted(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Pem(_) | ureq::Error::Tls(_) => true,
        // The handshake reports what rustls finds wrong as invalid data.
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// The request itself cannot be made, however often.
fn is_misuse(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::ConnectProxyFailed(_)
    )
}
