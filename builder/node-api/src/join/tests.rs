//! What one machine does by itself. What many of them do to each other is the simulator's.

use std::{net::SocketAddr, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    roster::{Mac, Match, Mode, Roster, signed, tests::roster},
    update::key::SecretKey,
};

fn operator() -> SecretKey {
    SecretKey::from_seed([1; 32], "operator")
}

fn sign(roster: &Roster) -> Arc<[u8]> {
    signed::sign(roster, &operator()).unwrap().into()
}

fn at(seconds: u64) -> Now {
    Now { mono: seconds * 1000, wall: i64::try_from(seconds * 1000).unwrap() }
}

fn machine(number: u8) -> Hardware {
    Hardware {
        macs: [Mac::new([0x52, 0x54, 0, 0, 0, number]).unwrap()].into(),
        ..Hardware::default()
    }
}

fn key(number: u8) -> NodeKey {
    NodeKey([number; 32])
}

fn proven(number: u8) -> Peer {
    Peer { key: key(number), is_proven: true }
}

fn seed(roster: &Roster, saved: Option<seed::Saved>) -> seed::Seed {
    let operators = vec![operator().public()];
    let config = seed::Config { operators, key: key(1), port: 7433, guards: Guards::default() };
    seed::Seed::start(config, &sign(roster), saved, at(0)).unwrap().0
}

/// A machine that says it is ready.
fn report(number: u8) -> Report {
    Report {
        number: 1,
        hardware: machine(number),
        held: None,
        epoch: 1,
        phase: Phase::Ready,
        wall: 0,
        promise: None,
    }
}

fn answer(seed: &mut seed::Seed, from: Peer, report: Report, now: Now) -> Verdict {
    let report = Report { wall: now.wall, ..report };
    let actions = seed.step(seed::Input::Report(from, Box::new(report)), now).unwrap();
    let mut answers = actions.into_iter().filter_map(|action| match action {
        seed::Action::Answer(answer) => Some(answer.verdict),
        _ => None,
    });
    answers.next().unwrap()
}

fn held(name: &str, generation: u32) -> Option<Held> {
    Some(Held { name: name.parse().unwrap(), generation })
}

