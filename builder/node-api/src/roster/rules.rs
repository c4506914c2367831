//! What must hold between a roster's values, and where it does not.

mod network;
mod row;

use std::{collections::HashMap, fmt, hash::Hash};

use super::{FORMAT, Match, NODES_MAX, Node, Roster};

/// The way to a value, from the top of the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The value with this key.
    Key(&'static str),
    /// The one with this number in a list, from 0.
    Item(usize),
}

/// Something that cannot be. Displays as what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// What mends it, where that is known.
    pub hint: Option<&'static str>,
    /// Where it stands; what does not exist stands at the table it is missing from.
    pub at: Vec<Step>,
    /// What it contradicts, where that is one value.
    pub first: Option<Vec<Step>>,
}

use Step::{Item, Key};

/// What mends most of what is named twice.
const ONE_EACH: &str = "one row, one machine";

impl Roster {
    /// Everything that is wrong with it, from the top; nothing with one that a cluster can be made of.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        faults.of_cluster(self);
        for (row, node) in self.nodes.iter().enumerate() {
            faults.of_row(self, row, node);
        }
        faults.of_uniqueness(self);
        faults.0
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn of_cluster(&mut self, roster: &Roster) {
        let Roster { format, epoch, vip, subnet, .. } = roster;
        if *format != FORMAT {
            let what =
                format!("the roster is of format {format}, and this program reads format {FORMAT}");
            self.push(what, "take the program that the roster was written with", &[Key("format")]);
        }
        if *epoch == 0 {
            self.push("the epoch is 0".into(), "epochs begin with 1", &[Key("epoch")]);
        }
        if !subnet.is_of_hosts() {
            let what = format!("no machine has an address in {subnet}");
            self.push(
                what,
                "take one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
                &[Key("subnet")],
            );
        }
        if !subnet.has_host(*vip) {
            let what = format!("the VIP {vip} is no host's address in {subnet}");
            self.push(what, "take a free address of the subnet", &[Key("vip")]);
        }
        self.of_network(roster);
        if !(1..=NODES_MAX).contains(&roster.nodes.len()) {
            let what = format!("{} nodes, where 1 to {NODES_MAX} can be", roster.nodes.len());
            self.push(what, "write a [[node]] for each", &[Key("node")]);
        }
        if roster.control_plane().count().is_multiple_of(2) {
            let count = roster.control_plane().count();
            let what = format!(
                "{count} nodes with the role `control`, where a majority needs an odd number"
            );
            self.push(what, "make it one, three or five", &[Key("node")]);
        }
        match roster.node(&roster.seed) {
            None => {
                let what = format!("the seed {} is no node", roster.seed);
                self.push(what, "name a controller", &[Key("seed")]);
            }
            Some(seed) if !seed.is_control() => {
                let what = format!("the seed {} is not of the control plane", roster.seed);
                self.push(what, "name a controller", &[Key("seed")]);
            }
            Some(_) => {}
        }
        self.of_replaced(roster);
        let workers = roster.nodes.iter().filter(|node| !node.is_control()).count();
        if roster.minimum_workers > workers {
            let what = format!(
                "{} workers are the minimum, and there are {workers}",
                roster.minimum_workers
            );
            self.push(
                what,
                "every node without the role `control` is one",
                &[Key("minimum-workers")],
            );
        }
    }

    /// While the seed is the same one, some controller beside it has to be: what this one promised is what a second seed
    /// stumbles over, whichever of the rosters it has.
    fn of_replaced(&mut self, roster: &Roster) {
        let generation = roster.seed_generation();
        let mut others = roster.control_plane().filter(|row| row.name != roster.seed).peekable();
        let is_replaced = |row: &Node| row.generation > generation;
        if roster.seed_key.is_none() && others.peek().is_some() && others.all(is_replaced) {
            let what = "every controller beside the seed was replaced, and the seed was not";
            let hint = "if the cluster is formed, name its seed in seed-key; if not, replace the seed too: it then \
                        has the highest generation, and is reset";
            self.push(what.into(), hint, &[Key("seed")]);
        }
    }

    fn of_uniqueness(&mut self, roster: &Roster) {
        let rows = || roster.nodes.iter().enumerate();
        let at = |row, key| vec![Key("node"), Item(row), Key(key)];
        self.of_twice(
            "the name",
            ONE_EACH,
            rows().map(|(row, node)| (node.name.to_string(), at(row, "name"))),
        );
        let cards = |(row, node): (usize, &Node)| {
            let addresses = node.nics.iter().map(|nic| nic.address).enumerate();
            let at =
                |number| vec![Key("node"), Item(row), Key("nic"), Item(number), Key("address")];
            let addresses =
                addresses.filter_map(|(number, own)| Some((own?.address(), at(number))));
            addresses.collect::<Vec<_>>()
        };
        self.of_twice(
            "the address",
            ONE_EACH,
            rows()
                .map(|(row, node)| (node.address, at(row, "address")))
                .chain(rows().flat_map(cards)),
        );
        self.of_twice(
            "the machine with serial number",
            ONE_EACH,
            rows().filter_map(|(row, node)| {
                let Some(Match::Serial(serial)) = &node.matches else { return None };
                Some((serial.trim().to_owned(), at(row, "match")))
            }),
        );
        let nics = |row: usize, node: &Node| {
            let nic = move |(number, mac)| {
                (mac, vec![Key("node"), Item(row), Key("nic"), Item(number), Key("mac")])
            };
            node.nics.iter().map(|nic| nic.mac).enumerate().map(nic).collect::<Vec<_>>()
        };
        self.of_twice(
            "the machine with MAC",
            ONE_EACH,
            rows().flat_map(|(row, node)| {
                let own = match node.matches {
                    Some(Match::Mac(mac)) => Some((mac, at(row, "match"))),
                    _ => None,
                };
                own.into_iter().chain(nics(row, node))
            }),
        );
    }

    fn of_twice<T: Eq + Hash + fmt::Display>(
        &mut self,
        what: &str,
        hint: &'static str,
        values: impl Iterator<Item = (T, Vec<Step>)>,
    ) {
        let mut seen: HashMap<T, Vec<Step>> = HashMap::new();
        for (value, at) in values {
            match seen.get(&value) {
                Some(first) => self.0.push(Fault {
                    what: format!("{what} {value} is named twice"),
                    hint: Some(hint),
                    at,
                    first: Some(first.clone()),
                }),
                None => drop(seen.insert(value, at)),
            }
        }
    }

    fn push(&mut self, what: String, hint: &'static str, at: &[Step]) {
        self.0.push(Fault { what, hint: Some(hint), at: at.to_vec(), first: None });
    }
}
