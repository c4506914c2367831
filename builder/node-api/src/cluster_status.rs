//! How far a machine is on its way into its cluster: what it says to anybody who asks.
//!
//! JSON, one object, [`LENGTH_MAX`] bytes at most. There is no secret in it: of keys only public halves and their fingerprints.
//! Version rule: a field may be added, and an unknown field is ignored; whatever else changes raises [`FORMAT`], and a
//! reader refuses another one.
//!
//! [`screen`] is the same for a person in front of the machine.

mod of;
mod screen;
pub mod text;

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::{
    guid::Guid,
    hex, identity,
    join::{Disk, Edition, NodeKey, Phase},
    roster::{Mac, Name},
    update::Version,
};
pub use screen::{COLUMNS, LINES, screen, waits, word};

/// The version of this form.
pub const FORMAT: u32 = 1;
/// Bytes of a status, at most. Set by this format: 250 nodes and all that waits, with the longest texts
/// each, fit.
pub const LENGTH_MAX: usize = 448 << 10;
/// Characters of a text for people, at most; the rest is cut off. Set by this format.
pub const TEXT_MAX: usize = 400;
/// Machines that wait, at most, of those that a seed tells of. Set by this format.
pub const WAITING_MAX: usize = 100;
/// MACs of one of them, at most. Set by this format: the cards of a board, without their virtual ones.
pub const MACS_MAX: usize = 4;
/// Disks of one of them, at most, of those that it has. Set by this format: with their paths they take room.
pub const DISKS_MAX: usize = 8;
/// Obstacles, at most. Set by this format.
pub const OBSTACLES_MAX: usize = 8;

/// What a machine says of its way into its cluster. Times are in milliseconds since 1970, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterStatus {
    /// [`FORMAT`].
    pub format: u32,
    /// When this was written.
    pub written: i64,
    /// How far it is.
    pub phase: Phase,
    /// What it waits for.
    pub waits: Wait,
    /// What went wrong, of its own: a medium that cannot be read, a file that cannot be written.
    pub problem: Option<String>,
    /// What somebody said in clear who proved nothing. Nobody acts on it.
    pub hint: Option<String>,
    /// Its cluster; nothing before it was told.
    pub cluster: Option<Guid>,
    /// Which of the cluster's keys it has.
    pub key_id: Option<identity::KeyId>,
    /// Its own key's.
    pub fingerprint: Option<Fingerprint>,
    /// Its name; nothing before it has one.
    pub name: Option<Name>,
    /// Its address in the roster.
    pub address: Option<Ipv4Addr>,
    /// The epoch of its roster, 0 without one.
    pub epoch: u64,
    /// Whom it asks.
    pub asks: Option<String>,
    /// What it speaks with that one; nothing before it is known who that is.
    #[serde(default)]
    pub channel: Option<Spoken>,
    /// When it asks again.
    pub next_try: Option<i64>,
    /// What it knows as the cluster's seed.
    pub seed: Option<SeedStatus>,
}

/// What a connection to a seed speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spoken {
    /// Noise, with the cluster's key.
    Noise,
    /// TLS, with the certificates of both.
    Tls,
}

/// What a machine waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "for")]
pub enum Wait {
    /// Nothing.
    Nothing,
    /// Somebody who says which cluster is its own.
    Identity,
    /// Its network.
    Network,
    /// A seed's answer.
    Seed,
    /// The operator's approval, or the other machines of the pool.
    Approval,
    /// That what refused it changes.
    Refused {
        /// The refusal, its code first: `bad-key: ...`.
        why: String,
    },
    /// A reset: its disk belongs to another machine.
    ForeignDisk,
    /// A seed whose orders it may follow.
    BadOrders,
    /// The others.
    Others,
}

/// What a seed knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeedStatus {
    /// How far the cluster is.
    pub stage: Progress,
    /// Which roster holds.
    pub edition: Edition,
    /// Every row of the roster, in its order.
    pub peers: Vec<PeerStatus>,
    /// Machines without a row, [`WAITING_MAX`] at most.
    pub waiting: Vec<Waiting>,
    /// What the cluster is not formed for, or a machine that came late not taken in, [`OBSTACLES_MAX`] at most; nothing when
    /// all is well.
    pub obstacles: Vec<String>,
    /// Minutes for which it takes new machines yet; 0 once its window is closed.
    pub window: u16,
    /// Connections that came to nothing since the program's start, by why.
    pub turned_away: BTreeMap<String, u64>,
}

