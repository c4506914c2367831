mod made;
mod tls;

use std::sync::Arc;

use coremax_node_api::{
    guid::Guid,
    identity::{Key, KeyId},
    wire::{
        ANSWER_MAX, FRAME_MAX, HANDSHAKE, HELLO, REPLY, REPORT_MAX, REQUEST_MAX, RESPONSE_MAX,
        VERSION, Word,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};
use zeroize::Zeroizing;

use super::*;

/// The lengths of what the two say before the channel is open, with hello, reply and frames.
const FIRST: usize = HELLO + 2 + HANDSHAKE[0];
const SECOND: usize = REPLY + 2 + HANDSHAKE[1];
const THIRD: usize = 2 + HANDSHAKE[2];

fn credentials(machine: u8, cluster: u128, keys: &[(u8, u8)]) -> Arc<Credentials> {
    let keys = keys.iter().map(|(id, key)| (KeyId([*id; 8]), Key::new([*key; 32])));
    let secret = Secret::new(Zeroizing::new([machine; 32]));
    Arc::new(Credentials { cluster: Guid::literal(cluster), secret, keys: keys.collect() })
}

fn a_node() -> Channel {
    Channel::of_node(credentials(1, 1, &[(1, 1)])).unwrap()
}

fn a_seed() -> Channel {
    Channel::of_seed(credentials(2, 1, &[(9, 9), (1, 1)]))
}

fn said(channel: &mut Channel) -> Vec<u8> {
    std::mem::take(channel.output())
}

/// Both with their channel open.
fn open() -> (Channel, Channel) {
    open_by(a_node())
}

fn open_by(node: Channel) -> (Channel, Channel) {
    let (mut node, mut seed) = (node, a_seed());
    assert_eq!(seed.take(&said(&mut node)), Ok(vec![]));
    assert_eq!(node.take(&said(&mut seed)), Ok(vec![]));
    assert_eq!(seed.take(&said(&mut node)), Ok(vec![]));
    (node, seed)
}

#[test]
fn each_proves_who_it_is_and_nothing_is_known_before() {
    let (mut node, mut seed) = (a_node(), a_seed());
    let first = said(&mut node);
    assert_eq!(first.len(), FIRST);
    seed.take(&first).unwrap();
    assert_eq!((node.peer(), seed.peer()), (None, None));
    assert_eq!(seed.send(b"x"), Err(Failure::Closed));
    let second = said(&mut seed);
    assert_eq!(second.len(), SECOND);
    node.take(&second).unwrap();
    assert_eq!(seed.peer(), None);
    let third = said(&mut node);
    assert_eq!(third.len(), THIRD);
    seed.take(&third).unwrap();
    let key = |machine| Some(Secret::new(Zeroizing::new([machine; 32])).public());
    assert_eq!((node.peer(), seed.peer()), (key(2), key(1)));
    // Neither a key of its own nor the cluster's is in what went over the wire.
    let wire = [first, second, third].concat();
    for secret in [[1; 32], [2; 32], key(1).unwrap().0, key(2).unwrap().0] {
        assert!(!wire.windows(32).any(|window| window == secret));
    }
}

/// What both ends say arrives whole, however the network cuts it.
fn arrive_whole(open: impl Fn() -> (Connection, Connection)) {
    for cut in [1, 7, 1000, FRAME_MAX] {
        let (mut node, mut seed) = open();
        let report = vec![b'r'; REPORT_MAX];
        node.send(&report).unwrap();
        node.send(b"again").unwrap();
        let bytes = std::mem::take(node.output());
        let got: Vec<_> = bytes.chunks(cut).flat_map(|chunk| seed.take(chunk).unwrap()).collect();
        assert_eq!(got, [report, b"again".to_vec()]);
        let answer = vec![b'a'; ANSWER_MAX];
        seed.send(&answer).unwrap();
        let bytes = std::mem::take(seed.output());
        let got: Vec<_> = bytes.chunks(cut).flat_map(|chunk| node.take(chunk).unwrap()).collect();
        assert_eq!(got, [answer]);
    }
}

#[test]
fn messages_arrive_whole_however_they_are_cut() {
    arrive_whole(|| {
        let (node, seed) = open();
        (node.into(), seed.into())
    });
}

/// An operator is known by what it says first, and not before.
#[test]
fn an_operator_says_requests_and_a_node_does_not() {
    let (mut operator, mut seed) =
        open_by(Channel::of_operator(credentials(3, 1, &[(1, 1)])).unwrap());
    assert!(seed.peer().is_some() && !seed.is_operators());
    let request = vec![b'r'; REQUEST_MAX];
    operator.send(&request).unwrap();
    let bytes = said(&mut operator);
    assert_eq!(seed.take(&bytes[..FRAME_MAX + 2]), Ok(vec![]));
    assert!(seed.is_operators(), "with the first part");
    let got: Vec<_> =
        bytes[FRAME_MAX + 2..].chunks(1000).flat_map(|chunk| seed.take(chunk).unwrap()).collect();
    assert_eq!(got, [request]);
    seed.send(&vec![b's'; RESPONSE_MAX]).unwrap();
    let bytes = said(&mut seed);
    let got: Vec<_> =
        bytes.chunks(FRAME_MAX).flat_map(|chunk| operator.take(chunk).unwrap()).collect();
    assert_eq!(got, [vec![b's'; RESPONSE_MAX]]);
    let (mut node, mut seed) = open_by(a_node());
    node.send(b"report").unwrap();
    assert_eq!(seed.take(&said(&mut node)), Ok(vec![b"report".to_vec()]));
    assert!(!seed.is_operators());
}

#[test]
fn who_differs_is_told_and_learns_nothing() {
    let told = Failure::Told;
    for (node, seed_says, node_hears) in [
        (credentials(1, 1, &[(1, 7)]), Failure::Handshake, told(Word::BadKey)),
        (credentials(1, 1, &[(3, 1)]), Failure::Refused(Word::UnknownKey), told(Word::UnknownKey)),
        (
            credentials(1, 2, &[(1, 1)]),
            Failure::Refused(Word::OtherCluster),
            told(Word::OtherCluster),
        ),
    ] {
        let (mut node, mut seed) = (Channel::of_node(node).unwrap(), a_seed());
        assert_eq!(seed.take(&said(&mut node)), Err(seed_says));
        assert_eq!(seed.peer(), None);
        let answer = said(&mut seed);
        assert_eq!(answer.len(), REPLY, "a word, and nothing else");
        assert_eq!(node.take(&answer), Err(node_hears));
        assert_eq!(node.peer(), None);
        assert_eq!(seed.take(b"more"), Err(Failure::Closed));
    }
}

/// Each of these media is one machine's: the seed has the key that all of them come of.
#[test]
fn a_machine_may_have_a_key_of_its_own() {
    let of_machine = |machine: u8| {
        let mut own = Arc::unwrap_or_clone(credentials(machine, 1, &[]));
        own.keys = vec![Key::new([1; 32]).for_machine([machine; 4])];
        Arc::new(own)
    };
    let (mut node, mut seed) = open_by(Channel::of_node(of_machine(1)).unwrap());
    node.send(b"report").unwrap();
    assert_eq!(seed.take(&said(&mut node)), Ok(vec![b"report".to_vec()]));
    // Who has one of them is no operator.
    let (mut operator, mut seed) = open_by(Channel::of_operator(of_machine(1)).unwrap());
    operator.send(b"request").unwrap();
    assert!(matches!(seed.take(&said(&mut operator)), Err(Failure::Wire(_))));
    // Nor a seed for another machine.
    let mut liar = Channel::of_seed(of_machine(2));
    let mut node = Channel::of_node(of_machine(1)).unwrap();
    assert_eq!(liar.take(&said(&mut node)), Err(Failure::Refused(Word::UnknownKey)));
    let mut own = Arc::unwrap_or_clone(of_machine(2));
    own.keys[0].0 = of_machine(1).keys[0].0;
    let mut liar = Channel::of_seed(Arc::new(own));
    let mut node = Channel::of_node(of_machine(1)).unwrap();
    assert_eq!(liar.take(&said(&mut node)), Err(Failure::Handshake));
}

#[test]
fn another_version_is_refused_with_both_named() {
    let (mut node, mut seed) = (a_node(), a_seed());
    let mut first = said(&mut node);
    first[9] += 1;
    let error = seed.take(&first).unwrap_err().to_string();
    let both = |of| {
        format!(
            "the {of} is of version {} of the protocol, and this program speaks version {VERSION}",
            VERSION + 1
        )
    };
    assert_eq!(error, both("hello"));
    let mut reply = said(&mut seed);
    assert_eq!((reply.len(), reply[REPLY - 1]), (REPLY, Word::OtherVersion as u8));
    assert_eq!(a_node().take(&reply), Err(Failure::Told(Word::OtherVersion)));
    reply[9] += 1; // what a seed of that version would say
    assert_eq!(node.take(&reply).unwrap_err().to_string(), both("reply"));
}

/// A reply in clear proves nothing: with "go on" before a second message that is not the seed's nothing is believed.
#[test]
fn a_stranger_that_poses_as_a_seed_is_found_out() {
    let mut node = a_node();
    let first = said(&mut node);
    let mut stranger = Channel::of_seed(credentials(3, 1, &[(1, 7)]));
    assert!(stranger.take(&first).is_err());
    let reply = coremax_node_api::wire::Reply::of(Word::GoOn).encode();
    let second = [&reply[..], &[0, 96], &[0x55; 96]].concat();
    assert_eq!(node.take(&second), Err(Failure::Handshake));
    assert!(node.peer().is_none() && node.output().is_empty());
}

#[test]
fn what_was_said_once_is_not_believed_again() {
    let (mut node, mut seed) = (a_node(), a_seed());
    let first = said(&mut node);
    seed.take(&first).unwrap();
    node.take(&said(&mut seed)).unwrap();
    let third = said(&mut node);
    seed.take(&third).unwrap();
    node.send(b"report").unwrap();
    let report = said(&mut node);
    assert_eq!(seed.take(&report), Ok(vec![b"report".to_vec()]));
    assert_eq!(seed.take(&report), Err(Failure::Transport), "in the same channel");
    let mut again = a_seed();
    again.take(&first).unwrap();
    assert_eq!(again.take(&third), Err(Failure::Handshake), "the third message");
    assert_eq!(again.peer(), None);
    // Nor is a first message taken for a third.
    let mut twice = a_seed();
    twice.take(&first).unwrap();
    assert!(twice.take(&first[HELLO..]).is_err());
}

#[test]
fn a_frame_is_refused_before_it_is_whole() {
    let mut node = a_node();
    let first = said(&mut node);
    for (at, length) in [(HELLO, [0xff, 0xff]), (HELLO, [0, 47]), (HELLO, [0, 0])] {
        let mut seed = a_seed();
        let bytes = [&first[..at], &length].concat();
        let error = seed.take(&bytes).unwrap_err().to_string();
        assert!(error.starts_with("a frame has"), "{error}");
    }
    let (_, mut seed) = open();
    assert!(seed.take(&[0x40, 0x01]).unwrap_err().to_string().contains("16384 are allowed"));
    let (_, mut seed) = open();
    assert!(seed.take(&[0, 16]).is_err(), "shorter than any payload");
}

#[test]
fn a_message_longer_than_its_kind_is_refused() {
    let (mut node, mut seed) = open();
    node.send(&vec![b'x'; REPORT_MAX + 1]).unwrap();
    assert!(matches!(seed.take(&said(&mut node)), Err(Failure::Wire(_))));
}

#[test]
fn a_node_without_a_key_says_nothing() {
    assert!(matches!(Channel::of_node(credentials(1, 1, &[])), Err(Failure::Closed)));
}

#[test]
fn secrets_are_kept_as_text_and_never_shown() {
    let secret = Secret::generate().unwrap();
    let read = Secret::parse(secret.to_text().as_bytes()).unwrap();
    assert_eq!((read.public(), read.expose()), (secret.public(), secret.expose()));
    assert_ne!(Secret::generate().unwrap().public(), secret.public());
    let text = secret.to_text();
    for bad in ["", "\n", &text[1..], &text[..64], &text.replace('\n', " "), &"zz".repeat(32)] {
        assert!(Secret::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let own = credentials(0xab, 1, &[(1, 0xcd)]);
    let shown = format!("{own:?} {:?}", Channel::of_seed(Arc::clone(&own)));
    for digits in ["abab", "cdcd", "171"] {
        assert!(!shown.contains(digits), "{shown}");
    }
}

/// RFC 7748, 5.2: the first iteration, which multiplies the base point by 9.
#[test]
fn the_public_half_is_the_curve_s() {
    let mut private = Zeroizing::new([0; 32]);
    private[0] = 9;
    let want = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
    assert_eq!(Secret::new(private).public().to_string(), want);
}

proptest! {
    #[test]
    fn garbage_opens_nothing(bytes in vec(any::<u8>(), 0..300), known in 0..4_usize) {
        let (mut node, mut seed) = (a_node(), a_seed());
        let first = said(&mut node);
        let at = [0, 10, HELLO, FIRST][known];
        let _ = seed.take(&first[..at]);
        let _ = seed.take(&bytes);
        prop_assert!(seed.peer().is_none());
        let _ = node.take(&bytes);
        prop_assert!(node.peer().is_none());
    }

    /// Whatever byte is changed of whatever message, the channel is not opened by it.
    #[test]
    fn a_changed_byte_opens_nothing(at: Index, bit in 0..8_u32, which in 0..3_usize) {
        let (mut node, mut seed) = (a_node(), a_seed());
        let spoil = |bytes: &mut Vec<u8>, turn| if turn == which {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        };
        let mut first = said(&mut node);
        spoil(&mut first, 0);
        let heard = seed.take(&first).is_ok();
        let mut second = said(&mut seed);
        spoil(&mut second, 1);
        let heard = heard && node.take(&second).is_ok();
        let mut third = said(&mut node);
        spoil(&mut third, 2);
        let _ = seed.take(&third);
        prop_assert!(seed.peer().is_none(), "heard: {heard}");
        if which < 2 {
            prop_assert!(node.peer().is_none());
        }
    }

    #[test]
    fn a_changed_message_closes_the_channel(at: Index, bit in 0..8_u32, bytes in vec(any::<u8>(), 1..200)) {
        let (mut node, mut seed) = open();
        node.send(&bytes).unwrap();
        let mut sealed = said(&mut node);
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        // A length that was changed may just leave it waiting.
        prop_assert_ne!(seed.take(&sealed), Ok(vec![bytes]));
    }
}
