//! systemd.network(5) and systemd.link(5): a card is known by its permanent MAC, never by the name that a kernel gave it.
//!
//! The first card has the row's address and the roster's MTU, for ever. It asks DHCP besides for what the roster does not
//! name, gateway or name servers, and takes nothing else of it; where both are named it asks nobody. The lease follows the
//! MAC and not the machine-id, which is new with every installation. The other cards have the roster's names from the next
//! boot on (udev renames no card that is in use), and its addresses too, or by DHCP where it names none.
//!
//! Name servers go to systemd-resolved, which the images have: their /etc/resolv.conf leads to its file, and is not
//! written here.
//!
//! While nobody answers the first card's question, networkd calls it unfinished, though it has its address (tried with
//! 252), and network-online.target would wait two minutes at each boot of a cluster without DHCP: it waits ten seconds.
//!
//! # Beside netplan
//! The images have no netplan. Where a machine has files of it, they become `10-netplan-*` in /run, which sort after
//! `10-coremax-*`, and networkd takes the first file that matches: on the roster's cards netplan says nothing any
//! more, on all others it goes on. [`netplan`] finds such files, so that it is said.

use std::{fs, path::Path};

use coremax_node_api::roster::{Mac, Nic, Roster};

use super::{Facts, Family, File, Reader, within};

const FOLDER: &str = "/etc/systemd/network";
const PREFIX: &str = "10-coremax-";
/// The first card's.
const API: &str = "api.network";
const PERMANENT: &str = "PermanentMACAddress=";
/// Every file of ours.
pub(super) const FAMILY: Family =
    Family { folder: FOLDER, prefix: PREFIX, reader: Reader::Network };
/// Where netplan(5) reads, `*.yaml` each.
const NETPLAN: [&str; 3] = ["etc/netplan", "lib/netplan", "run/netplan"];
/// A failure of it is none of the machine's: the first card has its address.
const WAIT: &str = "\
[Service]
ExecStart=
ExecStart=-/lib/systemd/systemd-networkd-wait-online --timeout=10
";
const WAIT_AT: &str = "/etc/systemd/system/systemd-networkd-wait-online.service.d/10-coremax.conf";
const HEAD: &str = "# Written by coremax-node from the cluster's roster; changes are lost.\n";

pub(super) fn files(facts: &Facts<'_>) -> Vec<File> {
    let first = file(API, &api(facts));
    let others = facts.own.nics.iter().flat_map(|nic| {
        let name = &nic.name;
        [file(&format!("{name}.link"), &link(nic)), file(&format!("{name}.network"), &plain(nic))]
    });
    let wait = File::new(WAIT_AT, format!("{HEAD}{WAIT}"), Reader::Nobody); // at the next boot
    [first, wait].into_iter().chain(others).collect()
}

fn file(name: &str, text: &str) -> File {
    File::new(format!("{FOLDER}/{PREFIX}{name}"), format!("{HEAD}{text}"), Reader::Network)
}

fn api(facts: &Facts<'_>) -> String {
    let Roster { subnet, mtu, gateway, dns, .. } = facts.roster;
    let mut network = format!("Address={}/{}\n", facts.own.address, subnet.prefix());
    let gateway_line = gateway.map(|gateway| format!("Gateway={gateway}\n"));
    network.extend(gateway_line);
    network.extend(dns.iter().map(|server| format!("DNS={server}\n")));
    let dhcp = match (gateway.is_some(), !dns.is_empty()) {
        (true, true) => None,
        (true, false) => Some("UseGateway=no\n"),
        (false, true) => Some("UseDNS=no\n"),
        (false, false) => Some(""),
    };
    card(facts.card, &format!("MTUBytes={mtu}\n"), &network, dhcp)
}

/// A machine may boot without the network of its disks; whoever needs it waits for it.
fn plain(nic: &Nic) -> String {
    let address = nic.address.map(|address| format!("Address={address}\n"));
    let dhcp = if address.is_some() { None } else { Some("") };
    card(nic.mac, "RequiredForOnline=no\n", &address.unwrap_or_default(), dhcp)
}

/// A card with these lines on it, which asks DHCP unless `dhcp` is none. Kind: what stacks upon a card has its MAC too.
fn card(mac: Mac, link: &str, network: &str, dhcp: Option<&str>) -> String {
    let is_asked = if dhcp.is_some() { "yes" } else { "no" };
    let dhcp =
        dhcp.map(|lines| format!("\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n{lines}"));
    format!(
        "[Match]\n{PERMANENT}{mac}\nKind=!*\n\n[Link]\n{link}\n[Network]\n{network}DHCP={is_asked}\n{}",
        dhcp.unwrap_or_default()
    )
}

fn link(nic: &Nic) -> String {
    format!("[Match]\n{PERMANENT}{}\n\n[Link]\nName={}\n", nic.mac, nic.name)
}

/// The card of [`API`] as it is.
pub(super) fn card_before(root: &Path) -> Option<Mac> {
    let text = fs::read_to_string(within(root, &format!("{FOLDER}/{PREFIX}{API}"))).ok()?;
    text.lines().find_map(|line| line.strip_prefix(PERMANENT)?.parse().ok())
}

/// The files that netplan would read.
pub(super) fn netplan(root: &Path) -> Vec<String> {
    let entries =
        NETPLAN.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let mut found: Vec<_> = yaml.map(|path| path.display().to_string()).collect();
    found.sort();
    found
}
