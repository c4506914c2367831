//! A switch, and machines on it: network namespaces with a bridge and veth pairs, by iproute2.

use std::sync::atomic::{AtomicU32, Ordering};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, failed};

use crate::cluster::{address, mac};

/// Tells one network of this test from another.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// It is gone when this is dropped.
pub(crate) struct Network {
    name: String,
    namespaces: std::cell::RefCell<Vec<String>>,
}

/// Whether networks can be made here; else a skip says why not.
pub(crate) fn probe() -> Outcome {
    let network = Network::new();
    let made = network.and_then(|network| network.add(1).map(drop));
    made.map_err(|why| why.trim_start_matches("skipped: ").to_owned())
}

impl Network {
    pub(crate) fn new() -> Result<Self, String> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("coremax-{}-{number}", std::process::id());
        let network = Self { name, namespaces: std::cell::RefCell::default() };
        let switch = network.namespace("switch")?;
        // Whoever has the switch learns nothing new from it, but all of it at once.
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge", "mcast_snooping", "0"])?;
        ip(&["-n", &switch, "link", "set", "switch", "up"])?;
        Ok(network)
    }

    /// A machine with this number on it: its namespace, where it has a card with the number's MAC and address.
    pub(crate) fn add(&self, number: u8) -> Result<String, String> {
        let name = self.namespace(&number.to_string())?;
        let (switch, port) = (self.full("switch"), format!("port{number}"));
        let (mac, address) = (mac(number).to_string(), format!("{}/16", address(number)));
        let pair = ["type", "veth", "peer", "name", "eth0", "address", &mac, "netns", &name];
        ip(&[&["-n", &switch, "link", "add", &port][..], &pair].concat())?;
        ip(&["-n", &switch, "link", "set", &port, "master", "switch", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "address", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        Ok(name)
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

/// Runs iproute2.
pub(crate) fn ip(arguments: &[&str]) -> Outcome {
    let ran = Cmd::new("ip", &Sandbox::host()).args(arguments).run();
    ran.map(drop).map_err(|error| failed(&error, "iproute2"))
}
