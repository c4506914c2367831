//! What can go wrong with an archive, and what the user can do about it.

use std::{io, path::PathBuf};

use jiff::Timestamp;

use crate::{
    Side,
    host::{ConfError, SourcesError},
};

/// An archive that cannot be used, or does not say what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum Error {
    /// A fetch failed.
    #[error("fetching {what}")]
    Fetch { what: String, source: Box<coremax_fetch::Error> },
    /// A local file cannot be read.
    #[error("reading {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A recipe names a base that there is not.
    #[error("there is no distribution {id:?}")]
    UnknownDistribution { id: String },
    /// An apt.conf file is malformed.
    #[error("reading {}", path.display())]
    Conf { path: PathBuf, source: ConfError },
    /// A sources.list file is malformed.
    #[error("reading {}", path.display())]
    Sources { path: PathBuf, source: SourcesError },
    /// The host's apt knows no Debian archive, or only in files that cannot be read.
    #[error("the host's apt configuration names no Debian {}{}", described(*side), unread_among(unread))]
    NoMirror { side: Side, unread: Vec<String> },
    /// The host's Debian archive is of a kind that only apt can use.
    #[error("the host's Debian archive {uri:?} is neither http, https nor file")]
    Scheme { uri: String },
    /// An OpenPGP key cannot be read.
    #[error("reading the keys of {name}")]
    Key { name: String, source: Box<pgp::errors::Error> },
    /// There is no OpenPGP key where one should be.
    #[error("{name} holds no OpenPGP key")]
    NoKey { name: String },
    /// A pinned key is missing.
    #[error("{name} does not hold the key {fingerprint}")]
    Fingerprint { name: String, fingerprint: String },
    /// Not a signed message.
    #[error("{name} is not signed: {what}")]
    Unsigned { name: String, what: String },
    /// The signature cannot be parsed.
    #[error("reading the signature of {name}")]
    BrokenSignature { name: String, source: Box<pgp::errors::Error> },
    /// No signature holds.
    #[error("no signature of {name} holds: {}", describe(reasons))]
    Signature { name: String, reasons: Vec<String> },
    /// A Release file or an index is malformed.
    #[error("reading {name}, line {line}: {what}")]
    Malformed { name: String, line: usize, what: String },
    /// The archive serves another suite.
    #[error("{name}: asked for the suite {wanted}, got {got}")]
    OtherSuite { name: String, wanted: String, got: String },
    /// Valid-Until has passed.
    #[error("{name} expired on {until}")]
    Expired { name: String, until: Timestamp },
    /// The Date is still to come.
    #[error("{name} is of {date}, and here it is {now}")]
    FromTheFuture { name: String, date: Timestamp, now: Timestamp },
    /// An older Release than one seen before.
    #[error("{name} is of {date}, and one of {seen} was served before")]
    Rollback { name: String, date: Timestamp, seen: Timestamp },
    /// The suite lacks an index.
    #[error("{name} has no {component}/binary-{architecture} (it has {available})")]
    NoIndex { name: String, component: String, architecture: String, available: String },
    /// An index cannot be unpacked.
    #[error("unpacking {name}")]
    Unpack { name: String, source: io::Error },
    /// An index is longer than it may be.
    #[error("{name} unpacks to more than {limit} bytes")]
    TooLong { name: String, limit: u64 },
    /// Offline, and nothing usable kept.
    #[error("{name} is not in the cache, and the network is not to be used")]
    Offline { name: String },
}

impl Error {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Fetch { source, .. } => return source.hint(),
            Self::UnknownDistribution { .. } => return Some(known_distributions()),
            Self::Conf { .. } => "mend the file, which says how the network is reached",
            Self::Sources { .. } => "mend the file, or name an archive with --mirror",
            Self::Read { .. } => "see that the file is there and may be read",
            Self::NoMirror { side: Side::Security, .. } => {
                "mend that file, or name the archive with --security-mirror"
            }
            Self::NoMirror { unread, .. } if !unread.is_empty() => {
                "mend that file, or name an archive with --mirror"
            }
            Self::NoMirror { .. } | Self::Scheme { .. } => {
                "name an archive with --mirror, as http://, https:// or file:/"
            }
            Self::Key { .. } | Self::NoKey { .. } | Self::Fingerprint { .. } => {
                "give a file that `gpg --export` wrote, armored or binary"
            }
            Self::Signature { .. } => {
                "name the archive's own keys with --key, or another mirror: this one may be tampered with"
            }
            Self::Unsigned { .. } | Self::BrokenSignature { .. } => {
                "a proxy or a login page may answer instead of the mirror; check the address"
            }
            Self::OtherSuite { .. } => "check the address of the mirror",
            Self::Expired { .. } => {
                "the mirror is no longer updated: name another, or turn the check off for an archive that is frozen"
            }
            Self::FromTheFuture { .. } => "set this machine's clock",
            Self::Rollback { .. } => {
                "the mirror is behind, or someone replays an old state: try again later, or name another mirror"
            }
            Self::NoIndex { .. } => "name a component that it has",
            Self::Malformed { .. } | Self::Unpack { .. } => {
                "the archive itself is at fault: tell those who keep it"
            }
            Self::Offline { .. } => "build once with the network",
            Self::TooLong { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn known_distributions() -> String {
    format!("known are {}", crate::distribution::offered().join(", "))
}

fn described(side: Side) -> &'static str {
    match side {
        Side::Main => "archive",
        Side::Security => "security archive",
    }
}

fn unread_among(unread: &[String]) -> String {
    match unread {
        [] => String::new(),
        files => format!(" that can be read ({})", files.join("; ")),
    }
}

fn describe(reasons: &[String]) -> String {
    match reasons {
        [] => "there is none".to_owned(),
        reasons => reasons.join("; "),
    }
}
