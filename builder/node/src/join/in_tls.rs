//! A node's call and a seed's seats, in TLS, and where that comes to nothing.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use coremax_channel::{Credentials, Papers, Secret, SeedRow};
use coremax_node_api::{
    cluster_status::Spoken,
    enrol,
    guid::Guid,
    identity::{Key, KeyId},
    join::{Held, NodeKey},
};
use zeroize::Zeroizing;

use super::{
    call::Call,
    line::{End, Said},
    seats::{Seats, TurnedAway},
};
use crate::{
    authority::Authority,
    clock,
    own::{Of, Own},
    prepare::tests::roster,
};

const REPORT: &[u8] = b"report";

/// Of the machine that has this row, by the authority in a folder.
fn papers(folder: &Path, authority: &str, row: usize) -> Arc<Papers> {
    let (roster, node) = (roster(), NodeKey([u8::try_from(row).unwrap(); 32]));
    let own = folder.join(format!("{authority}-{row}"));
    fs::create_dir_all(&own).unwrap();
    let host = enrol::Secret::from_seed(&[1; 32]).public().to_ssh();
    fs::write(own.join("host.pub"), host).unwrap();
    let own = Own::at(&own.join("node.key"), &own.join("host.pub"), &own.join("gift")).unwrap();
    let authority = Authority::at(&folder.join(authority), roster.cluster).unwrap();
    let request = own.request(roster.cluster, node, None);
    let row = &roster.nodes[row];
    let gift = authority.gift(row, node, &request, clock::wall()).unwrap().unwrap();
    let seed = Held { name: roster.seed.clone(), generation: 0 };
    own.keep(&gift, &Of { node, row, seed: &seed }, clock::wall).unwrap();
    Arc::new(own.papers(clock::wall).unwrap())
}

fn credentials(machine: u8) -> Arc<Credentials> {
    let secret = Secret::new(Zeroizing::new([machine; 32]));
    let keys = vec![(KeyId([1; 8]), Key::new([1; 32]))];
    Arc::new(Credentials { cluster: Guid::literal(1), secret, keys })
}

fn seats(papers: Option<Arc<Papers>>) -> Seats {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut seats = Seats::new(listener, credentials(9));
    seats.papers = papers;
    seats
}

/// A call to these seats, which wants who answers to have this row.
fn call(seats: &Seats, papers: &Arc<Papers>, row: usize) -> Call {
    let seed = roster().nodes[row].clone();
    let seed = SeedRow { name: seed.name, address: seed.address };
    let to = seats.listener().local_addr().unwrap();
    Call::begin_tls(to, papers, seed, REPORT.to_vec()).unwrap()
}

/// Lets both go on until the seats have heard something, or the call has, or is over.
fn go_on(seats: &mut Seats, call: &mut Call) -> (Option<Said>, Result<Option<Said>, End>) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        seats.accept();
        let ids: Vec<_> = seats.all().map(|(id, ..)| id).collect();
        let said = |said: &Said| !said.1.is_empty();
        let heard = ids.into_iter().filter_map(|id| seats.receive(id)).find(said);
        let answered = call.go_on();
        let is_silent = answered.as_ref().is_ok_and(|it| !it.as_ref().is_some_and(said));
        if heard.is_some() || !is_silent {
            return (heard, answered);
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("nothing happens");
}

#[test]
fn a_node_is_let_in_and_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut seats = seats(Some(papers(folder.path(), "ours", 0)));
    let own = papers(folder.path(), "ours", 1);
    let mut call = call(&seats, &own, 0);
    let row = |number: usize| {
        let row = roster().nodes[number].clone();
        SeedRow { name: row.name, address: row.address }
    };
    assert!(call.is_in(Some(&(Arc::clone(&own), row(0)))) && call.speaks().is_none());
    let other = (papers(folder.path(), "authority", 2), row(0));
    for wanted in [None, Some(&(Arc::clone(&own), row(2))), Some(&other)] {
        assert!(!call.is_in(wanted), "{wanted:?}");
    }
    let (heard, _) = go_on(&mut seats, &mut call);
    assert_eq!(heard, Some((NodeKey([1; 32]), vec![REPORT.to_vec()])));
    let row = &roster().nodes[1];
    assert!(seats.certified(1).unwrap().is_of(&row.name, row.address));
    seats.send(1, b"answer");
    let (_, answered) = go_on(&mut seats, &mut call);
    assert_eq!(answered.unwrap(), Some((NodeKey([0; 32]), vec![b"answer".to_vec()])));
    assert_eq!(call.speaks(), Some(Spoken::Tls));
    assert_eq!(call.unanswered(), None, "it was");
    seats.turn_away(1);
    let counted = TurnedAway { other_names: 1, ..TurnedAway::default() };
    assert_eq!((seats.all().count(), seats.turned_away), (0, counted));
}

/// What was said is there to be said again by the channel, and the seed has counted why.
#[test]
fn what_comes_to_nothing_in_tls_is_said_again() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (papers(folder.path(), "ours", 1), papers(folder.path(), "theirs", 1));
    let (seed, others) = (papers(folder.path(), "ours", 0), papers(folder.path(), "theirs", 0));
    let none = TurnedAway::default();
    let bad = TurnedAway { bad_certificate: 1, ..none };
    for (what, shown, own, row, counted) in [
        ("a seed without papers", None, &ours, 0, TurnedAway { no_papers: 1, ..none }),
        ("a rebuilt seed", Some(&others), &ours, 0, bad),
        ("a node of another authority", Some(&seed), &theirs, 0, bad),
        ("another row than the seed's", Some(&seed), &ours, 2, bad),
    ] {
        let mut seats = seats(shown.cloned());
        let mut call = call(&seats, own, row);
        let (heard, answered) = go_on(&mut seats, &mut call);
        assert!(heard.is_none() && answered.is_err(), "{what}: {heard:?} {answered:?}");
        assert_eq!(call.unanswered().as_deref(), Some(REPORT), "{what}");
        seats.accept();
        let ids: Vec<_> = seats.all().map(|(id, ..)| id).collect();
        ids.into_iter().for_each(|id| drop(seats.receive(id)));
        assert_eq!(seats.turned_away, counted, "{what}");
    }
}

/// Where nobody is there the next connection is in TLS again.
#[test]
fn who_is_not_there_is_no_reason_for_the_channel() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(None);
    let own = papers(folder.path(), "ours", 1);
    // What listened there is gone when this connects.
    let to = seats.listener().local_addr().unwrap();
    drop(seats);
    let seed = SeedRow { name: roster().seed, address: [10, 0, 0, 11].into() };
    let mut call = Call::begin_tls(to, &own, seed, REPORT.to_vec()).unwrap();
    while call.go_on().is_ok() {
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(call.unanswered(), None);
}
