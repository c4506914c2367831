//! What a joined node writes: names, network, clock and SSH trust, and on the seed the inventory of its cluster.
//!
//! [`files`] says it all, out of the roster and of what the seed gave, without looking at the machine: the same facts
//! make the same bytes. [`prepare`] writes what is not so already, and lets those know who read it.
//!
//! | file | who reads it |
//! |---|---|
//! | /etc/hosts, /etc/hostname | everybody |
//! | /etc/systemd/network/10-coremax-*.network, .link | systemd-networkd, udev |
//! | /etc/systemd/system/systemd-networkd-wait-online.service.d/10-coremax.conf | systemd, at the next boot |
//! | /etc/chrony/chrony.conf | chrony |
//! | /etc/ssh/ssh_known_hosts, coremax-user-ca.pub, the host key's certificate, sshd_config.d/05-coremax.conf | ssh, sshd |
//! | /etc/ssh/coremax-revoked, ssh_config.d/05-coremax-hosts.conf | ssh |
//! | /var/lib/coremax/tls/ | the node program, and who speaks TLS within the cluster |
//! | /var/lib/coremax/inventory/cluster.yml | Ansible, on the seed |
//!
//! Payloads put their inventories beside that one, and name no file as one here is named.

mod apply;
mod chrony;
mod hosts;
mod inventory;
mod network;
#[cfg(test)]
mod oracles;
pub(crate) mod revoked;
mod ssh;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use std::path::Path;

use anyhow::Result;
use coremax_node_api::{
    enrol::Gift,
    roster::{Mac, Node, Roster},
};

use self::write::Family;
pub(crate) use self::write::within;

/// What a machine of this name has of its cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The cluster.
    pub(crate) roster: &'a Roster,
    /// The machine's own row in it.
    pub(crate) own: &'a Node,
    /// The permanent MAC of the card that has the row's address.
    pub(crate) card: Mac,
    /// What the seed gave.
    pub(crate) gift: &'a Gift,
}

/// A file that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) read_by: Reader,
}

/// Who has to be told that a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reader {
    /// Whoever opens it next.
    Nobody,
    /// The kernel.
    Hostname,
    /// systemd-networkd.
    Network,
    /// chrony.
    Clock,
    /// sshd.
    Ssh,
}

/// Writes below `root` what is not so already, and has it read. A second call with the same facts does nothing. What the operator
/// should know comes back, a sentence each.
///
/// # Errors
/// A file that cannot be written, or a service that does not take what it is told. What was done stays; call it again.
pub(crate) fn prepare(root: &Path, facts: &Facts<'_>) -> Result<Vec<String>> {
    let nobody = &mut |_, _: &Facts<'_>| Ok(());
    match root == Path::new("/") {
        true => apply::prepare(root, facts, &mut apply::tell),
        // It is no machine's that runs.
        false => apply::prepare(root, facts, nobody),
    }
}

/// The card that has the row's address by what was written before.
pub(crate) fn card(root: &Path) -> Option<Mac> {
    network::card_before(root)
}

/// All files of a node, in the order in which they are written: none names one that comes later.
pub(crate) fn files(facts: &Facts<'_>) -> Vec<File> {
    let mut files = hosts::files(facts);
    files.extend(network::files(facts));
    files.push(chrony::file(facts));
    files.extend(ssh::files(facts));
    files.extend(inventory::file(facts));
    files
}

/// Files that are there by this program alone: those of them that [`files`] does not name are from an older roster.
const FAMILIES: [Family; 2] = [network::FAMILY, inventory::FAMILY];

impl Facts<'_> {
    fn is_seed(&self) -> bool {
        self.own.name == self.roster.seed
    }
}

impl File {
    /// One that anybody may read.
    fn new(path: impl Into<String>, bytes: impl Into<Vec<u8>>, read_by: Reader) -> Self {
        Self { path: path.into(), mode: 0o644, bytes: bytes.into(), read_by }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}
