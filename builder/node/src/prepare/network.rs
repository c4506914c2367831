//! systemd.network(5) and systemd.link(5): a card is known by its permanent MAC, never by the name that a kernel gave it.
//!
//! The first card has the row's address, for ever. It asks DHCP besides, for the gateway and name servers that no roster
//! names; the lease follows the MAC and not the machine-id, which is new with every installation. The other cards have
//! the roster's names from the next boot on (udev renames no card that is in use), and addresses by DHCP alone.
//!
//! While nobody answers the first card's question, networkd calls it unfinished, though it has its address (tried with
//! 252), and network-online.target would wait two minutes at each boot of a cluster without DHCP: it waits ten seconds.
//!
//! # Beside netplan
//! The images have no netplan. Where a machine has files of it, they become `10-netplan-*` in /run, which sort after
//! `10-coremax-*`, and networkd takes the first file that matches: on the roster's cards netplan says nothing any
//! more, on all others it goes on. [`netplan`] finds such files, so that it is said.

use std::{fs, path::Path};

use coremax_node_api::roster::{Mac, Nic};

use super::{Facts, Family, File, Reader};

const FOLDER: &str = "/etc/systemd/network";
const PREFIX: &str = "10-coremax-";
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
    let first = file("api.network", &api(facts));
    let others = facts.own.nics.iter().flat_map(|nic| {
        let name = &nic.name;
        [
            file(&format!("{name}.link"), &link(nic)),
            file(&format!("{name}.network"), &plain(nic.mac)),
        ]
    });
    let wait = File::new(WAIT_AT, format!("{HEAD}{WAIT}"), Reader::Nobody); // at the next boot
    [first, wait].into_iter().chain(others).collect()
}

fn file(name: &str, text: &str) -> File {
    File::new(format!("{FOLDER}/{PREFIX}{name}"), format!("{HEAD}{text}"), Reader::Network)
}

fn api(facts: &Facts<'_>) -> String {
    let (address, prefix) = (facts.own.address, facts.roster.subnet.prefix());
    network(facts.card(), &format!("Address={address}/{prefix}\n"))
}

/// A machine may boot without the network of its disks; whoever needs it waits for it.
fn plain(mac: Mac) -> String {
    format!("{}\n[Link]\nRequiredForOnline=no\n", network(mac, ""))
}

/// Kind: what stacks upon a card has its MAC too.
fn network(mac: Mac, address: &str) -> String {
    format!(
        "[Match]\nPermanentMACAddress={mac}\nKind=!*\n\n[Network]\n{address}DHCP=yes\n\n\
         [DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n"
    )
}

fn link(nic: &Nic) -> String {
    format!("[Match]\nPermanentMACAddress={}\n\n[Link]\nName={}\n", nic.mac, nic.name)
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
