//! What an operator makes: a roster, signed, and media with a key.

use std::{net::Ipv4Addr, sync::Mutex};

use coremax_node_api::{
    guid::Guid,
    identity::{Document, Key, KeyId},
    roster::{FORMAT, Mac, Match, Mode, Node, Role, Roster, Versions, signed},
    update::key::SecretKey,
};
use rand::random;

/// Every key that was made, as bytes and as text: what nothing that is written may hold.
static SECRETS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

pub(crate) fn secrets() -> Vec<Vec<u8>> {
    SECRETS.lock().map(|secrets| secrets.clone()).unwrap_or_default()
}

/// A cluster that is to be.
pub(crate) struct Cluster {
    pub(crate) roster: Roster,
    operator: SecretKey,
    pub(crate) key_id: KeyId,
    key: [u8; 32],
}

/// Which key a medium has.
#[derive(Clone, Copy)]
pub(crate) enum Keys {
    Right,
    /// Another one, with its id.
    Wrong,
    /// Another one, with an id of its own.
    Unknown,
}

impl Cluster {
    /// Of so many machines: three controllers, and workers that all have to be ready.
    pub(crate) fn of(nodes: u8) -> Self {
        let row = |number: u8| {
            let (name, role) = match number {
                1..=3 => (format!("control-{number}"), Role::Control),
                _ => (format!("worker-{number}"), Role::Worker),
            };
            Node {
                name: name.parse().expect("a name"),
                roles: [role].into(),
                address: address(number),
                matches: Some(Match::Mac(mac(number))),
                generation: 0,
                nics: Vec::new(),
                osd_disks: Vec::new(),
            }
        };
        let roster = Roster {
            format: FORMAT,
            cluster: Guid::literal(random()),
            epoch: 1,
            mode: Mode::Static,
            seed: "control-1".parse().expect("a name"),
            seed_key: None,
            subnet: "10.77.0.0/16".parse().expect("a subnet"),
            vip: address(254),
            mtu: 1500,
            gateway: None,
            dns: Vec::new(),
            registry: None,
            minimum_workers: usize::from(nodes.saturating_sub(3)),
            versions: Versions::default(),
            nodes: (1..=nodes).map(row).collect(),
        };
        let operator = SecretKey::from_seed(random(), "operator");
        Self { roster, operator, key_id: KeyId(random()), key: new_key() }
    }

    /// Of machines that are alike: no row names one.
    pub(crate) fn pool(nodes: u8) -> Self {
        let mut cluster = Self::of(nodes);
        cluster.roster.mode = Mode::Pool;
        cluster.roster.nodes.iter_mut().for_each(|row| row.matches = None);
        cluster
    }

    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        self.roster.nodes[usize::from(number) - 1].address
    }

    pub(crate) fn signed(&self) -> Result<Vec<u8>, String> {
        signed::sign(&self.roster, &self.operator).map_err(|error| error.to_string())
    }

    /// The text of the operator's public key.
    pub(crate) fn operators(&self) -> String {
        format!("{}\n", self.operator.public().to_line().trim_end())
    }

    /// The text of the file that the operator signs with.
    pub(crate) fn operator_key(&self) -> String {
        self.operator.to_line()
    }

    /// The medium of a machine.
    pub(crate) fn identity(&self, seeds: &[Ipv4Addr]) -> String {
        self.identity_with(Keys::Right, seeds)
    }

    pub(crate) fn identity_with(&self, keys: Keys, seeds: &[Ipv4Addr]) -> String {
        let (id, key) = match keys {
            Keys::Right => (self.key_id, self.key),
            Keys::Wrong => (self.key_id, new_key()),
            Keys::Unknown => (KeyId(random()), new_key()),
        };
        let document = Document::new(self.roster.cluster, id, Key::new(key), seeds.to_vec());
        document.to_text().to_string()
    }
}

fn new_key() -> [u8; 32] {
    let key: [u8; 32] = random();
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Ok(mut secrets) = SECRETS.lock() {
        secrets.extend([key.to_vec(), digits.into_bytes()]);
    }
    key
}

pub(crate) fn mac(number: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, number]).expect("a card's")
}

pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}
