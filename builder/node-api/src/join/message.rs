//! What nodes and seeds say to each other.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use super::{Guard, Guards, Hardware};
use crate::{
    base64_text,
    enrol::{Gift, Request},
    guid::Guid,
    hex,
    roster::{Name, Roster},
    update::Version,
};

/// The public half of the key that a machine made at its first boot: what the channel proves of its other end.
/// Displays, parses and serialises as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub [u8; 32]);

/// What was offered as a node's key is not 64 hex digits.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a node's key: write its 64 hex digits")]
pub struct NotANodeKey(String);

/// The other end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub key: NodeKey,
    /// Whether it proved that it has the cluster's key, and this one.
    pub is_proven: bool,
}

/// Says where a seed is, to all, in clear. It decides nothing: anybody can send one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// [`cluster_hash`].
    pub cluster: [u8; 32],
    /// Of the seed's roster, for people.
    pub epoch: u64,
    /// Where it listens, TCP: on the address that this comes from.
    pub port: u16,
}

/// What a cluster is called in clear.
pub fn cluster_hash(cluster: Guid) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"coremax cluster\0")
        .chain_update(cluster.as_bytes())
        .finalize()
        .into()
}

/// Which roster: none, with epoch 0, for a node that has none yet.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edition {
    /// Its epoch.
    pub epoch: u64,
    /// [`Roster::digest`]: an operator may have signed two of one epoch.
    #[serde(with = "hex::digest")]
    pub digest: Digest,
}

/// A SHA-256.
pub type Digest = [u8; 32];

impl Edition {
    pub(super) fn of(roster: &Roster, guards: Guards) -> Self {
        let digest = if guards.on(Guard::Digest) { roster.digest() } else { Digest::default() };
        Self { epoch: roster.epoch, digest }
    }
}

/// One attempt to make a cluster: a promise is of just this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Formation {
    /// Which cluster.
    pub cluster: Guid,
    /// By which roster.
    pub edition: Edition,
    /// The generation of the seed's row in it.
    pub generation: u32,
    /// By which machine.
    pub seed: NodeKey,
}

impl Formation {
    /// Whether a node that promised `before` may promise this: in a later epoch, and to the same seed, or one that the
    /// operator put in the other's place.
    pub fn may_follow(&self, before: &Self) -> bool {
        let is_same_seed = self.seed == before.seed && self.generation == before.generation;
        self == before
            || (self.edition.epoch > before.edition.epoch
                && (is_same_seed || self.generation > before.generation))
    }
}

/// The row that a machine has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Its name.
    pub name: Name,
    /// Its generation.
    pub generation: u32,
}

/// How far a node is. A crash takes it back to the last one that is on its disk, and it goes on from there: what comes
/// between (`Discovered`, `TimeSynced`, `Ready`) holds for one boot, and is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It knows nothing.
    Blank,
    /// It has a key of its own. On disk.
    Identified,
    /// Its network is up. On disk.
    Networked,
    /// A seed answered it.
    Discovered,
    /// It has a name. On disk.
    Enrolled,
    /// Its clock is the seed's.
    TimeSynced,
    /// Its disks and files are as they should be. On disk.
    Prepared,
    /// Nothing is missing.
    Ready,
    /// The seed deploys. On disk.
    Deploying,
    /// It is part of a cluster. On disk.
    Formed,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Blank,
        Self::Identified,
        Self::Networked,
        Self::Discovered,
        Self::Enrolled,
        Self::TimeSynced,
        Self::Prepared,
        Self::Ready,
        Self::Deploying,
        Self::Formed,
    ];
}

/// All that a node says, each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Tells its answer from older ones. Random at a boot's beginning, then counted.
    pub number: u64,
    /// Which machine it is.
    pub hardware: Hardware,
    /// The row that it has.
    pub held: Option<Held>,
    /// Of its roster.
    pub edition: Edition,
    /// How far it is.
    pub phase: Phase,
    /// Its clock, in milliseconds since 1970.
    pub wall: i64,
    /// What keeps it from being ready, as far as it sees that.
    pub lacks: BTreeSet<Lack>,
    /// The rows of its roster that it does not reach, by [`Roster::number`]. Said while it is ready; none before.
    pub unreached: BTreeSet<u8>,
    /// What it promised.
    pub promise: Option<Formation>,
    /// What it is made of. It decides nothing here: what the roster says of that the node looks at ([`Lack`]).
    #[serde(default)]
    pub build: Build,
    /// Certificates that it asks for. Whoever drives the node puts it in; it decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrol: Option<Box<Request>>,
}

