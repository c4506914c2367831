//! A cluster's machines on their network.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use coremax_node_api::{
    enrol::Secret,
    join::{Phase, seed},
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, expect, failed};

use crate::{MEMORY_MAX, cluster::Cluster, machine::Machine, network::Network};

/// When waiting for something has no sense any more. No verdict: whatever comes in time has come.
const GIVE_UP: Duration = Duration::from_secs(180);

pub(crate) struct Site {
    // In this order they are dropped.
    machines: BTreeMap<u8, Machine>,
    pub(crate) network: Network,
    pub(crate) cluster: Cluster,
    folder: PathBuf,
}

impl Site {
    pub(crate) fn new(network: Network, folder: &Path, cluster: Cluster) -> Self {
        Self { machines: BTreeMap::new(), network, cluster, folder: folder.to_owned() }
    }

    /// Puts a blank machine there, off, with this medium.
    pub(crate) fn prepare(&mut self, number: u8, identity: &str) -> Outcome {
        let folder = self.folder.join(number.to_string());
        let write = || {
            fs::create_dir_all(folder.join("dmi"))?;
            fs::create_dir_all(folder.join("root/etc/ssh"))?;
            fs::write(folder.join("root/etc/ssh/ssh_host_ed25519_key.pub"), host_key())?;
            fs::write(folder.join("medium.identity.json"), identity)?;
            fs::write(folder.join("operators"), self.cluster.operators())
        };
        write().map_err(|error| format!("{}: {error}", folder.display()))?;
        let machine = Machine::new(self.network.add(number)?, folder);
        self.machines.insert(number, machine);
        Ok(())
    }

    /// The same, on.
    pub(crate) fn add(&mut self, number: u8, identity: &str) -> Outcome {
        self.prepare(number, identity)?;
        self.machine(number).start()
    }

    /// The machine with the signed roster.
    pub(crate) fn add_seed(&mut self) -> Outcome {
        self.add_seed_that_knows(None)
    }

    /// The same, with the file of a medium that has a key of its own.
    pub(crate) fn add_seed_that_knows(&mut self, identity: Option<&str>) -> Outcome {
        self.prepare(1, &self.cluster.identity(&[]))?;
        let keys = self.machine(1).path("keys");
        let write = |identity| {
            fs::create_dir(&keys)?;
            fs::write(keys.join("medium.identity.json"), identity)
        };
        identity.map_or(Ok(()), write).map_err(|error| format!("{}: {error}", keys.display()))?;
        self.put_in_roster()?;
        self.machine(1).start()
    }

    /// Puts the roster, as it is now, where the seed looks for it.
    pub(crate) fn put_in_roster(&mut self) -> Outcome {
        let roster = self.machine(1).path("roster");
        let new = roster.with_extension("new");
        let put = |signed| fs::write(&new, signed).and_then(|()| fs::rename(&new, &roster));
        put(self.cluster.signed()?).map_err(|error| format!("{}: {error}", roster.display()))
    }

    pub(crate) fn machine(&mut self, number: u8) -> &mut Machine {
        self.machines.get_mut(&number).expect("a machine with this number")
    }

    /// Waits until all that have a row say that they are formed.
    pub(crate) fn is_formed(&mut self) -> Outcome {
        let rows = self.cluster.roster.nodes.len();
        let mut said = String::new();
        let formed = self.until("all say that they are formed", |site| {
            let machines = site.machines.values().take(rows);
            let phases: Vec<_> =
                machines.map(|machine| machine.status().map(|status| status.phase)).collect();
            said = format!("{phases:?}");
            Ok(phases.iter().all(|phase| *phase == Some(Phase::Formed)))
        });
        formed.map_err(|why| format!("{why}: {said}"))
    }

    /// Every machine has the row that names it, and all promised one formation.
    pub(crate) fn agree(&mut self) -> Outcome {
        let mut promises = BTreeSet::new();
        for (row, (number, machine)) in self.cluster.roster.nodes.iter().zip(&self.machines) {
            let status = machine.status().ok_or("no status")?;
            expect(status.name.as_ref() == Some(&row.name), || {
                format!("machine {number} is {:?}, not {}", status.name, row.name)
            })?;
            let node: serde_json::Value = serde_json::from_str(&machine.read("state/node.json"))
                .map_err(|error| error.to_string())?;
            promises.insert(node["saved"]["promise"].to_string());
        }
        let is_one = promises.len() == 1 && !promises.contains("null");
        expect(is_one, || format!("they promised {promises:?}"))
    }

    /// Waits until something is so; not when a daemon has ended by itself.
    pub(crate) fn until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Self) -> Result<bool, String>,
    ) -> Outcome {
        until(what, || {
            for (number, machine) in &mut self.machines {
                machine.is_on().map_err(|why| format!("machine {number}: {why}"))?;
            }
            is_so(self)
        })
    }

    /// The rows of the seed's that have their machines, and which.
    pub(crate) fn members(&mut self) -> Result<Vec<(String, String)>, String> {
        let path = "state/seed.json";
        self.until("the seed has begun", |site| Ok(!site.machine(1).read(path).is_empty()))?;
        let kept: serde_json::Value =
            serde_json::from_str(&self.machine(1).read(path)).map_err(|error| error.to_string())?;
        let saved: seed::Saved =
            serde_json::from_value(kept["saved"].clone()).map_err(|error| error.to_string())?;
        let members = saved.members.into_iter();
        Ok(members.map(|(name, member)| (name.to_string(), member.key.to_string())).collect())
    }

    /// Every machine has the same names of all, and a certificate of its own name by the one authority, which OpenSSL finds
    /// good.
    pub(crate) fn have_certificates(&self) -> Outcome {
        let rows = self.cluster.roster.nodes.iter().zip(&self.machines);
        let mut same = BTreeSet::new();
        for (row, (number, machine)) in rows {
            let ca = machine.path("root/var/lib/coremax/tls/ca.pem");
            let own = machine.path("root/var/lib/coremax/tls/node.pem");
            let verify = Cmd::new("openssl", &Sandbox::host()).args(["verify", "-CAfile"]).arg(&ca);
            let verify = verify.arg("-verify_hostname").arg(row.name.to_string()).arg(&own).run();
            verify.map_err(|error| failed(&error, "openssl"))?;
            let hosts = machine.read("root/etc/hosts");
            let is_named = hosts.contains(&format!("{} {}\n", row.address, row.name));
            expect(is_named, || format!("machine {number} has no {} in {hosts}", row.name))?;
            same.insert((hosts, machine.read("root/var/lib/coremax/tls/ca.pem")));
        }
        expect(same.len() == 1, || format!("they do not agree: {same:?}"))
    }

    pub(crate) fn is_small(&self) -> Outcome {
        let mut most = 0;
        for (number, machine) in &self.machines {
            let memory = machine.memory()?;
            most = most.max(memory);
            expect(memory < MEMORY_MAX, || format!("machine {number} has {memory} KiB"))?;
        }
        println!("         {} daemons, {most} KiB at most", self.machines.len());
        Ok(())
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool, String>) -> Outcome {
    let began = Instant::now();
    while !is_so()? {
        expect(began.elapsed() < GIVE_UP, || {
            format!("after {GIVE_UP:?} it is not so that {what}")
        })?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A machine's SSH host key, as its file has it.
fn host_key() -> String {
    format!("{}\n", Secret::from_seed(&rand::random()).public().to_ssh())
}
