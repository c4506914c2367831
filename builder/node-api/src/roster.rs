//! The roster: which machines are one cluster, and what each of them is.
//!
//! ```toml
//! format = 1
//! cluster = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10"   # the cluster's UUID, for ever
//! epoch = 1                                          # raised with every change
//! mode = "static"                                    # or "pool": identical machines, no `match`
//! seed = "control-1"                                 # named here, never elected
//! subnet = "10.0.0.0/24"
//! vip = "10.0.0.10"
//! mtu = 1500                                         # may be missing, as may the next three
//! gateway = "10.0.0.1"
//! dns = ["10.0.0.2", "10.0.0.3"]
//! registry = "registry.example:5000"                 # has to answer before the cluster is formed
//! minimum-workers = 0
//! versions = { image = "2026.11.22" }                # what every node has before the cluster is formed
//! [[node]]
//! name = "control-1"
//! roles = ["control", "network", "storage"]
//! address = "10.0.0.11"
//! match = { mac = "52:54:00:00:00:01" }              # or { serial = "..." }
//! osd-disks = ["/dev/disk/by-path/pci-0000:00:05.0"]
//! nic = [{ mac = "52:54:00:00:00:02", name = "storage0", address = "10.1.0.11/24" }]
//! ```
//!
//! The operator keeps it as TOML and signs it; a node reads the [signed](signed) form alone. There
//! are no secrets in it. What TOML cannot say is in [`Roster::faults`], which both sides ask.

mod rules;
pub mod signed;
mod values;

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{guid::Guid, join::NodeKey, update::Version};
pub use rules::{Fault, Step};
pub use values::{BadValue, CardAddress, Endpoint, Mac, Name, Subnet};

/// The version of this format.
pub const FORMAT: u32 = 1;
/// The most nodes. Set by this format: a VRRP domain and a /24 hold no more.
pub const NODES_MAX: usize = 250;
/// The smallest and the largest MTU of a cluster, in bytes. Set by this format: with less the kernel has no IPv6 on a card
/// (RFC 8200, 5), and few switches take more.
pub const MTU: (u16, u16) = (1280, 9216);
/// Name servers, at most: resolv.conf(5) knows no more.
pub const DNS_MAX: usize = 3;
/// Stands in a new roster for what its operator has to write. No value with it is taken.
pub const CHANGE_ME: &str = "CHANGE-ME";

/// A cluster, as its operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Roster {
    /// [`FORMAT`].
    pub format: u32,
    /// Names the cluster, for ever.
    pub cluster: Guid,
    /// From 1, raised with every change: of two rosters the one with the higher epoch holds.
    pub epoch: u64,
    /// How machines get their rows.
    #[serde(default)]
    pub mode: Mode,
    /// The node that admits the others.
    pub seed: Name,
    /// The seed's key, once it has formed the cluster: no other machine is its seed then, and none forms it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_key: Option<NodeKey>,
    /// Where all addresses are.
    pub subnet: Subnet,
    /// The address that moves between the controllers.
    pub vip: Ipv4Addr,
    /// Bytes of the longest IP packet in [`Self::subnet`], [`MTU`]: every pair of nodes reaches each other with it before the
    /// cluster is formed.
    #[serde(default = "ethernet")]
    pub mtu: u16,
    /// Where packets go that leave the subnet; DHCP's where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// Name servers, [`DNS_MAX`] at most; DHCP's where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<Ipv4Addr>,
    /// Where the nodes get what is deployed: every node connects to it before the cluster is formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Endpoint>,
    /// How many nodes without [`Role::Control`] must be ready before the cluster is deployed.
    #[serde(default)]
    pub minimum_workers: usize,
    /// What the nodes have: every one has it before the cluster is formed.
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub versions: Versions,
    /// The nodes, controllers first in pool mode.
    #[serde(rename = "node")]
    pub nodes: Vec<Node>,
}

/// Which versions the cluster is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Versions {
    /// Of the image that each node runs; any where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Version>,
}

impl Versions {
    const fn is_empty(&self) -> bool {
        self.image.is_none()
    }
}

const fn ethernet() -> u16 {
    1500
}

/// How machines get their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each row says which machine it means.
    #[default]
    Static,
    /// The machines are alike; sorted once, by their lowest MAC.
    Pool,
}