/// What a machine is made of, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The version of its image, if that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Version>,
    /// Its disks, in the order of their paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// A path to it that stays, as a roster's `osd-disks` has it.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What a machine finds missing that its roster names: it is not ready without. Displays as what an operator sees of it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// A disk of its row.
    #[error("a disk of its row is not there")]
    Disk,
    /// The address of its row.
    #[error("it has not the address of its row")]
    Address,
    /// The registry.
    #[error("the registry does not answer it")]
    Registry,
    /// The version of the image.
    #[error("its image is of another version than the roster's")]
    Image,
}

/// How a machine finds what is around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What its roster names, and it has not.
    pub lacks: BTreeSet<Lack>,
    /// The other nodes that it reaches at full MTU, and that reach it, by their names.
    pub reached: BTreeSet<Name>,
}

/// What a seed says, to one report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The report's.
    pub number: u64,
    /// To whom it was.
    pub verdict: Verdict,
    /// What a member asked for, where that is due. Whoever drives the seed puts it in; it decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gift: Option<Box<Gift>>,
}

/// What a seed thinks of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is not known: somebody has to approve it, or the pool is not complete.
    Pending,
    /// It has no place here.
    Refused(Refusal),
    /// It is a node.
    Member(Orders),
}

/// What a node is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Its row.
    pub held: Held,
    /// Of the seed's roster.
    pub edition: Edition,
    /// The seed's roster, signed, if the node's is another one.
    #[serde(with = "base64_text::option", default)]
    pub roster: Option<Arc<[u8]>>,
    /// The seed's clock, in milliseconds since 1970.
    pub wall: i64,
    /// What the cluster waits for.
    pub stage: Stage,
}

/// How far a seed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It waits for nodes.
    Gathering,
    /// It asks every controller, in a pool every node, for the promise of this formation.
    Forming(Formation),
    /// It deploys.
    Deploying(Formation),
    /// It has deployed.
    Formed(Formation),
}

/// Why a node has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// It has not the cluster's key. Said outside a channel, and so a hint alone.
    #[error("bad-key: the cluster's key is another one")]
    BadKey,
    /// All rows have their machines, or 4 h have passed.
    #[error("window-closed: the cluster takes no new nodes; sign a roster with a new epoch")]
    WindowClosed,
    /// Its row has another machine, its machine another key, or its key another machine.
    #[error(
        "duplicate-hardware: this machine's row is taken; is its disk a copy, or new? coremax cluster replace"
    )]
    DuplicateHardware,
    /// Another machine has its place.
    #[error("revoked: another machine has this one's place; reset it to use it again")]
    Revoked,
    /// It says that it has another name than the seed gave it.
    #[error("other-name: this machine was given another name by another seed")]
    OtherName,
    /// It has a roster that is newer than the seed's.
    #[error("old-roster: the node has a newer roster than the seed; put that one in")]
    OldRoster,
    /// It has another roster than the seed, of the same epoch.
    #[error("other-roster: two rosters of one epoch were signed; sign one with a new epoch")]
    OtherRoster,
    /// It says nothing that it could be told by: no row can mean it, and nobody would see a copy of it.
    #[error(
        "unknown-hardware: this machine has neither a card's MAC nor a serial number; is a driver missing?"
    )]
    UnknownHardware,
    /// Two rows mean this machine.
    #[error(
        "two-rows: one row of the roster means this machine by MAC, another one by serial number"
    )]
    TwoRows,
}

impl FromStr for NodeKey {
    type Err = NotANodeKey;

    fn from_str(text: &str) -> Result<Self, NotANodeKey> {
        let key = hex::decode_32(text);
        key.map(Self).ok_or_else(|| NotANodeKey(text.chars().take(80).collect()))
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for NodeKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// The epoch, and the digest's first digits.
impl fmt::Debug for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.epoch)?;
        self.digest[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first digits, as people compare them.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_digits() {
        let key = NodeKey([0xa5; 32]);
        assert_eq!(key.to_string().parse::<NodeKey>().unwrap(), key);
        for bad in ["", "a5", &"a5".repeat(33), &"+5".repeat(32), &"é".repeat(32)] {
            assert!(bad.parse::<NodeKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn which_promise_may_follow_which() {
        let formation = |epoch, generation, seed| Formation {
            cluster: Guid::literal(1),
            edition: Edition { epoch, digest: [0; 32] },
            generation,
            seed: NodeKey([seed; 32]),
        };
        let before = formation(2, 0, 1);
        for (after, may) in [
            (before, true),
            (formation(2, 0, 2), false), // rebuilt
            (formation(3, 0, 2), false), // rebuilt, and a node was added
            (formation(3, 0, 1), true),
            (formation(3, 1, 2), true), // replaced by the operator
            (formation(2, 1, 2), false),
            (formation(1, 1, 2), false),
            (formation(1, 0, 1), false),
            (Formation { edition: Edition { digest: [1; 32], ..before.edition }, ..before }, false),
        ] {
            assert_eq!(after.may_follow(&before), may, "{after:?}");
        }
    }
}
