//! Which other nodes this one reaches with packets as long as the roster's MTU, and that reach it: see
//! [`coremax_node_api::wire`] for the probes.
//!
//! What is sent and what is believed is [`Pairs`]', without I/O. The socket has the row's own address: what comes to
//! another one of the machine's is not meant, and without it nobody would know who asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use coremax_node_api::{
    guid::Guid,
    join::cluster_hash,
    roster::{MTU, Name, Node, Roster},
    wire::{Probe, decode_probe, encode_probe},
};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, bind,
        sockopt::{self, Ipv4PathMtuDiscovery},
    },
};

use super::beacons;
use crate::random;

/// Probes that are heard at a time: others have their turn between.
const HEARD_AT_ONCE: usize = 32;
/// Between looking who is to be asked, in milliseconds of the join's.
const ASK_EVERY: u64 = 1_000;
/// The same where nobody is asked any more: a newer roster may have other rows, that ask.
const LOOK_EVERY: u64 = 5_000;
/// Between questions to a node that does not answer, and to one that does, in milliseconds of the join's.
const AGAIN_AFTER: (u64, u64) = (2_000, 10_000);
/// For how long a node counts as reached that has answered, in milliseconds of the join's.
const FRESH_FOR: u64 = 30_000;
/// In how many turns all are asked: a few packets a second, and all before the first is to be asked again.
const TURNS: usize = 8;

/// This node's end of the pairs that it is one of.
#[derive(Debug)]
pub(super) struct Mesh {
    port: u16,
    pairs: Pairs,
    socket: Option<(Ipv4Addr, UdpSocket)>,
    /// When it asks again, by the join's clock.
    next: u64,
    /// Why it has no socket.
    closed: Option<String>,
    /// Why the last question was not sent.
    unsent: Option<String>,
}

impl Mesh {
    pub(super) fn new(cluster: Guid, port: u16) -> Self {
        let pairs = Pairs::new(cluster_hash(cluster));
        Self { port, pairs, socket: None, next: 0, closed: None, unsent: None }
    }

