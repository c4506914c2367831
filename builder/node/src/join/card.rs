//! The card that has the address of a machine's row.

use std::{
    cmp::Reverse,
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result};
use coremax_node_api::roster::{Mac, Match, Node};

use super::links::Link;

/// The kernel's table of routes, as text: proc_pid_net(5).
const ROUTES: &str = "/proc/self/net/route";
/// A route that says that there is none: linux/route.h.
const RTF_REJECT: u32 = 0x200;

/// What a machine is connected by.
pub(super) struct Cards<'a> {
    pub links: &'a [Link],
    /// The kernel's table of routes.
    pub routes: &'a str,
    /// The card that has the address by what was written before.
    pub has_address: Option<Mac>,
}

impl Cards<'_> {
    /// The card that the row names, where the machine has it. It has not where the operator approved it for the row of
    /// another, or its card was changed: then the address stays where it is, and at first is where the seed is.
    pub(super) fn of(&self, row: &Node, asked: Option<SocketAddr>, vip: Ipv4Addr) -> Result<Mac> {
        let named = match row.matches {
            Some(Match::Mac(mac)) => Some(mac),
            _ => None,
        };
        let is_there = |wanted: &Mac| self.links.iter().any(|link| mac(link) == Some(*wanted));
        // Those are beside the first one.
        let is_other = |mac: Mac| row.nics.iter().any(|nic| nic.mac == mac);
        let before = self.has_address.filter(|mac| is_there(mac) && !is_other(*mac));
        match named.filter(is_there).or(before) {
            Some(mac) => Ok(mac),
            None => self.towards(asked, vip, &is_other),
        }
    }

    fn towards(
        &self,
        asked: Option<SocketAddr>,
        vip: Ipv4Addr,
        is_other: &dyn Fn(Mac) -> bool,
    ) -> Result<Mac> {
        let (link, to) = match asked {
            // An address within the link says which card that is.
            Some(SocketAddr::V6(six)) if six.scope_id() > 0 => {
                (self.links.iter().find(|link| link.index == six.scope_id()), six.to_string())
            }
            _ => {
                let name = route(self.routes, vip);
                (name.and_then(|name| self.named(name)).or(self.only()), vip.to_string())
            }
        };
        let found = link.and_then(mac).filter(|mac| !is_other(*mac));
        found.with_context(|| format!("no card that has a MAC leads to {to}"))
    }

    fn named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// A seed without DHCP has no routes yet, and asks itself.
    fn only(&self) -> Option<&Link> {
        let mut cards = self.links.iter().filter(|link| link.is_multicast && mac(link).is_some());
        cards.next().filter(|_| cards.next().is_none())
    }
}

pub(super) fn read_routes() -> Result<String> {
    fs::read_to_string(ROUTES).with_context(|| format!("reading {ROUTES}"))
}

fn mac(link: &Link) -> Option<Mac> {
    link.permanent.or(link.address)
}

/// The interface of the narrowest route that an address is in, and of two the one that the kernel prefers.
fn route(routes: &str, address: Ipv4Addr) -> Option<&str> {
    let narrowest = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        // Both as the machine has them in memory, which is the order of the network.
        let number = |at: usize| Some(u32::from_str_radix(fields.get(at)?, 16).ok()?.to_ne_bytes());
        let [to, mask] = [number(1)?, number(7)?].map(u32::from_be_bytes);
        let metric = fields.get(6)?.parse::<u32>().ok()?;
        let leads = u32::from_str_radix(fields.get(3)?, 16).ok()? & RTF_REJECT == 0;
        (leads && u32::from(address) & mask == to)
            .then_some(((Reverse(mask), metric), *fields.first()?))
    });
    narrowest.min_by_key(|(order, _)| *order).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
         ens3\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
         ens4\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
         ens5\t00004D0A\t00000000\t0001\t0\t0\t9\t0000FFFF\t0\t0\t0\n\
         ens6\t00004D0A\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
         ens7\t0001\n";

    fn row(matches: &str) -> Node {
        let text = format!(
            r#"{{"name": "worker-4", "roles": ["worker"], "address": "10.77.0.14", "match": {matches}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn links(numbers: std::ops::RangeInclusive<u8>) -> Vec<Link> {
        let link = |number: u8| Link {
            index: number.into(),
            name: format!("ens{number}"),
            address: None,
            permanent: Mac::new([2, 0, 0, 0, 0, number]),
            is_multicast: true,
        };
        numbers.map(link).collect()
    }

    #[test]
    fn the_card_that_has_the_address() {
        let within = |card: u32| Some(format!("[fe80::1%{card}]:7433").parse().unwrap());
        let (own, others) = (r#"{"mac": "02:00:00:00:00:04"}"#, r#"{"mac": "02:00:00:00:00:63"}"#);
        let serial = r#"{"serial": "A1"}"#;
        for (matches, before, asked, vip, want) in [
            (own, None, within(3), "10.77.0.1", Some(4)),
            (own, Some(5), within(3), "10.77.0.1", Some(4)),
            // Approved for the row of another machine, or with another card.
            (others, None, within(3), "10.77.0.1", Some(3)),
            (others, None, None, "10.77.0.1", Some(4)),
            (others, None, None, "10.78.0.1", Some(3)),
            (others, Some(5), within(3), "10.77.0.1", Some(5)),
            (others, Some(99), within(3), "10.77.0.1", Some(3)),
            (serial, None, within(5), "10.77.0.1", Some(5)),
            (serial, None, Some("10.77.0.1:7433".parse().unwrap()), "10.78.0.1", Some(3)),
            (serial, None, within(9), "10.77.0.1", None),
        ] {
            let last = |number: u8| Mac::new([2, 0, 0, 0, 0, number]).unwrap();
            let (links, has_address) = (links(3..=5), before.map(last));
            let cards = Cards { links: &links, routes: TABLE, has_address };
            let found = cards.of(&row(matches), asked, vip.parse().unwrap());
            assert_eq!(found.ok(), want.map(last), "{matches} {before:?} {asked:?} {vip}");
        }
    }

    #[test]
    fn a_seed_without_routes_has_one_card() {
        for (there, want) in [(3..=3, Mac::new([2, 0, 0, 0, 0, 3])), (3..=4, None)] {
            let cards = Cards { links: &links(there), routes: "head\n", has_address: None };
            let found = cards.of(&row(r#"{"serial": "A1"}"#), None, Ipv4Addr::new(10, 0, 0, 1));
            assert_eq!(found.ok(), want);
        }
    }

    #[test]
    fn an_address_is_reached_by_the_narrowest_route() {
        let at = |text: &str| route(TABLE, text.parse().unwrap());
        assert_eq!(at("10.77.0.4"), Some("ens4"));
        assert_eq!(at("10.78.0.1"), Some("ens3"));
        assert_eq!(route("head\n", Ipv4Addr::LOCALHOST), None);
    }

    proptest! {
        #[test]
        fn any_table_is_read(text in "\\PC*\n(\\PC|\n)*", address: u32) {
            let _ = route(&text, address.into());
        }
    }
}
