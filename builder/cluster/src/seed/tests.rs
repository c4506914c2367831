use std::{
    net::TcpListener,
    thread::{self, JoinHandle},
};

use coremax_node_api::{
    guid::Guid,
    identity::{Key, KeyId},
    join::Now,
    wire::{Reply, Response, SignedRoster, decode_request, encode_response},
};

use super::*;

fn document(cluster: u128, id: u8, key: u8) -> Document {
    Document::new(Guid::literal(cluster), KeyId([id; 8]), Key::new([key; 32]), Vec::new())
}

/// A seed that answers these, one after the other; what it was asked.
fn seed(told: Vec<Told>) -> (Place, JoinHandle<Vec<Ask>>) {
    let (place, listener) = listen();
    let document = document(1, 1, 1);
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let keys = vec![(document.key_id, document.key)];
        let secret = Secret::generate().unwrap();
        let own = Arc::new(Credentials { cluster: document.cluster, secret, keys });
        let mut channel = Channel::of_seed(own);
        let (mut told, mut asked, mut buffer) = (told.into_iter(), Vec::new(), [0; FRAME_MAX]);
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let taken = channel.take(&buffer[..read]);
            for request in taken.iter().flatten() {
                asked.push(decode_request(request).unwrap().ask);
                let Some(told) = told.next() else { return asked };
                channel.send(&encode_response(&Response { told }).unwrap()).unwrap();
            }
            stream.write_all(&std::mem::take(channel.output())).unwrap();
            if taken.is_err() {
                break;
            }
        }
        asked
    };
    (place, thread::spawn(serve))
}

fn listen() -> (Place, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().to_string().parse().unwrap(), listener)
}

/// Somebody who says just this.
fn stranger(says: Vec<u8>) -> Place {
    let (place, listener) = listen();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&says).unwrap();
        let _ = stream.read(&mut [0; 1000]);
    });
    place
}

#[test]
fn what_is_asked_is_answered_in_one_connection() {
    let status = ClusterStatus::blank(Now { mono: 0, wall: 5 }, None);
    let refused = Refused { why: "it is older".into(), hint: Some("raise the epoch".into()) };
    let told = vec![
        Told::Status(Box::new(status.clone())),
        Told::Done,
        Told::Refused(refused),
        Told::Status(Box::new(status.clone())),
    ];
    let (place, seed) = seed(told);
    let mut line = Line::open(&place, &document(1, 1, 1)).unwrap();
    assert_eq!(line.status().unwrap(), status);
    let roster = || Ask::Roster(SignedRoster(vec![7; 100_000].into()));
    line.have(roster()).unwrap();
    let error = line.have(roster()).unwrap_err();
    assert_eq!(error.to_string(), format!("the seed at {place} refuses: it is older"));
    assert_eq!(error.hint(), Some("raise the epoch"));
    assert!(matches!(line.have(roster()), Err(Error::OtherResponse(_))), "a status for a roster");
    let closed = line.status().unwrap_err();
    assert!(closed.hint().unwrap().starts_with("it closed the connection"), "{closed:?}");
    assert_eq!(seed.join().unwrap(), [Ask::Status, roster(), roster(), roster(), Ask::Status]);
}

#[test]
fn why_a_seed_is_not_reached_is_said_with_what_to_do() {
    for (document, hint) in [
        (document(1, 1, 7), "ROSTER.identity.json"),
        (document(1, 7, 1), "ROSTER.identity.json"),
        (document(2, 1, 1), "ROSTER.identity.json"),
    ] {
        let (place, seed) = seed(vec![Told::Done]);
        let error = Line::open(&place, &document).unwrap_err();
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        assert!(seed.join().unwrap().is_empty(), "it was asked something");
    }
    let go_on = [&Reply::of(Word::GoOn).encode()[..], &[0, 96], &[0x55; 96]].concat();
    let mut newer = Reply::of(Word::OtherVersion).encode().to_vec();
    newer[9] += 1;
    for (says, hint) in [
        (go_on, "has not the cluster's key"),
        (newer, "the coremax that the machines' image was built with"),
        (b"SSH-2.0-OpenSSH".to_vec(), "something else listens"),
        (Vec::new(), "it closed the connection"),
    ] {
        let error = Line::open(&stranger(says), &document(1, 1, 1)).unwrap_err();
        assert!(error.hint().is_some_and(|told| told.contains(hint)), "{error:?}");
    }
    let (place, listener) = listen();
    drop(listener);
    let error = Line::open(&place, &document(1, 1, 1)).unwrap_err();
    assert!(error.hint().unwrap().starts_with("nobody listens there"), "{error:?}");
}

#[test]
fn places() {
    for (text, want) in [
        ("10.0.0.11", Some("10.0.0.11:7433")),
        ("10.0.0.11:9", Some("10.0.0.11:9")),
        ("control-1.example.org", Some("control-1.example.org:7433")),
        ("control-1:9", Some("control-1:9")),
        ("fe80::1", Some("[fe80::1]:7433")),
        ("[fe80::1]:9", Some("[fe80::1]:9")),
        ("", None),
        (":9", None),
        ("control-1:0", None),
        ("control-1:70000", None),
        ("a b", None),
        ("http://x", None),
    ] {
        let place = text.parse::<Place>().ok().map(|place| place.to_string());
        assert_eq!(place.as_deref(), want, "{text}");
    }
}
