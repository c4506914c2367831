//! The text of a new roster, for the operator to go on with.

use std::{fmt::Write as _, net::Ipv4Addr};

use coremax_node_api::{
    guid::Guid,
    roster::{CHANGE_ME, Mac, Mode, NODES_MAX, Subnet},
};

/// What a new cluster is to be. The default is [`Preset::OpenStack`] in 10.0.0.0/24, machines named by MAC.
#[derive(Debug, Clone)]
pub struct New {
    /// Which nodes.
    pub preset: Preset,
    /// How many controllers; the preset's, where it is not said.
    pub controllers: Option<u32>,
    /// How many others; the preset's, where it is not said.
    pub workers: Option<u32>,
    /// How machines get their rows.
    pub mode: Mode,
    /// Where all addresses are: the VIP is host 10, nodes follow.
    pub subnet: Subnet,
    /// The machines' MACs, row by row. Rows without one get one that no card has, and no roster may have.
    pub macs: Vec<Mac>,
}

/// Which nodes a new cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// `openstack-3`: three nodes that are everything.
    OpenStack,
    /// `kubernetes-3+5`: three controllers and five workers.
    Kubernetes,
}

/// Why no text could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The subnet ends before the last node.
    #[error("the subnet {subnet} has no room for {nodes} nodes behind the VIP")]
    Narrow {
        /// As it was given.
        subnet: Subnet,
        /// How many there are.
        nodes: usize,
    },
    /// The controllers are no odd number.
    #[error("{0} controllers, where a majority needs an odd number")]
    Even(u32),
    /// There are more nodes than a roster has.
    #[error("{0} nodes, where {NODES_MAX} can be")]
    Many(u32),
    /// There are more MACs than rows.
    #[error("{macs} MACs are given for {nodes} nodes")]
    TooManyMacs {
        /// How many are given.
        macs: usize,
        /// How many rows there are.
        nodes: usize,
    },
}

/// The VIP's number in the subnet; the nodes' numbers follow it.
const VIP_HOST: u32 = 10;

impl Default for New {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "tested below")]
        let subnet = "10.0.0.0/24".parse().expect("a subnet of this file");
        Self {
            preset: Preset::OpenStack,
            controllers: None,
            workers: None,
            mode: Mode::Static,
            subnet,
            macs: Vec::new(),
        }
    }
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::OpenStack, Self::Kubernetes];

    /// As it is given on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenStack => "openstack-3",
            Self::Kubernetes => "kubernetes-3+5",
        }
    }

    /// How many controllers and others it has.
    const fn counts(self) -> (u32, u32) {
        match self {
            Self::OpenStack => (3, 0),
            Self::Kubernetes => (3, 5),
        }
    }

    /// The roles of a controller, and what another one is called, with its roles.
    const fn roles(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OpenStack => (
                r#"["control", "network", "compute", "storage", "monitoring"]"#,
                "compute",
                r#"["compute"]"#,
            ),
            Self::Kubernetes => (r#"["control"]"#, "worker", r#"["worker"]"#),
        }
    }
}

impl New {
    /// The roster's text. The cluster's UUID (version 4) is made of `random`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn text(&self, random: [u8; 16]) -> Result<String, Error> {
        let rows = self.rows()?;
        let Self { subnet, macs, .. } = self;
        let narrow = || Error::Narrow { subnet: *subnet, nodes: rows.len() };
        if macs.len() > rows.len() {
            return Err(Error::TooManyMacs { macs: macs.len(), nodes: rows.len() });
        }
        let mut text = self.head(random, subnet.host(VIP_HOST).ok_or_else(narrow)?);
        for (number, (name, roles)) in (1..).zip(&rows) {
            let address = subnet.host(VIP_HOST + number).ok_or_else(narrow)?;
            let _ = write!(
                text,
                "\n[[node]]\nname = \"{name}\"\nroles = {roles}\naddress = \"{address}\"\n"
            );
            if self.mode == Mode::Static {
                let mac = macs.get(number as usize - 1).copied().unwrap_or_else(|| example(number));
                let _ = writeln!(text, "match = {{ mac = \"{mac}\" }}");
            }
            if roles.contains("storage") {
                text.push_str("osd-disks = [\"/dev/disk/by-id/");
                text.push_str(CHANGE_ME);
                text.push_str("\"]\n");
            }
        }
        Ok(text)
    }

    /// Names and roles, row by row.
    fn rows(&self) -> Result<Vec<(String, &'static str)>, Error> {
        let (controllers, workers) = self.counts();
        if controllers.is_multiple_of(2) {
            return Err(Error::Even(controllers));
        }
        let all = controllers.saturating_add(workers);
        if all as usize > NODES_MAX {
            return Err(Error::Many(all));
        }
        let row = |name: &str, number, roles| (format!("{name}-{number}"), roles);
        let (control, other, others) = self.preset.roles();
        let first = (1..=controllers).map(|number| row("control", number, control));
        Ok(first.chain((1..=workers).map(|number| row(other, number, others))).collect())
    }

    fn counts(&self) -> (u32, u32) {
        let (controllers, workers) = self.preset.counts();
        (self.controllers.unwrap_or(controllers), self.workers.unwrap_or(workers))
    }

    fn head(&self, mut random: [u8; 16], vip: Ipv4Addr) -> String {
        random[6] = random[6] & 0x0f | 0x40; // version 4
        random[8] = random[8] & 0x3f | 0x80; // variant of RFC 9562
        let (_, workers) = self.counts();
        let mode = match self.mode {
            Mode::Static => "static",
            Mode::Pool => "pool",
        };
        format!(
            "# A cluster of {}. No secrets belong in this file: keep it in git.\n\
             # After a change raise the epoch, then: coremax cluster check, coremax cluster sign\n\
             format = 1\ncluster = \"{}\"\nepoch = 1\nmode = \"{mode}\"\nseed = \"control-1\"\n\
             subnet = \"{}\"\nvip = \"{vip}\"\nminimum-workers = {workers}\n{}",
            self.preset.name(),
            Guid::from_bytes(random),
            self.subnet,
            self.optional(),
        )
    }

    /// What a cluster can do without, for the operator to find.
    fn optional(&self) -> String {
        let host = self.subnet.host(1).map(|host| host.to_string()).unwrap_or_default();
        format!(
            "# mtu = 1500                           # bytes: every pair of nodes has to reach each other with it\n\
             # gateway = \"{host}\"                 # DHCP's, where none is named\n\
             # dns = [\"{host}\"]                   # name servers, three at most; DHCP's, where none is named\n\
             # registry = \"registry.example:5000\" # has to answer before the cluster is formed\n\
             # versions = {{ image = \"2026.11.22\" }} # which image every node has before the cluster is formed\n"
        )
    }
}

