//! What will happen, and what travels.

use std::net::SocketAddr;

use coremax_node_api::join::{Answer, Beacon, Peer, Report, node};

use super::scenario::Act;

/// What will happen.
#[derive(Debug)]
pub(super) enum Event {
    Act(Act),
    PowerOn(usize),
    Wake { to: usize, starts: u32, program: usize, wake: u64 },
    Done { to: usize, starts: u32, work: node::Work },
    Health { to: usize, starts: u32 },
    DeploymentEnds { to: usize, starts: u32, number: u64 },
    Deliver { to: usize, from: usize, packet: Packet },
}

/// What travels.
#[derive(Debug, Clone)]
pub(super) enum Packet {
    Beacon(SocketAddr, Beacon),
    Report(Peer, Box<Report>),
    Answer(Peer, Box<Answer>),
}

/// The queue is ordered by time and then by age, which are never the same for two.
#[derive(Debug)]
pub(super) struct Entry(pub Event);

impl PartialEq for Entry {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
