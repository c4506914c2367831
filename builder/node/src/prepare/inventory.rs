//! The cluster as Ansible's YAML inventory: every node a host, every role a group, also one that nobody has.
//!
//! Payloads have inventories of their own beside this one, in the same folder.

use std::fmt::{Display, Write as _};

use coremax_node_api::roster::{Node, Role};

use super::{Facts, Family, File, Reader};
use crate::paths;

/// The file of the seed that was: another machine's inventory is out of date at once.
pub(super) const FAMILY: Family =
    Family { folder: paths::INVENTORIES, prefix: "cluster.yml", reader: Reader::Nobody };

const GROUPS: [(Role, &str); 6] = [
    (Role::Control, "control"),
    (Role::Network, "network"),
    (Role::Compute, "compute"),
    (Role::Storage, "storage"),
    (Role::Monitoring, "monitoring"),
    (Role::Worker, "worker"),
];

/// For the seed alone.
pub(super) fn file(facts: &Facts<'_>) -> Option<File> {
    let path = format!("{}/cluster.yml", paths::INVENTORIES);
    facts.is_seed().then(|| File::new(path, text(facts), Reader::Nobody))
}

fn text(facts: &Facts<'_>) -> String {
    let roster = facts.roster;
    let mut text = format!(
        "# Written by coremax-node from the cluster's roster; changes are lost.\n\
         all:\n  vars:\n    ansible_user: root\n    ansible_python_interpreter: /usr/bin/python3\n    \
         ansible_ssh_private_key_file: {}\n    \
         ansible_ssh_common_args: -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes\n    \
         coremax_cluster: {}\n    coremax_epoch: {}\n    coremax_seed: {}\n    coremax_vip: {}\n    \
         coremax_vrrp_id: {}\n  hosts:\n",
        paths::DEPLOY_KEY,
        quoted(roster.cluster),
        roster.epoch,
        quoted(&roster.seed),
        quoted(roster.vip),
        roster.vrrp_id(),
    );
    roster.nodes.iter().for_each(|node| host(&mut text, node));
    text.push_str("  children:\n");
    for (role, group) in GROUPS {
        let mut members = roster.nodes.iter().filter(|node| node.roles.contains(&role)).peekable();
        let none = if members.peek().is_none() { " {}" } else { "" };
        let _ = writeln!(text, "    {group}:\n      hosts:{none}");
        for node in members {
            let _ = writeln!(text, "        {}: {{}}", quoted(&node.name));
        }
    }
    text
}

fn host(text: &mut String, node: &Node) {
    let _ =
        writeln!(text, "    {}:\n      ansible_host: {}", quoted(&node.name), quoted(node.address));
    if !node.osd_disks.is_empty() {
        let disks: Vec<_> = node.osd_disks.iter().map(quoted).collect();
        let _ = writeln!(text, "      coremax_osd_disks: [{}]", disks.join(", "));
    }
}

/// YAML reads 1e3 and 10 as numbers, `no` as false; a string of JSON is one in YAML too.
fn quoted(value: impl Display) -> String {
    serde_json::Value::String(value.to_string()).to_string()
}