fn example(number: u32) -> Mac {
    Mac::example(number.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    /// As an operator does who has read it.
    fn filled_in(text: &str) -> String {
        text.replace("00:00:5e:00:53:", "52:54:00:00:00:").replace(CHANGE_ME, "disk")
    }

    #[test]
    fn what_is_made_can_be_read_when_it_is_filled_in() {
        for preset in Preset::ALL {
            for mode in [Mode::Static, Mode::Pool] {
                let new = New { preset, mode, ..New::default() };
                let roster = read("c.toml", &filled_in(&new.text([9; 16]).unwrap())).unwrap();
                assert_eq!(roster.control_plane().count(), 3);
                assert_eq!((roster.mode, roster.nodes.len() % 5), (mode, 3));
                assert!(roster.cluster.to_string().contains("-4909-8909-"), "{}", roster.cluster);
            }
        }
    }

    #[test]
    fn what_may_be_missing_is_there_to_be_taken_in() {
        let text = filled_in(&New::default().text([9; 16]).unwrap());
        let plain = read("c.toml", &text).unwrap();
        let keys = ["mtu", "gateway", "dns", "registry", "versions"];
        let text = keys
            .iter()
            .fold(text, |text, key| text.replace(&format!("# {key} ="), &format!("{key} =")));
        let roster = read("c.toml", &text).unwrap();
        assert_eq!((roster.mtu, plain.gateway, plain.dns.len()), (1500, None, 0));
        assert_eq!(roster.gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(roster.dns, [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(roster.registry.unwrap().to_string(), "registry.example:5000");
        assert_eq!(roster.versions.image.unwrap().as_str(), "2026.11.22");
    }

    #[test]
    fn what_nobody_filled_in_is_told_line_by_line() {
        let text = New::default().text([9; 16]).unwrap();
        let mistakes = read("c.toml", &text).unwrap_err();
        let mut told: Vec<_> = mistakes.iter().map(|mistake| mistake.place().to_string()).collect();
        for place in &mut told {
            place.truncate(place.rfind(':').unwrap()); // the column
        }
        told.sort();
        let is_open = |line: &str| line.contains("00:00:5e") || line.contains(CHANGE_ME);
        let lines = (1..).zip(text.lines()).filter(|(_, line)| is_open(line));
        let mut want: Vec<_> = lines.map(|(number, _)| format!("c.toml:{number}")).collect();
        want.sort();
        assert_eq!(told, want);
        assert_eq!(told.len(), 6, "three machines, each with a disk");
    }

    #[test]
    fn there_are_as_many_as_is_said() {
        for (preset, controllers, workers, want) in [
            (Preset::OpenStack, Some(1), Some(2), ["control-1", "compute-1", "compute-2"]),
            (Preset::Kubernetes, Some(1), Some(2), ["control-1", "worker-1", "worker-2"]),
            (Preset::Kubernetes, None, Some(0), ["control-1", "control-2", "control-3"]),
        ] {
            let new = New { preset, controllers, workers, ..New::default() };
            let roster = read("c.toml", &filled_in(&new.text([9; 16]).unwrap())).unwrap();
            let names: Vec<_> = roster.nodes.iter().map(|row| row.name.as_ref()).collect();
            assert_eq!(names, want);
            assert_eq!(roster.minimum_workers, 3 - roster.control_plane().count());
        }
        let even = New { controllers: Some(2), ..New::default() };
        assert!(matches!(even.text([0; 16]), Err(Error::Even(2))));
        let many = New { workers: Some(u32::MAX), ..New::default() };
        assert!(matches!(many.text([0; 16]), Err(Error::Many(_))));
    }

    #[test]
    fn what_cannot_be_made() {
        let narrow = New {
            subnet: "10.0.0.0/28".parse().unwrap(),
            preset: Preset::Kubernetes,
            ..New::default()
        };
        assert!(matches!(narrow.text([0; 16]), Err(Error::Narrow { .. })));
        let macs = vec!["52:54:00:00:00:01".parse().unwrap(); 4];
        assert!(matches!(
            New { macs, ..New::default() }.text([0; 16]),
            Err(Error::TooManyMacs { .. })
        ));
    }
}
