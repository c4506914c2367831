//! hosts(5) and hostname(5).
//!
//! A name of the cluster has its API address and nothing else. There is no 127.0.1.1: Kolla deletes such a line, and
//! RabbitMQ wants a node's name to mean one address.

use std::fmt::Write as _;

use super::{Facts, File, Reader};

const LOCAL: &str = "\
# Written by coremax-node from the cluster's roster; changes are lost.
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
";

pub(super) fn files(facts: &Facts<'_>) -> Vec<File> {
    let mut hosts = LOCAL.to_owned();
    for node in &facts.roster.nodes {
        let _ = writeln!(hosts, "{} {}", node.address, node.name);
    }
    vec![
        File::new("/etc/hosts", hosts, Reader::Nobody),
        File::new("/etc/hostname", format!("{}\n", facts.own.name), Reader::Hostname),
    ]
}