    /// What poll is to wait for, beside [`Self::next`].
    pub(super) fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref().map(|(_, socket)| socket)
    }

    /// When [`Self::go_on`] has something to do, by the join's clock; nothing before the node has a row.
    pub(super) fn next(&self) -> Option<u64> {
        (self.next > 0).then_some(self.next)
    }

    /// Whether the machine has its row's address.
    pub(super) fn has_address(&self) -> bool {
        self.socket.is_some()
    }

    /// Why it cannot ask, for people.
    pub(super) fn failed(&self) -> Option<&String> {
        self.closed.as_ref().or(self.unsent.as_ref())
    }

    /// The nodes that are reached.
    pub(super) fn reached(&self, now: u64) -> BTreeSet<Name> {
        self.pairs.reached(now)
    }

    /// Asks those whose time has come, if it `asks` at all.
    pub(super) fn go_on(&mut self, roster: &Roster, own: &Node, asks: bool, now: u64) {
        if now < self.next {
            return;
        }
        self.next = now + if asks { ASK_EVERY } else { LOOK_EVERY };
        self.pairs.follow(roster, &own.name);
        self.closed = self.open(own.address).err();
        let Some((_, socket)) = self.socket.as_ref().filter(|_| asks) else { return };
        let due = self.pairs.due(now, || random::number().ok());
        if !due.is_empty() {
            self.unsent = None;
        }
        for (to, datagram) in due {
            // One that is lost is followed by another; one that is too long for the card is not lost.
            let sent = socket.send_to(&datagram, (to, self.port));
            let is_long =
                sent.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::MSGSIZE));
            if is_long {
                let mtu = roster.mtu;
                self.unsent = Some(format!("the card towards {to} sends no {mtu} bytes"));
            }
        }
    }

    /// Answers those who ask, and hears who answers.
    pub(super) fn hear(&mut self, now: u64) {
        let Some((_, socket)) = &self.socket else { return };
        let mut buffer = [0; MTU.1 as usize];
        for _ in 0..HEARD_AT_ONCE {
            let (length, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                // What a packet before has come to.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            let SocketAddr::V4(from) = from else { continue };
            if from.port() != self.port {
                continue;
            }
            if let Some(answer) = self.pairs.hear(*from.ip(), &buffer[..length], now) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn open(&mut self, address: Ipv4Addr) -> Result<(), String> {
        if self.socket.as_ref().is_some_and(|(of, _)| *of == address) {
            return Ok(());
        }
        self.socket = None;
        let opened = open((address, self.port).into());
        let failed = |error| format!("opening UDP port {} of {address}: {error}", self.port);
        self.socket = Some((address, opened.map_err(failed)?));
        Ok(())
    }
}

/// Beside the one that beacons come to, which has all addresses. Whatever is longer than the card's MTU is sent by nobody, and
/// what a router or switch on the way cannot pass is dropped there.
fn open(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = beacons::socket(AddressFamily::INET)?;
    sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    bind(&socket, &at)?;
    Ok(socket.into())
}

/// Who is asked when, and who has answered.
#[derive(Debug)]
struct Pairs {
    cluster: [u8; 32],
    mtu: u16,
    others: BTreeMap<Ipv4Addr, Other>,
}

#[derive(Debug)]
struct Other {
    name: Name,
    /// What it was asked with; again until it answers.
    nonce: Option<u64>,
    due: u64,
    answered: Option<u64>,
}

impl Pairs {
    const fn new(cluster: [u8; 32]) -> Self {
        Self { cluster, mtu: 0, others: BTreeMap::new() }
    }

    /// Goes by a roster. With another MTU, and of another address, nothing is known.
    fn follow(&mut self, roster: &Roster, own: &Name) {
        if self.mtu != roster.mtu {
            self.others.clear();
            self.mtu = roster.mtu;
        }
        let rows = || roster.nodes.iter().filter(|row| row.name != *own);
        let is_row = |at: &Ipv4Addr, other: &Other| {
            rows().any(|row| row.address == *at && row.name == other.name)
        };
        self.others.retain(|at, other| is_row(at, other));
        for row in rows() {
            let new = || Other { name: row.name.clone(), nonce: None, due: 0, answered: None };
            self.others.entry(row.address).or_insert_with(new);
        }
    }

    /// What is to be sent to whom: those first who wait for longest.
    fn due(&mut self, now: u64, nonce: impl Fn() -> Option<u64>) -> Vec<(Ipv4Addr, Vec<u8>)> {
        let most = self.others.len().div_ceil(TURNS).max(4);
        let mut due: Vec<_> =
            self.others.iter_mut().filter(|(_, other)| other.due <= now).collect();
        due.sort_by_key(|(_, other)| other.due);
        due.truncate(most);
        let mut sent = Vec::new();
        for (at, other) in due {
            let Some(nonce) = other.nonce.or_else(&nonce) else { continue };
            (other.nonce, other.due) = (Some(nonce), now + AGAIN_AFTER.0);
            let probe = Probe { cluster: self.cluster, is_answer: false, nonce };
            sent.push((*at, encode_probe(&probe, self.mtu)));
        }
        sent
    }

    /// Takes a datagram. What is to be answered, to a node that asks.
    fn hear(&mut self, from: Ipv4Addr, datagram: &[u8], now: u64) -> Option<Vec<u8>> {
        let other = self.others.get_mut(&from)?;
        let probe = decode_probe(datagram, self.mtu).ok();
        let probe = probe.filter(|probe| probe.cluster == self.cluster)?;
        if !probe.is_answer {
            return Some(encode_probe(&Probe { is_answer: true, ..probe }, self.mtu));
        }
        if other.nonce.take_if(|nonce| *nonce == probe.nonce).is_some() {
            // Not all at once, though all were asked at once.
            let jitter = probe.nonce % (AGAIN_AFTER.1 / 4);
            (other.answered, other.due) = (Some(now), now + AGAIN_AFTER.1 - jitter);
        }
        None
    }

    fn reached(&self, now: u64) -> BTreeSet<Name> {
        let is_fresh =
            |other: &&Other| other.answered.is_some_and(|at| now.saturating_sub(at) <= FRESH_FOR);
        self.others.values().filter(is_fresh).map(|other| other.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prepare::tests::roster;

    const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
    const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// Of the first of three rows.
    fn pairs() -> Pairs {
        let mut pairs = Pairs::new([7; 32]);
        pairs.follow(&roster(), &name("control-1"));
        pairs
    }

    fn probe(is_answer: bool, nonce: u64) -> Vec<u8> {
        encode_probe(&Probe { cluster: [7; 32], is_answer, nonce }, 1500)
    }

    fn asked(pairs: &mut Pairs, now: u64) -> Vec<Ipv4Addr> {
        pairs.due(now, || Some(now)).into_iter().map(|(to, _)| to).collect()
    }

    #[test]
    fn who_answers_is_reached_for_a_while_and_asked_again() {
        let mut pairs = pairs();
        let both = [SECOND, Ipv4Addr::new(10, 0, 0, 13)];
        let sent = pairs.due(100, || Some(5));
        assert_eq!(sent, both.map(|to| (to, probe(false, 5))));
        assert!(asked(&mut pairs, 2_000).is_empty());
        assert_eq!(pairs.hear(SECOND, &probe(true, 5), 200), None);
        assert_eq!(pairs.reached(200), [name("control-2")].into());
        assert_eq!(asked(&mut pairs, 2_100), both[1..], "who has not answered");
        assert_eq!(asked(&mut pairs, 10_200), [both[1], both[0]], "first who waits for longest");
        assert_eq!(pairs.reached(200 + FRESH_FOR), [name("control-2")].into());
        assert_eq!(pairs.reached(201 + FRESH_FOR), [].into());
        // The first question to the third is open still: an answer that took its time counts.
        pairs.hear(both[1], &probe(true, 5), 50_000);
        assert_eq!(pairs.reached(50_000), [name("1e3")].into());
    }

    #[test]
    fn what_is_no_answer_reaches_nobody() {
        let mut pairs = pairs();
        pairs.due(100, || Some(5));
        let other = encode_probe(&Probe { cluster: [8; 32], is_answer: true, nonce: 5 }, 1500);
        for (from, datagram) in [
            (SECOND, probe(true, 6)),                      // guessed
            (STRANGER, probe(true, 5)),                    // of no row
            (Ipv4Addr::new(10, 0, 0, 11), probe(true, 5)), // its own
            (SECOND, probe(true, 5)[..1471].to_vec()),
            (SECOND, [&probe(true, 5)[..], &[0]].concat()),
            (SECOND, other),
            (SECOND, probe(false, 5)), // a question
        ] {
            pairs.hear(from, &datagram, 200);
            assert_eq!(pairs.reached(200), [].into(), "{from} {:?}", &datagram[..51]);
        }
        pairs.hear(SECOND, &probe(true, 5), 200);
        pairs.due(20_000, || Some(9));
        pairs.hear(SECOND, &probe(true, 5), 40_000); // of the time before
        assert_eq!(pairs.reached(40_000), [].into());
    }

    #[test]
    fn rows_alone_are_answered_and_with_no_more_than_they_sent() {
        let mut pairs = pairs();
        let question = probe(false, 3);
        assert_eq!(pairs.hear(SECOND, &question, 1), Some(probe(true, 3)));
        assert_eq!(probe(true, 3).len(), question.len());
        let other = encode_probe(&Probe { cluster: [8; 32], is_answer: false, nonce: 3 }, 1500);
        let short = encode_probe(&Probe { cluster: [7; 32], is_answer: false, nonce: 3 }, 1400);
        for (from, datagram) in
            [(STRANGER, question), (SECOND, other), (SECOND, short), (SECOND, probe(true, 3))]
        {
            assert_eq!(pairs.hear(from, &datagram, 1), None, "{from}");
        }
    }

    #[test]
    fn a_new_roster_forgets_what_it_changes() {
        let mut pairs = pairs();
        let own = name("control-1");
        pairs.due(100, || Some(5));
        for at in [12, 13] {
            pairs.hear(Ipv4Addr::new(10, 0, 0, at), &probe(true, 5), 200);
        }
        let mut moved = roster();
        moved.nodes[2].address = STRANGER;
        pairs.follow(&moved, &own);
        assert_eq!(pairs.reached(300), [name("control-2")].into());
        assert!(pairs.hear(STRANGER, &probe(false, 1), 300).is_some(), "it is a row now");
        pairs.follow(&Roster { mtu: 9000, ..moved }, &own);
        assert_eq!(pairs.reached(300), [].into());
    }

    #[test]
    fn many_are_asked_a_few_at_a_time_and_nobody_is_forgotten() {
        let mut large = roster();
        let row = large.nodes[2].clone();
        large.nodes.extend((0..247_u8).map(|number| Node {
            name: name(&format!("n-{number}")),
            address: Ipv4Addr::new(10, 1, 0, number),
            ..row.clone()
        }));
        let mut pairs = pairs();
        pairs.follow(&large, &name("control-1"));
        let mut all = BTreeSet::new();
        for turn in 0..8 {
            let asked = asked(&mut pairs, 1_000 * (turn + 1));
            assert!(asked.len() <= 32, "{}", asked.len());
            all.extend(asked);
        }
        assert_eq!(all.len(), 249);
    }

    #[test]
    fn sockets_reach_each_other() {
        let own = Ipv4Addr::LOCALHOST;
        let mut roster = roster();
        (roster.nodes[0].address, roster.nodes[1].address) = (own, Ipv4Addr::new(127, 0, 0, 2));
        let port = UdpSocket::bind((own, 0)).unwrap().local_addr().unwrap().port();
        let mut ends = [0, 1].map(|_| Mesh::new(Guid::literal(1), port));
        // The second one opens after the first has asked for the first time.
        for now in [1, 3_000, 6_000] {
            for (row, end) in ends.iter_mut().enumerate() {
                end.go_on(&roster, &roster.nodes[row], true, now);
            }
            (0..2).for_each(|_| ends.iter_mut().for_each(|end| end.hear(now)));
        }
        for (end, want) in ends.iter().zip(["control-2", "control-1"]) {
            assert_eq!(end.reached(6_000), [name(want)].into(), "{:?}", end.failed());
        }
        let elsewhere = Node { address: Ipv4Addr::new(192, 0, 2, 1), ..roster.nodes[0].clone() };
        ends[0].go_on(&roster, &elsewhere, true, 9_000);
        assert!(!ends[0].has_address());
        let why = ends[0].failed().unwrap();
        assert!(why.starts_with(&format!("opening UDP port {port} of 192.0.2.1: ")), "{why}");
    }

    proptest! {
        /// Whatever comes from whomever: nobody is reached who was not asked, and nobody is sent more than came.
        #[test]
        fn foreign_bytes_reach_nobody(bytes in prop::collection::vec(any::<u8>(), 0..100), from: u8, at: prop::sample::Index) {
            let mut pairs = pairs();
            let mut damaged = probe(bytes.len() % 2 == 0, 5);
            let at = at.index(damaged.len() - bytes.len());
            damaged[at..at + bytes.len()].copy_from_slice(&bytes);
            for datagram in [bytes, damaged] {
                let answer = pairs.hear(Ipv4Addr::new(10, 0, 0, from), &datagram, 1);
                prop_assert!(answer.is_none_or(|answer| answer.len() == datagram.len() && (12..=13).contains(&from)));
                prop_assert!(pairs.reached(1).is_empty());
            }
        }
    }
}
