//! The status of a node and of a seed, as their state machines have it.

use std::collections::BTreeMap;

use super::{
    ClusterStatus, DISKS_MAX, FORMAT, Fingerprint, MACS_MAX, OBSTACLES_MAX, PeerStatus, Progress,
    SeedStatus, WAITING_MAX, Wait, Waiting,
};
use crate::{
    guid::Guid,
    join::{
        Disk, NodeKey, Now, Phase, Stage,
        node::{Node, Waits},
        seed::{Candidate, Seed},
    },
    roster::{self, Name},
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
            channel: None,
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
        let peer = |row: &roster::Node| {
            let (phase, at) = heard.get(&row.name).copied().unzip();
            let machine = seed.saved().members.get(&row.name);
            PeerStatus {
                name: row.name.clone(),
                address: row.address,
                fingerprint: machine.map(|member| Fingerprint::of(member.key)),
                mac: machine.and_then(|member| member.hardware.macs.first().copied()),
                phase: phase.filter(|_| machine.is_some()),
                heard: at.filter(|_| machine.is_some()),
                image: seed.build(&row.name).and_then(|build| build.image.clone()),
            }
        };
        let is_fired = seed.saved().fired.is_some();
        let obstacles = if is_fired { seed.late_obstacles(now) } else { seed.obstacles(now) };
        Self {
            stage: match seed.stage_at(now) {
                Stage::Gathering => Progress::Gathering,
                Stage::Forming(_) => Progress::Forming,
                Stage::Deploying(_) => Progress::Deploying,
                Stage::Formed(_) => Progress::Formed,
            },
            edition: seed.edition(),
            peers: seed.roster().nodes.iter().map(peer).collect(),
            waiting: seed.waiting().iter().map(waiting).take(WAITING_MAX).collect(),
            obstacles: obstacles.iter().take(OBSTACLES_MAX).map(ToString::to_string).collect(),
            window: seed.window(now),
            turned_away: BTreeMap::new(),
        }
    }
}

fn disk(disk: &Disk) -> Disk {
    Disk { path: super::text::plain(&disk.path), bytes: disk.bytes }
}

fn waiting((key, candidate): (&NodeKey, &Candidate)) -> Waiting {
    let serial = candidate.hardware.serial.as_deref();
    Waiting {
        key: *key,
        fingerprint: Fingerprint::of(*key),
        macs: candidate.hardware.macs.iter().take(MACS_MAX).copied().collect(),
        serial: serial.map(super::text::plain),
        disks: candidate.build.disks.iter().take(DISKS_MAX).map(disk).collect(),
        more_disks: candidate.build.disks.len().saturating_sub(DISKS_MAX),
    }
}