#[test]
fn every_refusal_has_its_reason() {
    use Refusal::*;
    let replaced = |generation| {
        let mut roster = roster();
        roster.epoch = 2;
        roster.nodes[4].generation = generation;
        roster.nodes[4].matches = Some(Match::Mac(Mac::new([2, 0, 0, 0, 0, 9]).unwrap()));
        roster
    };
    let unproven = Peer { is_proven: false, ..proven(2) };
    type Answer<'a> = Result<&'a str, Option<Refusal>>;
    let cases: &[(Peer, Report, Answer<'_>)] = &[
        (proven(2), report(2), Ok("control-2")),
        (proven(2), report(2), Ok("control-2")), // again
        (unproven, report(2), Err(Some(BadKey))),
        (proven(9), report(9), Err(None)), // waits for approval
        (proven(9), report(2), Err(Some(DuplicateHardware))), // another key for the same machine
        (proven(2), report(3), Err(Some(DuplicateHardware))), // another machine with the same key
        (proven(9), report(1), Err(None)), // the seed's row is the seed's
        (proven(2), Report { held: held("control-3", 0), ..report(2) }, Err(Some(OtherName))),
        (proven(5), Report { held: held("worker-5", 1), ..report(5) }, Err(Some(Revoked))),
        (proven(3), Report { epoch: 2, ..report(3) }, Err(Some(OldRoster))),
        (proven(7), Report { held: held("worker-4", 0), ..report(7) }, Ok("worker-4")), // from a seed that is no more
    ];
    let mut seed = seed(&roster(), None);
    for (number, (from, report, want)) in cases.iter().enumerate() {
        let got = answer(&mut seed, *from, report.clone(), at(1));
        let matches = match (&got, want) {
            (Verdict::Member(orders), Ok(name)) => orders.held.name.as_ref() == *name,
            (Verdict::Pending, Err(None)) => true,
            (Verdict::Refused(refusal), Err(Some(want))) => refusal == want,
            _ => false,
        };
        assert!(matches, "case {number}: {got:?}, not {want:?}");
    }
    // A generation later the row is another machine's, and who had it is out.
    assert!(matches!(answer(&mut seed, proven(5), report(5), at(2)), Verdict::Member(_)));
    seed.step(seed::Input::Roster(sign(&replaced(1))), at(3)).unwrap();
    assert_eq!(answer(&mut seed, proven(5), report(5), at(4)), Verdict::Refused(Revoked));
    let late = at(WINDOW / 1000 + 4);
    assert_eq!(answer(&mut seed, proven(3), report(3), late), Verdict::Refused(WindowClosed));
    // The operator's word opens no closed window, and a machine that waited gets its row by it.
    seed.step(seed::Input::Roster(sign(&Roster { epoch: 3, ..replaced(1) })), late).unwrap();
    seed.step(seed::Input::Approve(key(9), "worker-5".parse().unwrap()), late).unwrap();
    assert!(matches!(answer(&mut seed, proven(9), report(9), late), Verdict::Member(_)));
}

#[test]
fn which_rosters_a_seed_takes() {
    let mut seed = seed(&roster(), None);
    let other = Roster { cluster: crate::guid::Guid::literal(1), epoch: 2, ..roster() };
    let mut unfaithful = Roster { epoch: 2, ..roster() };
    unfaithful.nodes[4].address = std::net::Ipv4Addr::new(10, 0, 0, 99);
    let theirs =
        signed::sign(&Roster { epoch: 2, ..roster() }, &SecretKey::from_seed([2; 32], "")).unwrap();
    for (roster, want) in [
        (sign(&other), "another cluster"),
        (sign(&roster()), "epoch 1, and that of epoch 1"),
        (sign(&unfaithful), "changes worker-5"),
        (theirs.into(), "reading the roster"),
    ] {
        let error = seed.step(seed::Input::Roster(roster), at(1)).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
    assert_eq!(seed.roster().epoch, 1);
}

/// A pool of these machines, in the order in which they come; who is what.
fn pool(numbers: &[u8]) -> (seed::Seed, Vec<(String, u8)>) {
    let mut roster = Roster { mode: Mode::Pool, ..roster() };
    roster.nodes.iter_mut().for_each(|row| row.matches = None);
    let mut seed = seed(&roster, None);
    for number in numbers {
        answer(&mut seed, proven(*number), report(*number), at(1));
    }
    seed.step(seed::Input::Wake, at(2 + QUIET_FOR / 1000)).unwrap();
    let rows =
        seed.saved().members.iter().map(|(name, member)| (name.to_string(), member.key.0[0]));
    let rows = rows.collect();
    (seed, rows)
}

#[test]
fn a_pool_is_sorted_once() {
    let (_, rows) = pool(&[9, 1, 5, 7]);
    assert_eq!(
        rows,
        [("control-1".to_owned(), 1)],
        "four machines of five, and the seed's own row"
    );
    let (mut seed, rows) = pool(&[9, 1, 5, 7, 3]);
    let want =
        [("control-1", 1), ("control-2", 3), ("control-3", 5), ("worker-4", 7), ("worker-5", 9)];
    assert_eq!(rows, want.map(|(name, number)| (name.to_owned(), number)));
    let late = at(300);
    assert_eq!(
        answer(&mut seed, proven(2), report(2), late),
        Verdict::Refused(Refusal::WindowClosed)
    );
    seed.step(seed::Input::Wake, at(900)).unwrap();
    assert!(seed.saved().members.values().all(|member| member.key != key(2)));
}

#[test]
fn a_cluster_is_formed_when_all_promised_and_once() {
    let mut seed = seed(&roster(), None);
    let mut asked = None;
    let mut deployed = Vec::new();
    for second in (0..200).step_by(5) {
        for number in 1..=5 {
            // Nobody promises in the first two minutes; after that controllers do, one by one.
            let promise = asked.filter(|_| second >= 120 + 10 * u64::from(number));
            let now = at(second);
            let report = Report { promise, wall: now.wall, ..report(number) };
            for action in
                seed.step(seed::Input::Report(proven(number), Box::new(report)), now).unwrap()
            {
                match action {
                    seed::Action::Answer(answer) => match answer.verdict {
                        Verdict::Member(Orders { stage: Stage::Forming(formation), .. }) => {
                            asked = Some(formation);
                        }
                        Verdict::Member(_) => {}
                        other => panic!("{other:?}"),
                    },
                    seed::Action::Deploy(formation) => deployed.push((second, formation)),
                    _ => {}
                }
            }
        }
        assert!(second >= STABLE_FOR / 1000 || asked.is_none(), "asked after {second} s");
    }
    assert_eq!(deployed, [(150, asked.unwrap())]);
    let (_, again) = {
        let operators = vec![operator().public()];
        let config = seed::Config { operators, key: key(1), port: 7433, guards: Guards::default() };
        seed::Seed::start(config, &sign(&roster()), Some(seed.saved().clone()), at(0)).unwrap()
    };
    assert!(again.contains(&seed::Action::Deploy(asked.unwrap())), "goes on after a crash");
}

const SEED: &str = "10.0.0.11:7433";

fn node(saved: Option<node::Saved>, hardware: u8) -> (node::Node, Vec<node::Action>) {
    let config = node::Config {
        cluster: roster().cluster,
        operators: vec![operator().public()],
        hardware: machine(hardware),
        new_key: key(2),
        seeds: vec![SEED.parse().unwrap()],
        random: 7,
        guards: Guards::default(),
    };
    node::Node::start(config, saved, at(0))
}

fn sent(actions: &[node::Action]) -> Option<(SocketAddr, u64)> {
    actions.iter().find_map(|action| match action {
        node::Action::Send(to, report) => Some((*to, report.number)),
        _ => None,
    })
}

#[test]
fn a_node_goes_its_way_and_a_copy_of_its_disk_does_not() {
    let (mut node, actions) = node(None, 2);
    assert!(matches!(&actions[..], [node::Action::Save(_), node::Action::Do(node::Work::Network)]));
    let (to, number) = sent(&node.step(node::Input::Done(node::Work::Network), at(1))).unwrap();
    assert_eq!(to, SEED.parse().unwrap());
    let orders = Orders {
        held: held("control-2", 0).unwrap(),
        epoch: 1,
        roster: Some(sign(&roster())),
        wall: 4_000_000,
        stage: Stage::Gathering,
    };
    let verdict = |number| Answer { number, verdict: Verdict::Member(orders.clone()) };
    // A hint from outside a channel, and an answer to an older report, do nothing.
    let unproven = Peer { is_proven: false, ..proven(1) };
    assert_eq!(node.step(node::Input::Answer(unproven, verdict(number)), at(2)), []);
    assert_eq!(node.step(node::Input::Answer(proven(1), verdict(number - 1)), at(2)), []);
    let actions = node.step(node::Input::Answer(proven(1), verdict(number)), at(2));
    let work = node::Action::Do(node::Work::Prepare);
    assert!(
        matches!(&actions[..], [node::Action::Save(_), node::Action::SetClock(4_000_000), last] if *last == work)
    );
    node.step(node::Input::Done(node::Work::Prepare), at(3));
    node.step(node::Input::Health(true), at(3));
    assert_eq!(node.phase(), Phase::Ready);

    let saved = node.saved().clone();
    let (again, actions) = self::node(Some(saved.clone()), 2);
    assert_eq!((again.phase(), sent(&actions).is_some()), (Phase::Prepared, true));
    let (mut copy, actions) = self::node(Some(saved), 9);
    assert_eq!((copy.waits(), actions), (node::Waits::ForeignDisk, vec![]));
    assert_eq!(copy.step(node::Input::Wake, at(9)), []);
}

#[test]
fn a_node_that_nobody_answers_waits_longer_and_for_ever() {
    let (mut node, _) = node(None, 2);
    let mut actions = node.step(node::Input::Done(node::Work::Network), at(0));
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..50 {
        let Some(node::Action::Wake(wake)) = actions.last() else { panic!("{actions:?}") };
        waits.push(wake - now);
        now = *wake;
        actions = node.step(node::Input::Wake, Now { mono: now, wall: 0 });
        assert!(sent(&actions).is_some());
    }
    assert!((1_500..=2_000).contains(&waits[0]), "{waits:?}");
    assert!(waits[10..].iter().all(|wait| (45_000..=60_000).contains(wait)), "{waits:?}");
}

proptest! {
    /// Beacons are anybody's: they give addresses to try, a bounded number of them, and nothing else.
    #[test]
    fn beacons_decide_nothing(beacons in prop::collection::vec((any::<[u8; 4]>(), any::<u64>(), any::<bool>()), 0..50)) {
        let (mut node, _) = node(None, 2);
        node.step(node::Input::Done(node::Work::Network), at(0));
        let before = node.saved().clone();
        for (address, epoch, is_ours) in beacons {
            let cluster = if is_ours { cluster_hash(roster().cluster) } else { [0; 32] };
            let beacon = Beacon { cluster, epoch, port: 1 };
            for action in node.step(node::Input::Beacon((address, 1).into(), beacon), at(1)) {
                prop_assert!(matches!(action, node::Action::Wake(_)));
            }
        }
        prop_assert_eq!(node.saved(), &before);
    }
}
