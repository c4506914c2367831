//! Machines on one switch.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use coremax_node_api::{
    cluster_status::{ClusterStatus, Spoken},
    join::Phase,
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, expect, failed, guest::Guest, switch::Switch};

use crate::{node::Node, operator::Operator};

/// How often a machine is looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How many looks a cluster may take: without KVM, beside other work. A cluster that is idle takes a fifth of it.
const LOOKS: usize = 600;
/// Where a machine says how far it is.
const STATUS: &str = "until cat /run/coremax/cluster-status.json 2>/dev/null; do sleep 1; done";

/// A cluster that is to be.
pub(crate) struct Site {
    pub(crate) operator: Operator,
    image: PathBuf,
    switch: Switch,
    guests: BTreeMap<u8, (Guest, IsUp)>,
    desk: Option<String>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(name) = &self.desk {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(words: &[&str]) -> Outcome {
    let ran = Cmd::new("ip", &Sandbox::host()).args(words).run();
    ran.map(drop).map_err(|error| failed(&error, "iproute2"))
}

/// Whether its shell has come up.
type IsUp = bool;

impl Site {
    pub(crate) fn new(operator: Operator, image: &Path) -> Result<Self, String> {
        let (image, switch) = (image.to_owned(), Switch::new(5)?);
        Ok(Self { operator, image, switch, guests: BTreeMap::new(), desk: None })
    }

    /// A network namespace on the switch, with an address of the cluster's network: the operator's own machine.
    pub(crate) fn desk(&mut self) -> Result<String, String> {
        let name = format!("coremax-desk-{}", std::process::id());
        ip(&["netns", "add", &name])?;
        self.desk = Some(name.clone());
        self.switch.tap(&format!("/run/netns/{name}"), "eth0")?;
        ip(&["-n", &name, "addr", "add", "10.77.0.200/24", "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        Ok(name)
    }

    /// Turns a machine on.
    pub(crate) fn start(&mut self, node: &Node) -> Outcome {
        let socket = self.operator.file(&format!("port-{}", node.number));
        if !socket.exists() {
            self.switch.qemu(&socket)?;
        }
        let guest = node.boot(&self.operator, &self.image, &socket)?;
        self.guests.insert(node.number, (guest, false));
        Ok(())
    }

    /// Takes a machine's power.
    pub(crate) fn cut(&mut self, number: u8) {
        self.guests.remove(&number);
    }

    /// Takes a machine's power when it is in this phase, and in no other.
    pub(crate) fn cut_when(&mut self, number: u8, phase: &str) -> Outcome {
        let stopped =
            self.guest(number)?.runs(&format!("/usr/lib/coremax-tests/stop-at {phase}"))?;
        self.cut(number);
        expect(stopped == phase, || {
            format!("machine {number} was to be {phase}, and was {stopped}")
        })
    }

    /// A machine's shell, once it is up.
    pub(crate) fn guest(&mut self, number: u8) -> Result<&mut Guest, String> {
        let off = || format!("machine {number} is off");
        let (guest, is_up) = self.guests.get_mut(&number).ok_or_else(off)?;
        if !*is_up {
            guest.up()?;
            *is_up = true;
        }
        Ok(guest)
    }

    /// What a machine says of itself.
    pub(crate) fn status(&mut self, number: u8) -> Result<ClusterStatus, String> {
        let said = self.guest(number)?.runs(STATUS)?;
        ClusterStatus::parse(said.as_bytes()).map_err(|e| format!("machine {number}: {e}: {said}"))
    }

    /// Waits until all of these are part of their cluster.
    pub(crate) fn are_formed(&mut self, numbers: &[u8]) -> Outcome {
        let is_formed = |all: &[ClusterStatus]| all.iter().all(|one| one.phase == Phase::Formed);
        self.until("all are formed", numbers, is_formed)
    }

    /// Waits until it holds of what these say.
    pub(crate) fn until(
        &mut self,
        what: &str,
        numbers: &[u8],
        holds: impl Fn(&[ClusterStatus]) -> bool,
    ) -> Outcome {
        let mut last = String::new();
        for _ in 0..LOOKS {
            let mut all = Vec::new();
            for number in numbers {
                all.push(self.status(*number)?);
            }
            if holds(&all) {
                return Ok(());
            }
            last = format!("{all:?}");
            thread::sleep(LOOK);
        }
        Err(format!("it did not come to this: {what}: {last}"))
    }

    /// Puts the operator's signed roster in on the seed, machine 1.
    pub(crate) fn put_in(&mut self) -> Outcome {
        let roster = std::fs::read(self.operator.file("cluster.coremax-roster"));
        let digits: String = roster
            .map_err(|e| e.to_string())?
            .iter()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect();
        let to = "/var/lib/coremax/cluster.coremax-roster";
        let line = format!("printf '{digits}' > {to}.new && mv {to}.new {to}");
        self.guest(1)?.runs(&line).map(drop)
    }

    /// They have one roster, speak TLS, have one name each, and the same names for all.
    pub(crate) fn agree(&mut self, numbers: &[u8]) -> Outcome {
        let is_one = |all: &[ClusterStatus]| {
            let roster = |one: &ClusterStatus| (one.cluster, one.epoch, one.channel);
            let is_tls = all[0].channel == Some(Spoken::Tls);
            let is_one = |one| roster(one) == roster(&all[0]) && one.phase == Phase::Formed;
            is_tls && all.iter().all(is_one)
        };
        self.until("all have one roster, and speak TLS", numbers, is_one)?;
        let mut hosts = Vec::new();
        for number in numbers {
            let status = self.status(*number)?;
            let name = status.name.as_ref().map(ToString::to_string).unwrap_or_default();
            let own = self.guest(*number)?.runs("hostname")?;
            expect(own == name, || format!("machine {number} is {own:?} and {name:?}"))?;
            hosts.push(self.guest(*number)?.runs("cat /etc/hosts")?);
        }
        let is_one = hosts.iter().all(|text| *text == hosts[0]);
        expect(is_one, || hosts.join("\n--\n"))
    }
}
