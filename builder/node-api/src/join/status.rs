//! What anybody on a machine may know of its join: a file in JSON, written anew whenever something changes.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Hardware, NodeKey, Phase, node::Waits};
use crate::{guid::Guid, identity::KeyId, roster::Name};

/// The version of this format.
pub const FORMAT: u32 = 1;

/// How far a machine is. There is no secret in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// [`FORMAT`].
    pub format: u32,
    /// The cluster that its medium names.
    pub cluster: Guid,
    /// Which key of the cluster's it has.
    pub key_id: KeyId,
    /// The public half of its own key: what an operator approves.
    pub key: NodeKey,
    /// How far it is.
    pub phase: Phase,
    /// Its name, once it has one.
    pub name: Option<Name>,
    /// The epoch of its roster, 0 for none.
    pub epoch: u64,
    /// What it waits for.
    pub waits_for: Waits,
    /// The seed that it asked last.
    pub asked: Option<SocketAddr>,
    /// When it asks again, in milliseconds since 1970 by its own clock.
    pub next_try: Option<i64>,
    /// What somebody said in clear, who proved nothing. Nobody acts on it.
    pub hint: Option<String>,
    /// What does not work on this machine.
    pub problem: Option<String>,
    /// The seed's side, on the machine that is the seed.
    pub seed: Option<SeedStatus>,
}

/// What a seed knows of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeedStatus {
    /// Of its roster.
    pub epoch: u64,
    /// How many rows that has.
    pub rows: usize,
    /// The rows that have their machines.
    pub members: Vec<Name>,
    /// Machines that have none.
    pub waiting: BTreeMap<NodeKey, Hardware>,
    /// What the cluster is not formed for yet.
    pub obstacles: Vec<String>,
    /// It deploys, or has.
    pub is_fired: bool,
    /// It has deployed.
    pub is_formed: bool,
    /// Connections that came to nothing since the program's start, by why.
    pub turned_away: BTreeMap<String, u64>,
}
