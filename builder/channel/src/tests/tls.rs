//! Two ends in TLS, and those who should be none.

use std::{
    cell::Cell,
    io::Write as _,
    sync::{Arc, LazyLock},
};

use coremax_node_api::{
    enrol::{Der, Window},
    join::NodeKey,
    wire::{ALPN, PART_MAX, REPORT_MAX, VERSION},
};
use der::asn1::ObjectIdentifier;
use proptest::{collection::vec, prelude::*, sample::Index};
use x509_cert::ext::pkix::name::GeneralName;

use super::{
    arrive_whole, credentials,
    made::{CLIENT, SERVER, authority, certificate, dns, ip, mail, secret, uri},
};
use crate::*;

const DAY: i64 = 86_400_000;
const TODAY: i64 = 20_000 * DAY;
const VALID: Window = Window { from: TODAY - DAY, until: TODAY + 30 * DAY };
const BOTH: [ObjectIdentifier; 2] = [SERVER, CLIENT];

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(TODAY) };
}

fn now() -> i64 {
    NOW.get()
}

fn key(number: u8) -> NodeKey {
    NodeKey([number; 32])
}

fn names(number: u8) -> Vec<GeneralName> {
    let uri = uri(&Certified::uri(key(number)));
    vec![dns(&format!("control-{number}")), ip([10, 0, 0, number]), uri]
}

fn row(number: u8) -> SeedRow {
    SeedRow {
        name: format!("control-{number}").parse().unwrap(),
        address: [10, 0, 0, number].into(),
    }
}

/// Of the machine with this number, by the authority with that key, which trusts this one.
fn papers(number: u8, by: u8, valid: Window) -> Arc<Papers> {
    let certificate = certificate(by, number, names(number), BOTH.to_vec(), valid);
    Arc::new(Papers::new(&authority(by), &certificate, &secret(number), now).unwrap())
}

/// Papers are made once, as on a machine.
static NODES: LazyLock<Arc<Papers>> = LazyLock::new(|| papers(2, 9, VALID));
static SEEDS: LazyLock<Arc<Papers>> = LazyLock::new(|| papers(1, 9, VALID));

fn a_node() -> Connection {
    Connection::of_node(&NODES, row(1)).unwrap()
}

fn a_seed() -> Connection {
    Connection::of_seed(credentials(1, 1, &[(1, 1)]), Some(Arc::clone(&SEEDS)))
}

fn said(end: &mut Connection) -> Vec<u8> {
    std::mem::take(end.output())
}

/// Lets both talk until one fails or has nothing to say: what each came to.
fn talk(node: &mut Connection, seed: &mut Connection) -> [Result<(), Failure>; 2] {
    let mut ends = [Ok(()), Ok(())];
    for _ in 0..4 {
        let bytes = said(node);
        if ends[1].is_ok() && !bytes.is_empty() {
            ends[1] = seed.take(&bytes).map(drop);
        }
        let bytes = said(seed);
        if ends[0].is_ok() && !bytes.is_empty() {
            ends[0] = node.take(&bytes).map(drop);
        }
    }
    ends
}

fn open() -> (Connection, Connection) {
    let (mut node, mut seed) = (a_node(), a_seed());
    assert_eq!(talk(&mut node, &mut seed), [Ok(()), Ok(())]);
    (node, seed)
}

#[test]
fn each_proves_who_it_is_by_its_certificate() {
    assert_eq!(ALPN, format!("coremax/{VERSION}").as_bytes());
    let (mut node, mut seed) = (a_node(), a_seed());
    assert_eq!(seed.send(b"x"), Err(Failure::Closed));
    seed.take(&said(&mut node)).unwrap();
    assert_eq!((node.peer(), seed.peer()), (None, None));
    node.take(&said(&mut seed)).unwrap();
    assert_eq!(seed.peer(), None);
    let last = said(&mut node);
    assert!(!last.windows(9).any(|bytes| bytes == b"control-2"), "names are not in clear");
    seed.take(&last).unwrap();
    assert_eq!((node.peer(), seed.peer()), (Some(key(1)), Some(key(2))));
    assert!(!seed.has_output(), "no ticket: who comes by one shows no certificate again");
    assert!(seed.is_tls() && !seed.is_operators());
    let shown = seed.certified().unwrap();
    assert!(
        shown.is_of(&row(2).name, row(2).address) && !shown.is_of(&row(2).name, row(1).address)
    );
    assert!(!shown.is_of(&row(1).name, row(2).address));
    assert_eq!((shown.valid, shown.key), (VALID, secret(2).public()));
    for (time, want) in [(VALID.from - 1, false), (TODAY, true), (VALID.until + 1, false)] {
        assert_eq!(shown.holds(time), want);
    }
}

