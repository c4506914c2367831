use proptest::prelude::*;

use super::*;
use crate::join::Now;

const NOW: i64 = 1_795_608_000_000;

fn blank() -> ClusterStatus {
    ClusterStatus::blank(Now { mono: 0, wall: NOW }, None)
}

fn node(phase: Phase, waits: Wait) -> ClusterStatus {
    let has_name = phase >= Phase::Enrolled;
    ClusterStatus {
        phase,
        waits,
        cluster: Some(Guid::literal(0x3f0c_9d7e_5b7b_8f6e_9a40_6d1f_6a3c_2b10)),
        key_id: Some(identity::KeyId([7; 8])),
        fingerprint: Some(Fingerprint::of(NodeKey([7; 32]))),
        name: has_name.then(|| "control-1".parse().unwrap()),
        address: has_name.then(|| [10, 0, 0, 11].into()),
        epoch: if has_name { 3 } else { 0 },
        ..blank()
    }
}

/// A seed of so many rows, every third of which is ready.
fn seed(rows: usize, waiting: usize) -> SeedStatus {
    let long = "n".repeat(58);
    let peer = |number| PeerStatus {
        name: format!("{}-{number}", if number == 2 { &long } else { "node" }).parse().unwrap(),
        address: [10, 0, 0, 11].into(),
        fingerprint: Some(Fingerprint::of(NodeKey([7; 32]))),
        mac: Mac::new([2, 0, 0, 0, 0, 7]),
        phase: [Some(Phase::Ready), Some(Phase::Enrolled), None][number % 3],
        heard: [Some(NOW - 4000), Some(NOW - 25_000), None][number % 3],
        image: "1".repeat(64).parse().ok(),
    };
    let machine = |number: u8| Waiting {
        key: NodeKey([number; 32]),
        fingerprint: Fingerprint::of(NodeKey([number; 32])),
        macs: vec![Mac::new([2, 0, 0, 0, 0, number]).unwrap(); MACS_MAX],
        serial: Some("\\".repeat(crate::wire::SERIAL_MAX)),
        disks: vec![Disk { path: "\\".repeat(crate::wire::PATH_MAX), bytes: u64::MAX }; DISKS_MAX],
        more_disks: usize::MAX,
    };
    SeedStatus {
        peers: (0..rows).map(peer).collect(),
        waiting: (0..waiting).map(|number| machine(u8::try_from(number % 200).unwrap())).collect(),
        stage: Progress::Gathering,
        edition: Edition::default(),
        obstacles: vec!["node-1 is not ready".into()],
        window: 125,
        turned_away: [("garbage".to_owned(), 3)].into(),
    }
}

fn asks(status: ClusterStatus) -> ClusterStatus {
    let asks = Some("10.0.0.11:7447".into());
    ClusterStatus { asks, next_try: Some(NOW + 12_400), ..status }
}

/// Every phase, and what a person has to do something about.
fn cases() -> Vec<(&'static str, ClusterStatus)> {
    let refused = Wait::Refused { why: crate::join::Refusal::DuplicateHardware.to_string() };
    let problem =
        "the identity in /dev/sdb (COREMAX) cannot be used: it is no identity: line 1, column 40";
    let formed = ClusterStatus {
        seed: Some(SeedStatus { obstacles: Vec::new(), ..seed(3, 0) }),
        ..node(Phase::Formed, Wait::Nothing)
    };
    let of_seed = |phase, rows, waiting| ClusterStatus {
        seed: Some(seed(rows, waiting)),
        ..node(phase, Wait::Others)
    };
    let long = ClusterStatus {
        name: Some("n".repeat(63).parse().unwrap()),
        problem: Some(format!("{} {}", "x".repeat(200), "a word ".repeat(30))),
        ..of_seed(Phase::Ready, 250, 100)
    };
    vec![
        ("blank", blank()),
        ("blank_broken", ClusterStatus { problem: Some(problem.into()), ..blank() }),
        ("identified", node(Phase::Identified, Wait::Network)),
        ("networked", asks(node(Phase::Networked, Wait::Seed))),
        ("discovered", asks(node(Phase::Discovered, Wait::Approval))),
        ("discovered_refused", asks(node(Phase::Discovered, refused))),
        ("enrolled", asks(node(Phase::Enrolled, Wait::Others))),
        ("timesynced", asks(node(Phase::TimeSynced, Wait::Others))),
        ("prepared", asks(node(Phase::Prepared, Wait::BadOrders))),
        ("ready", asks(node(Phase::Ready, Wait::Others))),
        ("ready_seed", of_seed(Phase::Ready, 8, 1)),
        ("deploying", node(Phase::Deploying, Wait::Others)),
        ("formed", formed),
        ("foreign_disk", node(Phase::Ready, Wait::ForeignDisk)),
        ("long", long),
    ]
}

