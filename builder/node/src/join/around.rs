//! What a node finds around it: what keeps it from being ready, and which other nodes it reaches.

use std::{
    collections::BTreeSet,
    io,
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    thread::JoinHandle,
    time::Duration,
};

use coremax_node_api::{
    guid::Guid,
    join::{Health, Lack, Phase},
    roster::{Endpoint, Node, Roster},
    update::Version,
};

use super::mesh::Mesh;

/// How long a connection to a registry may take: each of its addresses has as long.
const CONNECT_FOR: Duration = Duration::from_secs(3);
/// Addresses of a registry that are tried, at most.
const ADDRESSES_MAX: usize = 4;

/// What it looks with.
pub(super) struct Around {
    pub mesh: Mesh,
    registry: Registry,
    /// The version of the machine's image.
    image: Option<Version>,
}

impl Around {
    pub(super) fn new(cluster: Guid, port: u16, image: Option<Version>) -> Self {
        Self { mesh: Mesh::new(cluster, port), registry: Registry::default(), image }
    }

    /// What there is at this moment, and what a person should know of it. Nothing is waited for: what takes its time is
    /// known at a later call.
    pub(super) fn look(
        &mut self,
        roster: &Roster,
        own: &Node,
        phase: Phase,
        now: u64,
    ) -> (Health, Option<String>) {
        let mut health = Health { reached: self.mesh.reached(now), lacks: BTreeSet::new() };
        let mut notes = Vec::new();
        for disk in own.osd_disks.iter().filter(|disk| !Path::new(disk).exists()) {
            health.lacks.insert(Lack::Disk);
            notes.push(format!("{disk}, which the roster names for Ceph, is not there"));
        }
        // Who is part of a cluster has no use for the rest, and gets its next image by an update.
        if phase < Phase::Deploying {
            if let Some(wanted) =
                roster.versions.image.as_ref().filter(|wanted| self.image.as_ref() != Some(*wanted))
            {
                health.lacks.insert(Lack::Image);
                let own = self.image.as_ref().map_or("of none", Version::as_str);
                notes.push(format!("the image is {own}, and the roster names {}", wanted.as_str()));
            }
            if !self.mesh.has_address() {
                health.lacks.insert(Lack::Address);
            }
            notes.extend(self.mesh.failed().cloned());
            if let Some(registry) = &roster.registry
                && let Err(why) = self.registry.answers(registry)
            {
                health.lacks.insert(Lack::Registry);
                notes.extend(
                    why.map(|why| format!("the registry {registry} does not answer: {why}")),
                );
            }
        }
        (health, (!notes.is_empty()).then(|| notes.join("; ")))
    }
}

/// Whether a registry answers. It is asked beside the join, for a name may take its time to be found.
#[derive(Debug, Default)]
struct Registry {
    asked: Option<(Endpoint, JoinHandle<io::Result<()>>)>,
    said: Option<(Endpoint, Result<(), String>)>,
}

impl Registry {
    /// What it was when it was asked last, and asks again. No reason before it was asked.
    fn answers(&mut self, registry: &Endpoint) -> Result<(), Option<String>> {
        if let Some((of, thread)) = self.asked.take_if(|(_, thread)| thread.is_finished()) {
            let said = thread.join().unwrap_or_else(|_| Err(io::Error::other("it broke off")));
            self.said = Some((of, said.map_err(|error| error.to_string())));
        }
        if self.asked.is_none() {
            let of = registry.clone();
            let thread = std::thread::Builder::new().name("registry".into());
            let thread =
                thread.spawn(move || connect(&of)).map_err(|error| Some(error.to_string()))?;
            self.asked = Some((registry.clone(), thread));
        }
        match self.said.as_ref().filter(|(of, _)| of == registry) {
            Some((_, said)) => said.clone().map_err(Some),
            None => Err(None),
        }
    }
}

fn connect(registry: &Endpoint) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (registry.host(), registry.port()).to_socket_addrs()?.take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(&address, CONNECT_FOR) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::prepare::tests::roster;

    /// Looks until it is so: what it looks for comes by itself.
    fn until(
        around: &mut Around,
        roster: &Roster,
        phase: Phase,
        is_so: impl Fn(&Health, &str) -> bool,
    ) {
        loop {
            let (health, note) = around.look(roster, &roster.nodes[0], phase, 0);
            if is_so(&health, &note.unwrap_or_default()) {
                return;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_keeps_a_node_from_being_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let registry = format!("127.0.0.1:{port}").parse().ok();
        let mut roster = Roster { registry, ..roster() };
        let mut around = Around::new(Guid::literal(1), port, "2026.11.22".parse().ok());
        let (health, note) = around.look(&roster, &roster.nodes[0], Phase::Prepared, 0);
        assert_eq!(
            (health.lacks, note),
            ([Lack::Address, Lack::Registry].into(), None),
            "not asked yet"
        );
        until(&mut around, &roster, Phase::Prepared, |health, _| {
            health.lacks == [Lack::Address].into()
        });
        drop(listener);
        let all = [Lack::Address, Lack::Registry].into();
        until(&mut around, &roster, Phase::Prepared, |health, note| {
            health.lacks == all
                && note.contains(&format!("the registry 127.0.0.1:{port} does not answer: "))
        });
        until(&mut around, &roster, Phase::Formed, |health, _| health.lacks.is_empty());
        roster.nodes[0].osd_disks = vec!["/dev/disk/by-id/none".into()];
        until(&mut around, &roster, Phase::Formed, |health, note| {
            health.lacks == [Lack::Disk].into()
                && note.contains("/dev/disk/by-id/none, which the roster names")
        });
        for (image, lacks, says) in [
            ("2026.11.23", true, "the image is 2026.11.22, and the roster names 2026.11.23"),
            ("2026.11.22", false, ""),
        ] {
            roster.versions.image = image.parse().ok();
            until(&mut around, &roster, Phase::Ready, |health, note| {
                health.lacks.contains(&Lack::Image) == lacks && note.contains(says)
            });
            until(&mut around, &roster, Phase::Deploying, |health, _| {
                !health.lacks.contains(&Lack::Image)
            });
        }
        // Another one is not what this one said.
        roster.nodes[0].osd_disks.clear();
        roster.registry = "127.0.0.1:1".parse().ok();
        until(&mut around, &roster, Phase::Prepared, |_, note| {
            note.contains("127.0.0.1:1 does not answer")
        });
    }
}
