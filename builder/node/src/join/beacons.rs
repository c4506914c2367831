//! Beacons, by multicast on every interface: by IPv4, and by IPv6, which needs no address but the one that each card gives
//! itself. So a machine without DHCP hears a seed, and reaches it.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    os::fd::OwnedFd,
};

use coremax_node_api::{
    join::Beacon,
    wire::{self, BEACON_MAX, GROUP, GROUP_6, decode_beacon, encode_beacon},
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
    four: UdpSocket,
    /// Nothing where the kernel has no IPv6.
    six: Option<UdpSocket>,
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
        let four = socket(AddressFamily::INET)?;
        bind(&four, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        sockopt::set_ip_multicast_ttl(&four, 1)?;
        let (four, six) = (UdpSocket::from(four), open_six(port).ok());
        let links = BTreeSet::new();
        Ok(Self { four, six, port, only, links, looked: None, other_version: None })
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        [&self.four].into_iter().chain(&self.six)
    }

    /// Where seeds listen, as far as nobody says otherwise.
    pub(super) fn port(&self) -> u16 {
        self.port
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
            let any = Ipv4Addr::UNSPECIFIED;
            let _ = sockopt::set_ip_add_membership_with_ifindex(&self.four, &GROUP, &any, *index);
            let six = self.six.as_ref();
            let _ = six.map(|six| sockopt::set_ipv6_add_membership(six, &GROUP_6, *index));
        }
        self.links = links;
    }

    /// Sends one on each. One that is lost is followed by another.
    pub(super) fn send(&mut self, beacon: &Beacon) {
        self.look();
        let bytes = encode_beacon(beacon);
        for index in &self.links {
            let any = Ipv4Addr::UNSPECIFIED;
            let chosen = sockopt::set_ip_multicast_if_with_ifindex(&self.four, &any, &any, *index);
            if chosen.is_ok() {
                let _ = self.four.send_to(&bytes, (GROUP, self.port));
            }
            let to = SocketAddrV6::new(GROUP_6, self.port, 0, *index);
            let _ = self.six.as_ref().map(|six| six.send_to(&bytes, to));
        }
    }

    /// Those that have come. What is no beacon is nobody's business.
    pub(super) fn hear(&mut self) -> Vec<(SocketAddr, Beacon)> {
        let mut heard = Vec::new();
        let mut buffer = [0; BEACON_MAX];
        for socket in [&self.four].into_iter().chain(&self.six) {
            for _ in 0..HEARD_AT_ONCE {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { break };
                match decode_beacon(&buffer[..length]) {
                    // A seed's card that has no address yet sends from none.
                    Ok(_) if from.ip().is_unspecified() => {}
                    Ok(beacon) => heard.push((from, beacon)),
                    Err(wire::Error::OtherVersion { theirs, .. }) => {
                        self.other_version = Some(theirs);
                    }
                    Err(_) => {}
                }
            }
        }
        heard
    }
}

/// One of several at one port.
pub(super) fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

/// Beside the other one, at the same port.
fn open_six(port: u16) -> io::Result<UdpSocket> {
    let six = socket(AddressFamily::INET6)?;
    sockopt::set_ipv6_v6only(&six, true)?;
    bind(&six, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    sockopt::set_ipv6_multicast_hops(&six, 1)?;
    Ok(six.into())
}