fn fits(screen: &str) -> bool {
    let is_plain = |line: &str| line.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    screen.lines().count() <= LINES
        && screen.lines().all(|line| line.len() <= COLUMNS && is_plain(line))
}

#[test]
fn a_screen_for_every_phase() {
    for (name, status) in cases() {
        let screen = screen(&status, NOW);
        assert!(fits(&screen), "{name}:\n{screen}");
        insta::assert_snapshot!(name, screen);
    }
}

#[test]
fn what_is_written_is_read() {
    for (name, status) in cases() {
        let text = status.to_text();
        assert!(text.len() <= LENGTH_MAX && text.ends_with("}\n"), "{name}");
        let read = ClusterStatus::parse(text.as_bytes()).unwrap();
        assert_eq!(read.to_text(), text, "{name}");
        assert_eq!((read.phase, read.waits), (status.phase, status.waits));
    }
}

#[test]
fn the_longest_status_fits() {
    let long = "\u{1}".repeat(10_000);
    let mut status = node(Phase::Ready, Wait::Refused { why: long.clone() });
    status.problem = Some(long.clone());
    status.asks = Some(long.clone());
    let mut seed = seed(300, 300);
    seed.obstacles = vec![long; 100];
    for peer in &mut seed.peers {
        peer.name = "n".repeat(63).parse().unwrap();
        peer.phase = Some(Phase::TimeSynced);
        peer.heard = Some(i64::MIN);
    }
    status.seed = Some(seed);
    let text = status.to_text();
    assert!(text.len() <= LENGTH_MAX, "{}", text.len());
    assert_eq!(ClusterStatus::parse(text.as_bytes()).unwrap().seed.unwrap().peers.len(), 250);
}

#[test]
fn versions() {
    let text = blank().to_text();
    let newer = text.replace("\"format\":1", "\"format\":1,\"more\":{}");
    assert_eq!(ClusterStatus::parse(newer.as_bytes()).unwrap(), blank());
    for (bad, want) in [
        (
            text.replace("\"format\":1", "\"format\":2"),
            "is of format 2, and this program reads format 1",
        ),
        (text.replace("\"format\":1,", ""), "reading the status"),
        (text.replace("blank", "blink"), "reading the status"),
        (" ".repeat(LENGTH_MAX + 1), "is longer than"),
    ] {
        let error = ClusterStatus::parse(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_fingerprint_is_of_the_key_and_not_the_key() {
    let key = NodeKey([7; 32]);
    let text = Fingerprint::of(key).to_string();
    assert_eq!(text.parse(), Ok(Fingerprint::of(key)));
    assert!(!key.to_string().contains(&text[..4]) && text.len() == 19, "{text}");
    for bad in
        ["", "0123-4567-89ab-cde", "0123456789abcdef", "0123-4567-89ab-cdeX", "0123-4567-89AB-CDEF"]
    {
        assert_eq!(bad.parse::<Fingerprint>(), Err(NotAFingerprint), "{bad}");
    }
}

proptest! {
    #[test]
    fn every_screen_fits(
        rows in 0usize..300, waiting in 0usize..5, text in "(\\PC|\\x1b){0,600}", word in "[a-z]{60,90}", next: i64, now: i64,
    ) {
        let mut status = asks(node(Phase::Ready, Wait::Refused { why: format!("{text} {word}") }));
        let mut seed = seed(rows, waiting);
        seed.obstacles = vec![word.clone()];
        (status.seed, status.problem, status.asks) = (Some(seed), Some(text), Some(word));
        status.next_try = Some(next);
        let screen = screen(&status, now);
        prop_assert!(fits(&screen), "{}", screen);
    }

    #[test]
    fn foreign_bytes_never_panic(text in "\\PC{0,80}|\\{\"format\":1\\PC{0,80}") {
        let _ = ClusterStatus::parse(text.as_bytes());
        let _ = text.parse::<Fingerprint>();
    }
}
