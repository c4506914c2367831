//! The status of a node and of a seed, as their state machines have it.

use std::collections::BTreeMap;

use super::{ClusterStatus, FORMAT, Fingerprint, PeerStatus, SeedStatus, Wait, Waiting};
use crate::{
    guid::Guid,
    join::{
        Now, Phase,
        node::{Node, Waits},
        seed::Seed,
    },
    roster::Name,
};

impl ClusterStatus {
    /// That of a machine that was told nothing yet, or nothing that it can follow.
    pub fn blank(now: Now, problem: Option<String>) -> Self {
        Self {
            format: FORMAT,
            written: now.wall,
            phase: Phase::Blank,
            waits: Wait::Identity,
            problem,
            hint: None,
            cluster: None,
            key_id: None,
            fingerprint: None,
            name: None,
            address: None,
            epoch: 0,
            asks: None,
            next_try: None,
            seed: None,
        }
    }

    /// That of a node. Whom it asks, and when, knows whoever drives it, as does what went wrong; a seed's own is put in
    /// beside it.
    pub fn of(node: &Node, cluster: Guid, now: Now) -> Self {
        let saved = node.saved();
        let name = saved.held.as_ref().map(|held| &held.name);
        let row = node.roster().zip(name).and_then(|(roster, name)| roster.node(name));
        Self {
            phase: node.phase(),
            waits: waits(node),
            cluster: Some(cluster),
            fingerprint: Some(Fingerprint::of(saved.key)),
            name: name.cloned(),
            address: row.map(|row| row.address),
            epoch: saved.edition.epoch,
            ..Self::blank(now, None)
        }
    }
}

fn waits(node: &Node) -> Wait {
    match (node.phase(), node.waits()) {
        (_, Waits::ForeignDisk) => Wait::ForeignDisk,
        (Phase::Blank | Phase::Identified, _) => Wait::Network,
        (_, Waits::Seed) => Wait::Seed,
        (_, Waits::Approval) => Wait::Approval,
        (_, Waits::Refused(refusal)) => Wait::Refused { why: refusal.to_string() },
        (_, Waits::BadOrders) => Wait::BadOrders,
        (Phase::Formed, Waits::Others) => Wait::Nothing,
        (_, Waits::Others) => Wait::Others,
    }
}

impl SeedStatus {
    /// That of a seed but for whom it turned away, which knows whoever drives it; with what it heard from each row: how far it is, and when that was by the wall.
    pub fn of(seed: &Seed, heard: &BTreeMap<Name, (Phase, i64)>, now: Now) -> Self {
        let peer = |name: &Name| {
            let (phase, at) = heard.get(name).copied().unzip();
            PeerStatus { name: name.clone(), phase, heard: at }
        };
        let waiting = seed.waiting().iter().map(|(key, candidate)| Waiting {
            fingerprint: Fingerprint::of(*key),
            mac: candidate.hardware.macs.first().copied(),
        });
        let is_fired = seed.saved().fired.is_some();
        let obstacle = seed.obstacles(now).into_iter().next().filter(|_| !is_fired);
        Self {
            peers: seed.roster().nodes.iter().map(|row| peer(&row.name)).collect(),
            waiting: waiting.take(super::WAITING_MAX).collect(),
            obstacle: obstacle.map(|obstacle| obstacle.to_string()),
            turned_away: BTreeMap::new(),
        }
    }
}
