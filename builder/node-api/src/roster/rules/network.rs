//! What must hold of the network that the nodes share.

use std::net::Ipv4Addr;

use super::{
    Faults,
    Step::{Item, Key},
};
use crate::roster::{DNS_MAX, MTU, Roster};

impl Faults {
    pub(super) fn of_network(&mut self, roster: &Roster) {
        let Roster { mtu, gateway, dns, registry, .. } = roster;
        if !(MTU.0..=MTU.1).contains(mtu) {
            let what = format!("the MTU is {mtu}, where {} to {} can be", MTU.0, MTU.1);
            self.push(what, "write what the switches take: 1500, or 9000", &[Key("mtu")]);
        }
        if let Some(gateway) = gateway {
            self.of_gateway(roster, *gateway);
        }
        if dns.len() > DNS_MAX {
            let what = format!("{} name servers, where {DNS_MAX} are asked", dns.len());
            self.push(what, "leave the others out", &[Key("dns")]);
        }
        let at = |number| vec![Key("dns"), Item(number)];
        for (number, server) in dns.iter().enumerate().filter(|(_, server)| !is_host(**server)) {
            let what = format!("no machine elsewhere has the address {server}");
            self.push(what, "write the address of a name server", &at(number));
        }
        let servers = dns.iter().enumerate().map(|(number, server)| (server, at(number)));
        self.of_twice("the name server", "leave one of them out", servers);
        let address = registry.as_ref().and_then(|registry| registry.host().parse().ok());
        if let Some(address) = address.filter(|address| !is_host(*address)) {
            let what = format!("no machine elsewhere has the address {address}");
            self.push(what, "write where the nodes reach the registry", &[Key("registry")]);
        }
    }

    fn of_gateway(&mut self, roster: &Roster, gateway: Ipv4Addr) {
        let Roster { subnet, vip, .. } = roster;
        if !subnet.has_host(gateway) {
            let what = format!("the gateway {gateway} is no host's address in {subnet}");
            self.push(what, "take the router's address in the subnet", &[Key("gateway")]);
        }
        if gateway == *vip {
            let what = format!("the gateway {gateway} is the VIP");
            self.push(what, "the VIP moves between the controllers", &[Key("gateway")]);
        }
        for (row, node) in roster.nodes.iter().enumerate() {
            if node.address == gateway {
                let what = format!("{} has the gateway's address", node.name);
                let at = [Key("node"), Item(row), Key("address")];
                self.push(what, "the gateway is no node of the cluster", &at);
            }
        }
    }
}

/// Whether a machine can be reached at this address by others (RFC 6890).
fn is_host(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 1..=126 | 128..=223)
}