#[test]
fn messages_arrive_whole_however_they_are_cut() {
    arrive_whole(open);
}

/// A node of the cluster that says what a node may not.
fn said_inside(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut seed = a_seed();
    let mut node = raw(&NODES, &[ALPN.to_vec()]);
    for _ in 0..3 {
        let mut out = Vec::new();
        while node.wants_write() {
            node.write_tls(&mut out).unwrap();
        }
        seed.take(&out)?;
        node.read_tls(&mut &said(&mut seed)[..]).unwrap();
        let _ = node.process_new_packets();
    }
    node.writer().write_all(bytes).unwrap();
    let mut out = Vec::new();
    while node.wants_write() {
        node.write_tls(&mut out).unwrap();
    }
    seed.take(&out)
}

/// An end that speaks these protocols inside.
fn raw(papers: &Papers, inside: &[Vec<u8>]) -> rustls::ClientConnection {
    let mut config = (*papers.node).clone();
    config.alpn_protocols = inside.to_vec();
    rustls::ClientConnection::new(Arc::new(config), papers::server(row(1).address)).unwrap()
}

#[test]
fn what_is_no_report_is_refused_inside_too() {
    assert_eq!(said_inside(&[0, 2, 0, b'r']), Ok(vec![b"r".to_vec()]));
    let long = u16::try_from(PART_MAX + 2).unwrap().to_be_bytes();
    for (bytes, want) in [
        (&[0, 2, 2, b'r'][..], "the report says 2"), // an operator's request
        (&[0, 1, 0], "a frame has 1"),
        (&[0, 0], "a frame has 0"),
        (&long, "a frame has"),
    ] {
        let error = said_inside(bytes).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
    let (mut node, mut seed) = open();
    node.send(&vec![b'x'; REPORT_MAX + 1]).unwrap();
    assert!(matches!(seed.take(&said(&mut node)), Err(Failure::Wire(_))));
    assert_eq!((seed.peer(), seed.take(b"x")), (None, Err(Failure::Closed)));
}

/// Who comes with what it should not, and what a seed says of it.
#[test]
fn who_is_no_node_of_the_cluster_is_refused() {
    let soon = Window { from: TODAY + DAY, until: TODAY + 2 * DAY };
    let over = Window { from: TODAY - 2 * DAY, until: TODAY - DAY };
    for (what, by, valid, want) in [
        ("another authority", 8, VALID, "BadSignature"),
        ("not yet", 9, soon, "not valid yet"),
        ("not any more", 9, over, "expired"),
    ] {
        NOW.set(valid.from);
        let theirs = papers(2, by, valid);
        NOW.set(TODAY);
        // It trusts whatever seed there is: this is about what the seed trusts.
        let mut config = (*NODES.node).clone();
        config.client_auth_cert_resolver = theirs.node.client_auth_cert_resolver.clone();
        let error = refused(rustls::ClientConnection::new(
            Arc::new(config),
            papers::server(row(1).address),
        ));
        assert!(error.contains(want), "{what}: {error}");
    }
    let mut bare = (*NODES.node).clone();
    bare.client_auth_cert_resolver = Arc::new(Nothing);
    let error =
        refused(rustls::ClientConnection::new(Arc::new(bare), papers::server(row(1).address)));
    assert!(error.contains("no certificates"), "{error}");
    for inside in [&[][..], &[b"coremax/0".to_vec()], &[b"http/1.1".to_vec()]] {
        let error = refused(Ok(raw(&NODES, inside)));
        assert!(error.contains("something else") || error.contains("known protocol"), "{error}");
    }
}

/// Has no certificate to show.
#[derive(Debug)]
struct Nothing;

impl rustls::client::ResolvesClientCert for Nothing {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// What a seed says of a node's end that is refused.
fn refused(node: Result<rustls::ClientConnection, rustls::Error>) -> String {
    let (mut node, mut seed) = (node.unwrap(), a_seed());
    for _ in 0..3 {
        let mut out = Vec::new();
        while node.wants_write() {
            node.write_tls(&mut out).unwrap();
        }
        if let Err(failure) = seed.take(&out) {
            assert_eq!((seed.peer(), seed.certified()), (None, None));
            return failure.to_string();
        }
        node.read_tls(&mut &said(&mut seed)[..]).unwrap();
        node.process_new_packets().unwrap();
    }
    panic!("it was let in as {:?}", seed.peer());
}

/// Whom a node finds where its seed should be, and what it says of that.
#[test]
fn who_is_not_the_seed_is_found_out() {
    let over = Window { from: TODAY - 2 * DAY, until: TODAY - DAY };
    let odd = |name: &str, address| {
        let names = vec![dns(name), ip(address), uri(&Certified::uri(key(1)))];
        certificate(9, 1, names, BOTH.to_vec(), VALID)
    };
    let usual = |by, valid| certificate(by, 1, names(1), BOTH.to_vec(), valid);
    for (what, by, shown, at, want) in [
        ("another authority", 8, usual(8, VALID), TODAY, "BadSignature"),
        ("over", 9, usual(9, over), over.until, "expired"),
        ("another address", 9, odd("control-1", [10, 0, 0, 3]), TODAY, "not valid for name"),
        ("another name", 9, odd("control-3", [10, 0, 0, 1]), TODAY, "not those of the seed"),
    ] {
        NOW.set(at);
        let theirs = Papers::new(&authority(by), &shown, &secret(1), now).unwrap();
        NOW.set(TODAY);
        let own = credentials(1, 1, &[(1, 1)]);
        let (mut node, mut seed) = (a_node(), Connection::of_seed(own, Some(Arc::new(theirs))));
        let [said, _] = talk(&mut node, &mut seed);
        let error = said.unwrap_err().to_string();
        assert!(error.contains(want), "{what}: {error}");
        assert_eq!(node.peer(), None);
    }
}

#[test]
fn papers_that_others_would_refuse_are_none() {
    let make = |by, names, uses: &[_], valid| {
        let shown = certificate(9, 2, names, uses.to_vec(), valid);
        Papers::new(&authority(by), &shown, &secret(2), now).map(drop)
    };
    assert_eq!(make(9, names(2), &BOTH, VALID), Ok(()));
    let over = Window { from: 0, until: TODAY - DAY };
    let more = |name| [names(2), vec![name]].concat();
    let key = Certified::uri(key(2));
    for (made, want) in [
        (make(8, names(2), &BOTH, VALID), "does not hold"),
        (make(9, names(2), &BOTH, over), "expired"),
        (make(9, names(2), &[SERVER], VALID), "does not hold"),
        (make(9, names(2), &[CLIENT], VALID), "does not hold"),
        (make(9, names(2)[..2].to_vec(), &BOTH, VALID), "nothing else"), // as they once were
        (make(9, names(2)[1..].to_vec(), &BOTH, VALID), "nothing else"),
        (make(9, more(dns("vip")), &BOTH, VALID), "nothing else"),
        (make(9, more(ip([10, 0, 0, 10])), &BOTH, VALID), "nothing else"),
        (make(9, more(uri(&key)), &BOTH, VALID), "nothing else"),
        (make(9, more(mail("a@b")), &BOTH, VALID), "nothing else"),
        (make(9, vec![dns("a"), ip([1; 4]), uri(&key[1..])], &BOTH, VALID), "nothing else"),
        (make(9, vec![dns("a b"), ip([1; 4]), uri(&key)], &BOTH, VALID), "nothing else"),
    ] {
        let error = made.unwrap_err().to_string();
        assert!(error.contains(want), "{want}: {error}");
    }
    let shown = certificate(9, 2, names(2), BOTH.to_vec(), VALID);
    let other = Papers::new(&authority(9), &shown, &secret(3), now).unwrap_err();
    assert_eq!(other, NotUsable::OtherKey);
    let garbage = Der::new(vec![0x30; 40]).unwrap();
    assert!(Papers::new(&garbage, &shown, &secret(2), now).is_err());
    assert!(Papers::new(&authority(9), &garbage, &secret(2), now).is_err());
    let papers = Papers::new(
        &authority(9),
        &certificate(9, 0xa7, names(2), BOTH.to_vec(), VALID),
        &secret(0xa7),
        now,
    );
    let digits = format!("{:?}", papers.unwrap());
    assert!(!digits.contains(&"a7".repeat(8)) && !digits.contains("167, 167, 167"), "{digits}");
}

/// The clock is asked when somebody comes, and not when papers are made.
#[test]
fn papers_end_while_they_are_in_use() {
    for (time, want) in [(VALID.from - DAY, "not valid yet"), (VALID.until + DAY, "expired")] {
        NOW.set(time);
        let [node, seed] = talk(&mut a_node(), &mut a_seed());
        NOW.set(TODAY);
        let (node, seed) = (node.unwrap_err().to_string(), seed.unwrap_err().to_string());
        assert!(node.contains(want), "{node}");
        assert!(seed.contains("alert"), "{seed}");
        let mut seed = a_seed();
        let mut node = a_node();
        seed.take(&said(&mut node)).unwrap();
        node.take(&said(&mut seed)).unwrap();
        NOW.set(time);
        let error = seed.take(&said(&mut node)).unwrap_err().to_string();
        NOW.set(TODAY);
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_seed_tells_by_the_first_byte() {
    let own = credentials(1, 1, &[(1, 1)]);
    let mut seed = Connection::of_seed(Arc::clone(&own), None);
    assert_eq!(seed.take(&said(&mut a_node())), Err(Failure::NoPapers));
    assert_eq!((seed.peer(), seed.has_output()), (None, false));
    for papers in [None, Some(Arc::clone(&SEEDS))] {
        let mut seed = Connection::of_seed(Arc::clone(&own), papers);
        let channel = Channel::of_node(credentials(2, 1, &[(1, 1)])).unwrap();
        let mut node = Connection::from(channel);
        assert_eq!(talk(&mut node, &mut seed), [Ok(()), Ok(())]);
        assert!(!seed.is_tls() && seed.peer().is_some() && seed.certified().is_none());
    }
}

/// Before it has proven who it is nobody is listened to for long.
#[test]
fn who_says_too_much_first_is_refused() {
    let mut seed = a_seed();
    // A handshake message of 60 KiB, in records.
    let record = [&[0x16, 3, 1, 0x10, 0][..], &[1, 0, 0xf0, 0], &[0; 0xffc]].concat();
    let more = [&[0x16, 3, 1, 0x10, 0][..], &[0; 0x1000]].concat();
    let mut heard = seed.take(&record);
    let mut records = 1;
    while heard.is_ok() {
        heard = seed.take(&more);
        records += 1;
    }
    assert!(records <= 3, "{records}");
    assert_eq!(heard.unwrap_err().to_string(), "TLS: it says too much");
}

proptest! {
    #[test]
    fn garbage_opens_nothing(bytes in vec(any::<u8>(), 0..600), known in 0..3_usize) {
        let (mut node, mut seed) = (a_node(), a_seed());
        let first = said(&mut node);
        let _ = seed.take(&first[..[0, 5, first.len()][known]]);
        let _ = seed.take(&bytes);
        prop_assert!(seed.peer().is_none());
        let _ = node.take(&bytes);
        prop_assert!(node.peer().is_none());
    }

    #[test]
    fn no_certificate_is_read_out_of_garbage(bytes in vec(any::<u8>(), 0..300), at: Index, bit in 0..8_u32) {
        prop_assert!(Certified::read(&bytes).is_err());
        let mut changed = certificate(9, 2, names(2), BOTH.to_vec(), VALID).as_bytes().to_vec();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        if let Ok(changed) = Der::new(changed) {
            prop_assert!(Papers::new(&authority(9), &changed, &secret(2), now).is_err());
        }
    }

    /// Whatever bit is changed of whatever is said, the seed lets nobody in.
    #[test]
    fn a_changed_bit_opens_nothing(at: Index, bit in 0..8_u32, which in 0..3_usize) {
        let (mut node, mut seed) = (a_node(), a_seed());
        let mut is_read = false;
        let mut spoil = |bytes: &mut Vec<u8>, turn| if turn == which && !bytes.is_empty() {
            let at = at.index(bytes.len());
            is_read = is_read_at(bytes, at);
            bytes[at] ^= 1 << bit;
        };
        let mut first = said(&mut node);
        spoil(&mut first, 0);
        let _ = seed.take(&first);
        let mut second = said(&mut seed);
        spoil(&mut second, 1);
        let _ = node.take(&second);
        let mut third = said(&mut node);
        spoil(&mut third, 2);
        let _ = seed.take(&third);
        prop_assert!(seed.peer().is_none() || !is_read);
    }

    #[test]
    fn a_changed_message_closes_it(at: Index, bit in 0..8_u32, bytes in vec(any::<u8>(), 1..200)) {
        let (mut node, mut seed) = open();
        node.send(&bytes).unwrap();
        let mut sealed = said(&mut node);
        let at = at.index(sealed.len());
        let is_read = is_read_at(&sealed, at);
        sealed[at] ^= 1 << bit;
        prop_assert!(seed.take(&sealed) != Ok(vec![bytes]) || !is_read);
    }
}

/// Whether anybody reads this byte: not the kind and the version before a record's length, which say the same of all, and
/// not the record for machines between the two that speak TLS 1.2 alone. RFC 8446, 5.1, 5.2 and D.4.
fn is_read_at(records: &[u8], at: usize) -> bool {
    let mut from = 0;
    loop {
        let length = usize::from(u16::from_be_bytes([records[from + 3], records[from + 4]]));
        let next = from + 5 + length;
        if at < next {
            return records[from] != 0x14 && at >= from + 3;
        }
        from = next;
    }
}