/// How far a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It waits for its nodes.
    Gathering,
    /// All is well, and its nodes promise themselves to it.
    Forming,
    /// It is being deployed.
    Deploying,
    /// It is formed.
    Formed,
}

/// One row, as its seed sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerStatus {
    /// Its name.
    pub name: Name,
    /// Its address in the roster.
    pub address: Ipv4Addr,
    /// The machine that has it: the fingerprint of its key, and the lowest of its MACs.
    pub fingerprint: Option<Fingerprint>,
    /// See `fingerprint`.
    pub mac: Option<Mac>,
    /// How far it said that it is; nothing where it has not been heard since the seed was started.
    pub phase: Option<Phase>,
    /// When it said that.
    pub heard: Option<i64>,
    /// The version of its image, as it said then.
    #[serde(default)]
    pub image: Option<Version>,
}

/// A machine that has no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Waiting {
    /// Its key, which an approval names.
    pub key: NodeKey,
    /// The key's: what the operator compares with the machine's console.
    pub fingerprint: Fingerprint,
    /// Its lowest MACs, in order, [`MACS_MAX`] at most.
    pub macs: Vec<Mac>,
    /// Its serial number in DMI; characters that are not graphic ASCII are `?` in it.
    pub serial: Option<String>,
    /// Its disks, [`DISKS_MAX`] at most.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// How many more it has.
    #[serde(default)]
    pub more_disks: usize,
}

/// Names a node's key: the first 8 bytes of its SHA-256. Displays, parses and serialises as in `0123-4567-89ab-cdef`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 8]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no fingerprint: write it as in 0123-4567-89ab-cdef")]
pub struct NotAFingerprint;

/// A text that is no status.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`LENGTH_MAX`].
    #[error("the status is longer than {LENGTH_MAX} bytes")]
    Long,
    /// Of another version.
    #[error("the status is of format {0}, and this program reads format {FORMAT}")]
    Format(u32),
    /// Not of the form.
    #[error("reading the status")]
    Json(#[source] serde_json::Error),
}

impl ClusterStatus {
    /// Reads one. Foreign bytes are expected here.
    ///
    /// # Errors
    /// Every [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        /// Read first: of another format nothing else is known.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        if bytes.len() > LENGTH_MAX {
            return Err(Malformed::Long);
        }
        let Head { format } = serde_json::from_slice(bytes).map_err(Malformed::Json)?;
        if format != FORMAT {
            return Err(Malformed::Format(format));
        }
        serde_json::from_slice(bytes).map_err(Malformed::Json)
    }

    /// The text that [`Self::parse`] reads: texts and lists that are longer than they may be are cut.
    pub fn to_text(&self) -> String {
        // There is nothing in it that JSON cannot say.
        serde_json::to_string(&self.short()).unwrap_or_default() + "\n"
    }

    /// It with texts and lists no longer than they may be.
    pub(crate) fn short(&self) -> Self {
        let mut short = self.clone();
        let texts = [short.problem.as_mut(), short.asks.as_mut()];
        texts.into_iter().flatten().for_each(cut);
        if let Wait::Refused { why } = &mut short.waits {
            cut(why);
        }
        if let Some(seed) = &mut short.seed {
            seed.obstacles.truncate(OBSTACLES_MAX);
            seed.obstacles.iter_mut().for_each(cut);
            seed.peers.truncate(crate::roster::NODES_MAX);
            seed.waiting.truncate(WAITING_MAX);
        }
        short
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
    }
}

impl Fingerprint {
    /// That of a key.
    pub fn of(key: NodeKey) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(key.0)[..8]);
        Self(first)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.chunks(2).map(hex::encode).collect();
        f.write_str(&parts.join("-"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let bytes = hex::decode(&text.replace('-', "")).and_then(|bytes| bytes.try_into().ok());
        let found = bytes.map(Self).ok_or(NotAFingerprint)?;
        if found.to_string() == text { Ok(found) } else { Err(NotAFingerprint) }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
