//! The cluster and the weather that a run's number draws.

use std::net::Ipv4Addr;

use coremax_node_api::roster::{FORMAT, Match, Mode, Node, Role, Roster, Versions};

use super::{
    machine::{mac, meaning},
    rng::Rng,
    world::CLUSTER,
};

/// How bad it is, until it clears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Per cent of packets that are lost.
    pub loss: u64,
    /// Per cent that come twice.
    pub doubling: u64,
    /// The longest way, in milliseconds: packets overtake each other.
    pub delay: u64,
    /// Per cent of journal writes at which the power fails.
    pub power_cuts: u64,
    /// Whether nodes are told where the seed is.
    pub is_unicast: bool,
    /// The machine that a liar says it is.
    pub victim: usize,
}

impl Weather {
    /// As it is when nothing is wrong.
    pub(super) fn fair(rng: &mut Rng) -> Self {
        let mut weather = weather(rng);
        weather.clear();
        weather
    }

    /// As in a machine room.
    pub(super) fn clear(&mut self) {
        *self = Self { loss: 0, doubling: 0, delay: 20, power_cuts: 0, ..*self };
    }
}

pub(super) fn weather(rng: &mut Rng) -> Weather {
    let is_bad = rng.once_in(2);
    Weather {
        loss: if is_bad { rng.range(0, 40) } else { 0 },
        doubling: rng.range(0, 20),
        delay: if is_bad { rng.range(10, 3_000) } else { 20 },
        power_cuts: if rng.once_in(2) { rng.range(0, 30) } else { 0 },
        is_unicast: rng.once_in(2),
        victim: [1, 1, 2, 0][rng.index(4)],
    }
}

/// Three controllers as a rule, and some workers; now and then fifty nodes.
pub(super) fn draw_roster(rng: &mut Rng) -> Roster {
    let mode = if rng.once_in(3) { Mode::Pool } else { Mode::Static };
    let controllers = if rng.once_in(8) { 5 } else { 3 };
    let workers = if rng.once_in(100) { rng.range(10, 46) } else { rng.range(0, 4) };
    let minimum_workers = usize::try_from(rng.range(0, workers + 1)).unwrap_or(0);
    let nodes = controllers + usize::try_from(workers).unwrap_or(0);
    let mut roster = Roster { minimum_workers, ..roster(mode, controllers, nodes) };
    if rng.once_in(3) {
        misname(&mut roster);
    }
    roster
}

/// The last worker's row names a machine that does not come: the one that does, waits for the operator's word.
pub(super) fn misname(roster: &mut Roster) {
    let worker = roster.nodes.last_mut().filter(|row| !row.is_control() && row.matches.is_some());
    if let Some(row) = worker {
        row.matches = Some(Match::Mac(mac(50_000)));
    }
}

pub(super) fn roster(mode: Mode, controllers: usize, nodes: usize) -> Roster {
    let row = |number: usize| {
        let role = if number < controllers { Role::Control } else { Role::Worker };
        #[expect(clippy::expect_used, reason = "of this form")]
        let name = format!("n-{number}").parse().expect("a name");
        Node {
            name,
            roles: [role].into(),
            address: Ipv4Addr::from(
                u32::from(Ipv4Addr::new(10, 0, 0, 11)) + u32::try_from(number).unwrap_or(0),
            ),
            matches: (mode == Mode::Static).then(|| meaning(number)),
            generation: 0,
            nics: Vec::new(),
            osd_disks: Vec::new(),
        }
    };
    #[expect(clippy::expect_used, reason = "of this form")]
    Roster {
        format: FORMAT,
        cluster: CLUSTER,
        epoch: 1,
        mode,
        seed: "n-0".parse().expect("a name"),
        seed_key: None,
        subnet: "10.0.0.0/24".parse().expect("a subnet"),
        vip: Ipv4Addr::new(10, 0, 0, 10),
        mtu: 1500,
        gateway: None,
        dns: Vec::new(),
        registry: None,
        minimum_workers: 0,
        versions: Versions::default(),
        nodes: (0..nodes).map(row).collect(),
    }
}