/// One row: a node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Node {
    /// Its host name.
    pub name: Name,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Its address in [`Roster::subnet`].
    pub address: Ipv4Addr,
    /// Which machine it is; nothing in pool mode.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// Raised when another machine takes the row. What was enrolled before stays out.
    #[serde(default)]
    pub generation: u32,
    /// Network cards beside the one that `match` names.
    #[serde(rename = "nic", default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// The disks that Ceph may take, as paths that stay: /dev/disk/by-...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub osd_disks: Vec<String>,
}

/// What a node does. Each is a group of the cluster's inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The control plane: its nodes must all be there, and promise, before anything is deployed.
    Control,
    /// Routers and load balancers.
    Network,
    /// Virtual machines.
    Compute,
    /// Ceph's disks.
    Storage,
    /// Metrics and logs.
    Monitoring,
    /// Kubernetes' pods.
    Worker,
}

/// Which machine a row means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// The one with this permanent MAC.
    Mac(Mac),
    /// The one with this serial number in DMI.
    Serial(String),
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Nic {
    /// Its permanent MAC.
    pub mac: Mac,
    /// What it is called: `storage0`.
    pub name: Name,
    /// Its address, outside of [`Roster::subnet`]; DHCP's where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<CardAddress>,
}

impl Roster {
    /// The row with this name.
    pub fn node(&self, name: &Name) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// The number of the row with this name, from 0: there are [`NODES_MAX`] at most.
    pub fn number(&self, name: &Name) -> Option<u8> {
        u8::try_from(self.nodes.iter().position(|node| node.name == *name)?).ok()
    }

    /// The control plane, in the roster's order.
    pub fn control_plane(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_control())
    }

    /// The generation of the seed's row: raised when the operator says that the seed is dead.
    pub fn seed_generation(&self) -> u32 {
        self.node(&self.seed).map_or(0, |node| node.generation)
    }

    /// VRRP's virtual router id, 1 to 255: the same for one cluster, and seldom that of its neighbour.
    pub fn vrrp_id(&self) -> u8 {
        match Sha256::digest(self.cluster.as_bytes())[0] {
            0 => 255,
            id => id,
        }
    }

    /// The generation of a row for another machine. The seed's is above all others; another row's is above the seed's,
    /// and so says that it was replaced while this seed was.
    pub fn next_generation(&self, row: &Node) -> u32 {
        let others = self.nodes.iter().map(|node| node.generation).max().unwrap_or(0);
        let highest = if row.name == self.seed { others } else { self.seed_generation() };
        row.generation.max(highest).saturating_add(1)
    }

    /// A row that is not what it may be after `before`: names, roles and addresses are for a generation, and a
    /// generation grows as [`Self::next_generation`] says. Nothing if this roster may follow.
    ///
    /// A controller that is new under the same seed has a generation above the seed's too. So of all rosters under one
    /// seed each has a controller that every other one has: see [`Self::faults`].
    pub fn unfaithful_to(&self, before: &Self) -> Option<&Node> {
        let is_seed_new =
            self.seed != before.seed || self.seed_generation() > before.seed_generation();
        let highest = before.nodes.iter().map(|node| node.generation).max().unwrap_or(0);
        let fixed = |node: &Node| (node.roles.clone(), node.address, node.matches.clone());
        let is_alone = |roster: &Self| roster.control_plane().all(|row| row.name == roster.seed);
        let is_left_alone = !is_seed_new && is_alone(self) && !is_alone(before);
        self.nodes.iter().find(|node| {
            let old = before.node(&node.name);
            let is_other = old.is_none_or(|old| node.generation > old.generation);
            let has_changed = old.is_some_and(|old| {
                node.generation < old.generation || (!is_other && fixed(node) != fixed(old))
            });
            let is_low = match node.name == self.seed {
                true => is_left_alone || (is_seed_new && node.generation <= highest),
                false => {
                    is_other
                        && !is_seed_new
                        && (node.is_control() || old.is_some())
                        && node.generation <= self.seed_generation()
                }
            };
            has_changed || is_low
        })
    }

    /// The SHA-256 of its canonical form, which is JSON without spaces: tells two rosters of one epoch apart.
    pub fn digest(&self) -> [u8; 32] {
        // A roster is numbers, texts and lists: there is nothing in it that JSON cannot say.
        Sha256::digest(serde_json::to_vec(self).unwrap_or_default()).into()
    }
}

impl Node {
    /// Whether it is one of the control plane.
    pub fn is_control(&self) -> bool {
        self.roles.contains(&Role::Control)
    }
}

#[cfg(test)]
pub(crate) mod tests;
