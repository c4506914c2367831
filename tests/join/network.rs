//! Machines on a switch: network namespaces, and the kernel's bridge or a switch of our own whose lines are not perfect.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{
    Outcome, failed,
    switch::{Line, PortId, Switch},
};

use crate::cluster::{address, mac};

/// Tells one network of this test from another.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// It is gone when this is dropped.
pub(crate) struct Network {
    name: String,
    namespaces: RefCell<Vec<String>>,
    /// In place of the bridge.
    switch: Option<Switch>,
    ports: RefCell<BTreeMap<u8, PortId>>,
}

/// Whether networks can be made here; else a skip says why not.
pub(crate) fn probe() -> Outcome {
    let network = Network::new();
    let made = network.and_then(|network| network.add(1).map(drop));
    made.map_err(|why| why.trim_start_matches("skipped: ").to_owned())
}

impl Network {
    /// One that loses nothing.
    pub(crate) fn new() -> Result<Self, String> {
        let network = Self::with(None);
        let switch = network.namespace("switch")?;
        // Whoever has the switch learns nothing new from it, but all of it at once.
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge", "mcast_snooping", "0"])?;
        ip(&["-n", &switch, "link", "set", "switch", "up"])?;
        Ok(network)
    }

    /// One whose lines are like this.
    pub(crate) fn spoilt(line: Line) -> Result<Self, String> {
        let switch = Switch::new(1)?;
        switch.set_lines(line);
        Ok(Self::with(Some(switch)))
    }

    fn with(switch: Option<Switch>) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("coremax-{}-{number}", std::process::id());
        Self { name, namespaces: RefCell::default(), switch, ports: RefCell::default() }
    }

    /// A machine with this number on it: its namespace, where it has a card with the number's MAC and address.
    pub(crate) fn add(&self, number: u8) -> Result<String, String> {
        let name = self.namespace(&number.to_string())?;
        let (mac, address) = (mac(number).to_string(), format!("{}/16", address(number)));
        match &self.switch {
            None => self.plug_into_bridge(number, &name)?,
            Some(switch) => {
                let port = switch.tap(&format!("/run/netns/{name}"), "eth0")?;
                self.ports.borrow_mut().insert(number, port);
            }
        }
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "link", "set", "eth0", "address", &mac])?;
        ip(&["-n", &name, "address", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        Ok(name)
    }

    fn plug_into_bridge(&self, number: u8, name: &str) -> Outcome {
        let (switch, port) = (self.full("switch"), format!("port{number}"));
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", name];
        ip(&[&["-n", &switch, "link", "add", &port][..], &pair].concat())?;
        ip(&["-n", &switch, "link", "set", &port, "master", "switch", "up"])
    }

    /// The switch of a network that is not perfect.
    pub(crate) fn switch(&self) -> &Switch {
        self.switch.as_ref().expect("a network with a switch of its own")
    }

    /// Cuts these machines off from all others, and no more who were cut off before.
    pub(crate) fn cut(&self, numbers: &[u8]) {
        let ports = self.ports.borrow();
        let away: Vec<_> = numbers.iter().map(|number| ports[number]).collect();
        self.switch().cut(&away);
    }

    fn namespace(&self, name: &str) -> Result<String, String> {
        let name = self.full(name);
        ip(&["netns", "add", &name])?;
        self.namespaces.borrow_mut().push(name.clone());
        Ok(name)
    }

    fn full(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.namespaces.borrow().iter() {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

/// Room for as many neighbours as these machines have together: the kernel's table is one for all namespaces, and whoever is not
/// in it is not reached. As it was when this is dropped.
pub(crate) struct Neighbours {
    before: Vec<(&'static str, String)>,
}

/// Where the table's limit is, and the one below which nothing is thrown out of it: arp(7).
const LIMITS: [(&str, usize); 2] = [
    ("/proc/sys/net/ipv4/neigh/default/gc_thresh3", 1),
    ("/proc/sys/net/ipv4/neigh/default/gc_thresh2", 2),
];

impl Neighbours {
    /// For so many that all know each other, beside what others have.
    pub(crate) fn of(machines: usize) -> Result<Self, String> {
        let wanted = 2 * machines * machines;
        let mut changed = Self { before: Vec::new() };
        for (path, part) in LIMITS {
            let before = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            let before = before.trim().to_owned();
            if before.parse::<usize>().is_ok_and(|limit| limit >= wanted / part) {
                continue;
            }
            fs::write(path, (wanted / part).to_string()).map_err(|error| {
                format!("skipped: {path}, which is {before}, cannot be raised: {error}")
            })?;
            changed.before.push((path, before));
        }
        Ok(changed)
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for (path, before) in &self.before {
            let _ = fs::write(path, before);
        }
    }
}

/// Runs iproute2.
pub(crate) fn ip(arguments: &[&str]) -> Outcome {
    let ran = Cmd::new("ip", &Sandbox::host()).args(arguments).run();
    ran.map(drop).map_err(|error| failed(&error, "iproute2"))
}
