//! A machine: hardware, a disk, a clock, and the program that runs on it.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use coremax_node_api::{
    join::{
        Hardware, NodeKey, Now, is_serial, node,
        seed::{self, Rows},
    },
    roster::{Mac, Match, Name, Roster},
};

/// Where all nodes listen.
pub(super) const PORT: u16 = 7433;

/// What a machine is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One that the operator bought.
    Honest,
    /// One with a copy of another's disk.
    Copy,
    /// One without the cluster's key, that answers as a seed would.
    Stranger,
    /// One with the cluster's key, that says it is another's hardware.
    Liar,
    /// One with the cluster's key, that answers as a seed with a roster of its own.
    Forger,
}

/// A machine, and the truth about it.
#[derive(Debug)]
pub(super) struct Machine {
    pub kind: Kind,
    pub hardware: Hardware,
    /// The row it is meant for, where the roster means one.
    pub row: Option<Name>,
    /// The roster on the medium of a machine that is to be the seed.
    pub medium: Option<Arc<[u8]>>,
    pub disk: Disk,
    /// The epoch of the roster that its files were written for last.
    pub written: Option<u64>,
    /// What the disk had before the last write.
    pub stale: Disk,
    pub node: Option<node::Node>,
    pub seed: Option<seed::Seed>,
    /// Counts starts: what was under way before a power cut does not arrive after it.
    pub starts: u32,
    pub clock: Clock,
    /// Where a partition has it.
    pub side: u8,
    /// When it last reached which other machine.
    pub heard: BTreeMap<usize, u64>,
    /// Counts the deployments that its seed asked for.
    pub deployment: u64,
    /// Whom the last of them is for.
    pub deploying: Rows,
    /// The last wake-up that each of the programs asked for counts.
    pub wakes: [u64; 2],
    /// The epoch in which another machine got its row.
    pub retired_in: Option<u64>,
    /// The key on the disk that was copied into it.
    pub copied: Option<NodeKey>,
    /// When all work that was begun is done.
    pub busy_until: u64,
    /// It was started as a seed beside the first one.
    pub is_extra: bool,
    /// The operator took it away.
    pub is_pulled: bool,
}

/// What outlives a power cut.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub node: Option<node::Saved>,
    pub seed: Option<seed::Saved>,
}

/// A clock as bad as they come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: u64,
    /// To be added to the true time, in milliseconds.
    pub offset: i64,
    /// Millionths that it is too fast.
    pub drift: i64,
    /// It cannot be set.
    pub is_stuck: bool,
}

impl Machine {
    pub(super) fn new(kind: Kind, number: usize, row: Option<Name>) -> Self {
        Self {
            kind,
            hardware: hardware(number),
            row,
            medium: None,
            disk: Disk::default(),
            written: None,
            stale: Disk::default(),
            node: None,
            seed: None,
            starts: 0,
            clock: Clock { started: 0, offset: 0, drift: 0, is_stuck: false },
            side: 0,
            heard: BTreeMap::new(),
            deployment: 0,
            deploying: Rows::new(),
            wakes: [0; 2],
            retired_in: None,
            copied: None,
            busy_until: 0,
            is_extra: false,
            is_pulled: false,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.node.is_some()
    }

    pub(super) fn cut_power(&mut self) {
        self.starts += 1;
        (self.node, self.seed) = (None, None);
        self.busy_until = 0;
        self.heard.clear();
    }

    /// As it came from the factory, but for the medium.
    pub(super) fn wipe(&mut self) {
        self.cut_power();
        (self.disk, self.stale) = (Disk::default(), Disk::default());
        self.written = None;
    }

    pub(super) fn has_serial(&self) -> bool {
        self.hardware.serial.as_deref().is_some_and(is_serial)
    }

    pub(super) fn key(&self) -> Option<NodeKey> {
        Some(self.disk.node.as_ref()?.key)
    }

    /// The generation of the seed's row, as the node knows it.
    pub(super) fn generation_of_seed(&self) -> u32 {
        let roster = self.node.as_ref().and_then(node::Node::roster);
        roster.map_or(0, Roster::seed_generation)
    }

    pub(super) fn now(&self, time: u64) -> Now {
        self.clock.now(time)
    }
}

impl Clock {
    pub(super) fn start(&mut self, time: u64) {
        self.started = time;
    }

    pub(super) fn now(&self, time: u64) -> Now {
        let run = i64::try_from(time - self.started).unwrap_or(i64::MAX);
        let mono = run + run * self.drift / 1_000_000;
        Now { mono: mono.unsigned_abs(), wall: self.wall(time) }
    }

    pub(super) fn wall(&self, time: u64) -> i64 {
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        time + time * self.drift / 1_000_000 + self.offset
    }

    pub(super) fn set(&mut self, wall: i64, time: u64) {
        if !self.is_stuck {
            self.offset += wall - self.wall(time);
        }
    }

    /// The true time at which this clock will have run for `mono`.
    pub(super) fn true_time(&self, mono: u64) -> u64 {
        let mono = i64::try_from(mono).unwrap_or(i64::MAX / 2_000_000);
        self.started + (mono * 1_000_000 / (1_000_000 + self.drift)).unsigned_abs() + 1
    }
}

/// The MAC of machine `number`, the same that its row names.
pub(super) fn mac(number: usize) -> Mac {
    let [.., high, low] = number.to_be_bytes();
    #[expect(clippy::expect_used, reason = "neither zero nor a group's")]
    Mac::new([0x52, 0x54, 0, 0, high, low]).expect("a card's MAC")
}

/// What a row names machine `number` by: every third one by its serial number.
pub(super) fn meaning(number: usize) -> Match {
    match number % 3 {
        1 => Match::Serial(format!("CZ{number:04}")),
        _ => Match::Mac(mac(number)),
    }
}

fn hardware(number: usize) -> Hardware {
    let serial = match meaning(number) {
        Match::Serial(serial) => format!("{serial} "), // as vendors write them
        // Boards of one series: what is not filled in is the same on all.
        Match::Mac(_) => "To Be Filled By O.E.M.".to_owned(),
    };
    Hardware { macs: [mac(number)].into(), serial: Some(serial), ..Hardware::default() }
}

pub(super) fn address(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    (Ipv4Addr::new(10, 9, high, low), PORT).into()
}

pub(super) fn at_address(address: SocketAddr) -> Option<usize> {
    let SocketAddr::V4(address) = address else { return None };
    let [_, _, high, low] = address.ip().octets();
    Some(usize::from(high) << 8 | usize::from(low))
}
