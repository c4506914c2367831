//! Beacons, by multicast on every interface.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use coremax_node_api::{
    join::Beacon,
    wire::{self, BEACON_MAX, GROUP, decode_beacon, encode_beacon},
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::{clock::real, links::links};

/// Beacons that are heard at a time: others have their turn between.
const HEARD_AT_ONCE: usize = 32;
/// How often new interfaces are looked for, in milliseconds.
const LINKS_EVERY: u64 = 5_000;

/// Where they go, and come from.
#[derive(Debug)]
pub(super) struct Beacons {
    socket: UdpSocket,
    port: u16,
    /// The names of the interfaces that are used; all, where none is named.
    only: Vec<String>,
    /// Those that are up, by their numbers.
    links: BTreeSet<u32>,
    looked: Option<u64>,
    /// The version of the last beacon that was of another.
    pub other_version: Option<u16>,
}

impl Beacons {
    pub(super) fn open(port: u16, only: Vec<String>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        sockopt::set_ip_multicast_ttl(&socket, 1)?;
        let socket = UdpSocket::from(socket);
        Ok(Self { socket, port, only, links: BTreeSet::new(), looked: None, other_version: None })
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Listens on interfaces that came up since.
    pub(super) fn look(&mut self) {
        if self.looked.is_some_and(|last| real().saturating_sub(last) < LINKS_EVERY) {
            return;
        }
        self.looked = Some(real());
        let links = links().unwrap_or_default().into_iter().filter(|link| {
            link.is_multicast && (self.only.is_empty() || self.only.contains(&link.name))
        });
        let links: BTreeSet<u32> = links.map(|link| link.index).collect();
        for index in links.difference(&self.links) {
            // One that it listens on already says so.
            let _ = sockopt::set_ip_add_membership_with_ifindex(
                &self.socket,
                &GROUP,
                &Ipv4Addr::UNSPECIFIED,
                *index,
            );
        }
        self.links = links;
    }

    /// Sends one on each. One that is lost is followed by another.
    pub(super) fn send(&mut self, beacon: &Beacon) {
        self.look();
        let bytes = encode_beacon(beacon);
        for index in &self.links {
            let sent = sockopt::set_ip_multicast_if_with_ifindex(
                &self.socket,
                &Ipv4Addr::UNSPECIFIED,
                &Ipv4Addr::UNSPECIFIED,
                *index,
            );
            if sent.is_ok() {
                let _ = self.socket.send_to(&bytes, (GROUP, self.port));
            }
        }
    }

    /// Those that have come. What is no beacon is nobody's business.
    pub(super) fn hear(&mut self) -> Vec<(SocketAddr, Beacon)> {
        let mut heard = Vec::new();
        let mut buffer = [0; BEACON_MAX];
        for _ in 0..HEARD_AT_ONCE {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { break };
            match decode_beacon(&buffer[..length]) {
                Ok(beacon) => heard.push((from, beacon)),
                Err(wire::Error::OtherVersion { theirs, .. }) => self.other_version = Some(theirs),
                Err(_) => {}
            }
        }
        heard
    }
}
