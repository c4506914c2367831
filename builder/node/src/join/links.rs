//! The machine's cards, as the kernel tells them: rtnetlink(7), RTM_GETLINK.

use std::io;

use coremax_node_api::roster::Mac;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// A card, or what the kernel shows as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    /// The address that it has.
    pub address: Option<Mac>,
    /// The address that it was made with; nothing where it is no hardware.
    pub permanent: Option<Mac>,
    /// It is Ethernet, and up, and others can be reached by it at once.
    pub is_multicast: bool,
}

const REQUEST: [u8; 32] = request();
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const REQUEST_AND_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
const ETHERNET: u16 = 1;
const UP_AND_MULTICAST: u32 = 0x1 | 0x1000;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_PERM_ADDRESS: u16 = 54;
/// What the kernel fills at most at a time.
const BUFFER: usize = 32 << 10;

/// All Ethernet cards that there are in this network namespace.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let flags = SocketFlags::CLOEXEC;
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &REQUEST, SendFlags::empty())?;
    let mut links = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let (read, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if read == 0 || parse(&buffer[..read], &mut links)? {
            return Ok(links);
        }
    }
}

const fn request() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 32;
    let [kind, _] = RTM_GETLINK.to_ne_bytes();
    let [low, high] = REQUEST_AND_DUMP.to_ne_bytes();
    (bytes[4], bytes[6], bytes[7]) = (kind, low, high);
    bytes
}

/// Takes what the kernel has filled in. Whether that was the last of it.
fn parse(mut bytes: &[u8], links: &mut Vec<Link>) -> io::Result<bool> {
    while bytes.len() >= HEADER {
        let length = usize::try_from(number(bytes, 0)).unwrap_or(0);
        let message = bytes.get(HEADER..length).ok_or(io::ErrorKind::InvalidData)?;
        match half(bytes, 4) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(io::Error::other("the kernel does not list its links")),
            RTM_NEWLINK => links.extend(link(message)),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn link(message: &[u8]) -> Option<Link> {
    let (head, mut attributes) = message.split_at_checked(HEADER)?;
    if half(head, 2) != ETHERNET {
        return None;
    }
    let is_multicast = number(head, 8) & UP_AND_MULTICAST == UP_AND_MULTICAST;
    let index = number(head, 4);
    let mut link =
        Link { index, name: String::new(), address: None, permanent: None, is_multicast };
    while attributes.len() >= ATTRIBUTE {
        let length = usize::from(half(attributes, 0));
        let value = attributes.get(ATTRIBUTE..length)?;
        let mac = || value.try_into().ok().and_then(Mac::new);
        match half(attributes, 2) {
            IFLA_ADDRESS => link.address = mac(),
            IFLA_PERM_ADDRESS => link.permanent = mac(),
            IFLA_IFNAME => {
                link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
            }
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(link)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    fn card(kind: u16, flags: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let head =
            [&[0, 0][..], &kind.to_ne_bytes(), &7_u32.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 4]];
        message(RTM_NEWLINK, &[head.concat(), attributes.concat()].concat())
    }

    #[test]
    fn what_the_kernel_says_of_a_card() {
        let (own, made) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let attributes = [
            attribute(IFLA_IFNAME, b"ens3\0"),
            attribute(IFLA_ADDRESS, &own),
            attribute(IFLA_PERM_ADDRESS, &made),
        ];
        let bytes = [
            card(ETHERNET, 0x1003, &attributes),
            card(772, 9, &attributes[..1]),
            message(NLMSG_DONE, &[0; 4]),
        ];
        let mut links = Vec::new();
        assert!(parse(&bytes.concat(), &mut links).unwrap());
        let want = Link {
            index: 7,
            name: "ens3".into(),
            address: Mac::new(own),
            permanent: Mac::new(made),
            is_multicast: true,
        };
        assert_eq!(links, [want]);
        let down = card(ETHERNET, 0x1002, &attributes[..1]);
        links.clear();
        assert!(!parse(&down, &mut links).unwrap());
        assert!(!links[0].is_multicast && links[0].permanent.is_none());
        assert!(parse(&message(NLMSG_ERROR, &[0; 20]), &mut links).is_err());
        assert!(parse(&bytes[0][..40], &mut links).is_err(), "cut off");
    }

    #[test]
    fn this_machine_lists_its_links() {
        links().unwrap();
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse(&bytes, &mut Vec::new()), link(&bytes));
            let _ = parse(&message(RTM_NEWLINK, &bytes), &mut Vec::new());
            let _ = parse(&card(ETHERNET, 1, &[bytes]), &mut Vec::new());
        }
    }
}
