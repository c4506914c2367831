//! What must hold of one row.

use super::{
    Faults,
    Step::{Item, Key},
};
use crate::{
    join::is_serial,
    roster::{CHANGE_ME, CardAddress, Match, Mode, Node, Role, Roster},
};

/// Names that mean something else: to hosts(5), to Ansible, and a group of its for each role.
const RESERVED: [&str; 9] = [
    "localhost",
    "all",
    "ungrouped",
    "control",
    "network",
    "compute",
    "storage",
    "monitoring",
    "worker",
];
/// The longest name of a network card, in bytes: IFNAMSIZ of Linux, without its NUL.
const INTERFACE_MAX: usize = 15;
/// What the kernel means otherwise among cards: /proc/sys/net has both, and the third is one already.
const NO_CARDS: [&str; 3] = ["all", "default", "lo"];

impl Faults {
    pub(super) fn of_row(&mut self, roster: &Roster, row: usize, node: &Node) {
        let at = |key| [Key("node"), Item(row), Key(key)];
        let Node { name, address, .. } = node;
        if !roster.subnet.has_host(*address) {
            let what = format!("{name}'s address {address} is no host's in {}", roster.subnet);
            self.push(what, "take a free address of the subnet", &at("address"));
        }
        if *address == roster.vip {
            let what = format!("{name} has the VIP for its address");
            self.push(what, "the VIP moves: no node has it", &at("address"));
        }
        if node.roles.is_empty() {
            self.push(format!("{name} has no role"), "name one", &at("roles"));
        }
        if RESERVED.contains(&name.as_ref()) {
            let what =
                format!("a node cannot be called {name}: hosts(5) or Ansible means something else");
            self.push(what, "take another name", &at("name"));
        }
        if is_number(name.as_ref()) {
            let what = format!("the name {name} is read as an address");
            self.push(what, "begin it with a letter", &at("name"));
        }
        match (roster.mode, &node.matches) {
            (Mode::Static, None) => {
                let what = format!("nothing says which machine {name} is");
                self.push(what, "write match = { mac = \"...\" }, or mode = \"pool\"", &at("name"));
            }
            (Mode::Pool, Some(_)) => {
                let what = format!("{name} names a machine, and in a pool all are alike");
                self.push(what, "leave it out, or write mode = \"static\"", &at("match"));
            }
            (_, Some(Match::Serial(serial))) if serial.contains(CHANGE_ME) => {
                let what = format!("{name}'s serial number {serial:?} is none");
                self.push(what, "write the one of its machine", &at("match"));
            }
            (_, Some(Match::Serial(serial))) if !is_serial(serial) => {
                let what = format!("{name}'s serial number {serial:?} is what a vendor left empty");
                self.push(what, "match by MAC", &at("match"));
            }
            (_, Some(Match::Mac(mac))) if mac.is_example() => {
                let what = format!("{name}'s MAC {mac} is no card's");
                self.push(what, "write the one of its machine", &at("match"));
            }
            _ => {}
        }
        self.of_cards(roster, row, node);
        self.of_disks(row, node);
    }

    /// What is beside the card of `match`.
    fn of_cards(&mut self, roster: &Roster, row: usize, node: &Node) {
        let at = |number, key| vec![Key("node"), Item(row), Key("nic"), Item(number), Key(key)];
        let (name, cards) = (&node.name, || node.nics.iter().enumerate());
        for (number, card) in cards() {
            let called = card.name.as_ref();
            if card.mac.is_example() {
                let what = format!("{name}'s MAC {} of {called} is no card's", card.mac);
                self.push(what, "write the one of its machine", &at(number, "mac"));
            }
            if let Some(address) = card.address.filter(|own| roster.subnet.overlaps(&own.subnet()))
            {
                let what = format!(
                    "{name}'s card {called} has {address}, in a network with {}",
                    roster.subnet
                );
                self.push(
                    what,
                    "give it one of another: the kernel sends by either of two cards in the same",
                    &at(number, "address"),
                );
            }
            let is_in = |other: &CardAddress| {
                card.address.is_some_and(|own| own.subnet().overlaps(&other.subnet()))
            };
            if let Some((_, first)) =
                cards().take(number).find(|(_, first)| first.address.as_ref().is_some_and(is_in))
            {
                let what = format!("{name}'s cards {} and {called} are in one network", first.name);
                self.push(
                    what,
                    "give one of them another: the kernel sends by either of two cards in the same",
                    &at(number, "address"),
                );
            }
            let is_all_digits = called.bytes().all(|byte| byte.is_ascii_digit());
            if called.len() > INTERFACE_MAX || is_all_digits || NO_CARDS.contains(&called) {
                let what = format!("the kernel calls no card {called}");
                self.push(
                    what,
                    "take 15 letters, digits and hyphens at most, as in `storage0`",
                    &at(number, "name"),
                );
            }
        }
        let what = format!("{name}'s card");
        self.of_twice(
            &what,
            "leave one of them out",
            cards().map(|(number, card)| (card.name.to_string(), at(number, "name"))),
        );
    }

    fn of_disks(&mut self, row: usize, node: &Node) {
        let at = |key| vec![Key("node"), Item(row), Key(key)];
        let name = &node.name;
        match (node.roles.contains(&Role::Storage), node.osd_disks.is_empty()) {
            (true, true) => {
                let what = format!("{name} has the role `storage`, and no disk for it");
                self.push(what, "name its disks in osd-disks", &at("roles"));
            }
            (false, false) => {
                let what = format!("{name} names disks for Ceph without the role `storage`");
                self.push(what, "leave one of them out, or add the other", &at("osd-disks"));
            }
            _ => {}
        }
        let disks = || node.osd_disks.iter().enumerate();
        let disk_at = |number| [at("osd-disks"), vec![Item(number)]].concat();
        let what = format!("{name}'s disk");
        self.of_twice(
            &what,
            "leave one of them out",
            disks().map(|(number, disk)| (disk, disk_at(number))),
        );
        for (number, disk) in disks() {
            if disk.contains(CHANGE_ME) {
                let what = format!("{name}'s disk {disk:?} is none");
                self.push(what, "write the one of its machine", &disk_at(number));
            } else if !disk.starts_with("/dev/disk/by-") || disk.contains("..") {
                let what = format!("{name}'s disk {disk:?} may be another one after the next boot");
                self.push(
                    what,
                    "name it by a path that stays: /dev/disk/by-id/..., by-path/...",
                    &disk_at(number),
                );
            }
        }
    }
}

/// What inet_aton(3) takes for an address, of names without a dot.
fn is_number(name: &str) -> bool {
    let hex =
        name.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || name.bytes().all(|byte| byte.is_ascii_digit())
}
