//! What one machine does by itself. What many of them do to each other is the simulator's.

use std::{net::SocketAddr, sync::Arc};

use proptest::prelude::*;

use super::*;
mod gates;
mod late;
use crate::{
    guid::Guid,
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
    try_seed(roster, saved).unwrap().0
}

fn try_seed(
    roster: &Roster,
    saved: Option<seed::Saved>,
) -> Result<(seed::Seed, Vec<seed::Action>), seed::Error> {
    let operators = vec![operator().public()];
    let config = seed::Config { operators, key: key(1), port: 7433, guards: Guards::default() };
    seed::Seed::start(config, &sign(roster), saved, at(0))
}

/// A machine that says it is ready.
fn report(number: u8) -> Report {
    Report {
        number: 1,
        hardware: machine(number),
        held: None,
        edition: edition(&roster()),
        phase: Phase::Ready,
        wall: 0,
        lacks: [].into(),
        unreached: [].into(),
        promise: None,
        build: Build::default(),
        enrol: None,
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

fn edition(roster: &Roster) -> Edition {
    Edition { epoch: roster.epoch, digest: roster.digest() }
}

fn held(name: &str, generation: u32) -> Option<Held> {
    Some(Held { name: name.parse().unwrap(), generation })
}

/// Another roster of the same epoch.
fn twin() -> Roster {
    Roster { minimum_workers: 1, ..roster() }
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
    let two_cards = Hardware {
        macs: [machine(3), machine(4)].into_iter().flat_map(|machine| machine.macs).collect(),
        ..Hardware::default()
    };
    let uuid_alone = Hardware { uuid: Some(Guid::literal(1)), ..Hardware::default() };
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
        (proven(3), Report { edition: edition(&replaced(1)), ..report(3) }, Err(Some(OldRoster))),
        (proven(3), Report { edition: edition(&twin()), ..report(3) }, Err(Some(OtherRoster))),
        (proven(8), Report { hardware: two_cards.clone(), ..report(8) }, Err(Some(TwoRows))),
        (
            proven(8),
            Report { hardware: uuid_alone.clone(), ..report(8) },
            Err(Some(UnknownHardware)),
        ),
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

/// One that has no roster yet.
fn newcomer(number: u8) -> Report {
    Report { edition: Edition::default(), ..report(number) }
}

/// A pool of these machines, in the order in which they come; who is what.
fn pool(numbers: &[u8]) -> (seed::Seed, Vec<(String, u8)>) {
    let mut roster = Roster { mode: Mode::Pool, ..roster() };
    roster.nodes.iter_mut().for_each(|row| row.matches = None);
    let mut seed = seed(&roster, None);
    for number in numbers {
        answer(&mut seed, proven(*number), newcomer(*number), at(1));
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
        answer(&mut seed, proven(2), newcomer(2), late),
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
                    seed::Action::Deploy(formation, rows) => {
                        assert_eq!(rows.len(), 5);
                        deployed.push((second, formation));
                    }
                    _ => {}
                }
            }
        }
        assert!(second >= STABLE_FOR / 1000 || asked.is_none(), "asked after {second} s");
    }
    assert_eq!(deployed, [(150, asked.unwrap())]);
    let (_, again) = try_seed(&roster(), Some(seed.saved().clone())).unwrap();
    let rows = seed.saved().deploying.clone();
    let goes_on = seed::Action::Deploy(asked.unwrap(), rows);
    assert!(again.contains(&goes_on), "goes on after a crash");
}

/// Lets every machine report that it is ready, every five seconds, with what it promised; what is deployed, when.
fn play(
    seed: &mut seed::Seed,
    seconds: std::ops::Range<u64>,
    mut change: impl FnMut(u8, &mut Report),
) -> Vec<(u64, Formation)> {
    let mut deployed = Vec::new();
    let mut asked = None;
    for second in seconds.step_by(5) {
        for number in 1..=5 {
            let now = at(second);
            let edition = edition(seed.roster());
            let mut report = Report { promise: asked, wall: now.wall, edition, ..report(number) };
            change(number, &mut report);
            let input = seed::Input::Report(proven(number), Box::new(report));
            for action in seed.step(input, now).unwrap() {
                match action {
                    seed::Action::Answer(answer) => {
                        if let Verdict::Member(Orders {
                            stage: Stage::Forming(formation), ..
                        }) = answer.verdict
                        {
                            asked = Some(formation);
                        }
                    }
                    seed::Action::Deploy(formation, _) => deployed.push((second, formation)),
                    _ => {}
                }
            }
        }
    }
    deployed
}

#[test]
fn what_stands_in_the_way_of_a_formation() {
    let other = |generation| Formation {
        cluster: roster().cluster,
        edition: edition(&roster()),
        generation,
        seed: key(9),
    };
    let part_of =
        |generation, phase| Report { promise: Some(other(generation)), phase, ..report(9) };
    type Case = (Option<Report>, Option<(u8, Formation)>, u32, bool);
    let cases: &[Case] = &[
        (None, None, 0, true),
        // A machine that waits, or is refused, and is part of another formation.
        (Some(part_of(0, Phase::Formed)), None, 0, false),
        (
            Some(Report {
                edition: Edition { epoch: 9, ..Edition::default() },
                ..part_of(0, Phase::Deploying)
            }),
            None,
            0,
            false,
        ),
        (Some(part_of(0, Phase::Prepared)), None, 0, true), // a promise binds that machine alone
        (Some(part_of(0, Phase::Formed)), None, 1, true),   // the operator gave that seed up
        // A controller, a worker that promised another seed.
        (None, Some((2, other(0))), 0, false),
        (None, Some((5, other(0))), 0, false),
    ];
    for (number, (stranger, bound, generation, forms)) in cases.iter().enumerate() {
        let mut roster = roster();
        roster.nodes[0].generation = *generation;
        let mut seed = seed(&roster, None);
        if let Some(stranger) = stranger {
            answer(&mut seed, proven(9), stranger.clone(), at(0));
        }
        let deployed = play(&mut seed, 0..200, |number, report| {
            report.promise = match bound {
                Some((who, promise)) if *who == number => Some(*promise),
                _ => report.promise,
            };
        });
        assert_eq!(!deployed.is_empty(), *forms, "case {number}: {:?}", seed.obstacles(at(199)));
        assert_eq!(seed.obstacles(at(199)).is_empty(), *forms, "case {number}");
    }
}

/// What a machine's reports are off by, from a second on and for how many reports, and when the cluster is formed.
#[test]
fn a_report_that_was_late_is_no_clock_that_is_off() {
    for (from, count, off, formed) in [
        (30, 1, -1500, Some(65)),  // one was sent again on its way
        (30, 3, -1500, Some(65)),  // a line that was bad for a while
        (30, 5, -1500, Some(120)), // nothing is that late for so long
        (30, 40, -1500, None),
        (30, 1, 1500, Some(100)), // no report comes before it is sent
        (0, 1, -1500, Some(70)),  // nothing better was known
        (0, 1, i64::MIN, Some(70)),
    ] {
        let mut seed = seed(&roster(), None);
        let mut reports = 0;
        let deployed = play(&mut seed, 0..200, |number, report| {
            if number == 2 {
                reports += 1;
                let second = (reports - 1) * 5;
                if (from..from + count * 5).contains(&second) {
                    report.wall = report.wall.saturating_add(off);
                }
            }
        });
        let second = deployed.first().map(|(second, _)| *second);
        assert_eq!(second, formed, "{count} reports from second {from} on, {off} ms");
    }
}

#[test]
fn in_a_pool_everybody_promises() {
    let (mut seed, rows) = pool(&[1, 2, 3, 4, 5]);
    assert_eq!(rows.len(), 5);
    let worker = rows.iter().find(|(name, _)| name == "worker-5").unwrap().1;
    let mut formed = |silent: u8| {
        let deployed = play(&mut seed, 100..300, |number, report| {
            if number == silent {
                report.promise = None;
            }
        });
        !deployed.is_empty()
    };
    assert!(!formed(worker));
    assert!(formed(0));
}

#[test]
fn which_machines_wait_and_who_gets_a_row() {
    let mut seed = seed(&roster(), None);
    let waits = |seed: &seed::Seed| seed.waiting().keys().map(|key| key.0[0]).collect::<Vec<_>>();
    assert_eq!(answer(&mut seed, proven(9), report(9), at(0)), Verdict::Pending);
    assert_eq!(answer(&mut seed, proven(8), report(8), at(0)), Verdict::Pending);
    assert_eq!(waits(&seed), [8, 9]);
    // Machine 9 was reset, and has another key: until the old one is forgotten nobody knows which it is.
    let again = answer(&mut seed, proven(7), report(9), at(170));
    assert_eq!(again, Verdict::Refused(Refusal::DuplicateHardware));
    assert_eq!(answer(&mut seed, proven(7), report(9), at(181)), Verdict::Pending);
    assert_eq!(waits(&seed), [7], "who says nothing is forgotten");

    answer(&mut seed, proven(4), report(4), at(182));
    for (number, name, want) in [
        (7, "control-2", "a controller is named in the roster"),
        (7, "control-1", "a controller is named in the roster"),
        (7, "worker-9", "there is no such row"),
        (7, "worker-4", "another machine has it"),
        (4, "worker-5", "the machine has a row"),
    ] {
        let approve = seed::Input::Approve(key(number), name.parse().unwrap());
        let error = seed.step(approve, at(183)).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
    seed.step(seed::Input::Approve(key(7), "worker-5".parse().unwrap()), at(183)).unwrap();
    assert!(matches!(answer(&mut seed, proven(7), report(9), at(184)), Verdict::Member(_)));
    assert!(waits(&seed).is_empty());
    // One that waits, and then has a row by another key, from a seed that is no more: it gets no second one.
    assert_eq!(answer(&mut seed, proven(6), report(6), at(185)), Verdict::Pending);
    let named = Report { held: held("control-3", 0), ..report(6) };
    assert!(matches!(answer(&mut seed, proven(8), named, at(186)), Verdict::Member(_)));
    assert!(waits(&seed).is_empty());
}

#[test]
fn a_machine_is_known_by_the_cards_that_it_has_now() {
    let mut seed = seed(&roster(), None);
    let with = |macs: &[u8], number| Report {
        hardware: Hardware {
            macs: macs.iter().flat_map(|number| machine(*number).macs).collect(),
            ..Hardware::default()
        },
        ..report(number)
    };
    for macs in [&[2][..], &[2, 20], &[20], &[20, 21], &[21]] {
        let verdict = answer(&mut seed, proven(2), with(macs, 2), at(1));
        assert!(matches!(verdict, Verdict::Member(_)), "{macs:?}: {verdict:?}");
    }
    answer(&mut seed, proven(3), report(3), at(1));
    let verdict = answer(&mut seed, proven(2), with(&[21, 3], 2), at(1));
    assert_eq!(verdict, Verdict::Refused(Refusal::DuplicateHardware), "that card is another's");
}

#[test]
fn rows_that_went_come_back_with_a_new_generation_alone() {
    let mut seed = seed(&roster(), None);
    let mut without = Roster { epoch: 2, minimum_workers: 1, ..roster() };
    without.nodes.pop();
    seed.step(seed::Input::Roster(sign(&without)), at(1)).unwrap();
    let mut back = Roster { epoch: 3, ..roster() };
    let error = seed.step(seed::Input::Roster(sign(&back)), at(2)).unwrap_err();
    assert!(error.to_string().contains("changes worker-5"), "{error}");
    back.nodes[4].generation = 1;
    seed.step(seed::Input::Roster(sign(&back)), at(3)).unwrap();
}

#[test]
fn a_roster_with_the_seed_s_key_is_for_the_seed_that_formed_the_cluster() {
    let named = |number| Roster { epoch: 2, seed_key: Some(key(number)), ..roster() };
    let mut seed = seed(&roster(), None);
    assert!(matches!(try_seed(&named(1), None), Err(seed::Error::NotTheSeed)));
    let put_in = |seed: &mut seed::Seed, number| {
        seed.step(seed::Input::Roster(sign(&named(number))), at(300)).map(drop)
    };
    assert!(matches!(put_in(&mut seed, 1), Err(seed::Error::NotTheSeed)));
    assert_eq!(play(&mut seed, 0..200, |_, _| {}).len(), 1);
    assert!(matches!(put_in(&mut seed, 9), Err(seed::Error::NotTheSeed)));
    put_in(&mut seed, 1).unwrap();
}

const SEED: &str = "10.0.0.11:7433";

fn node(saved: Option<node::Saved>, hardware: u8) -> (node::Node, Vec<node::Action>) {
    let config = node::Config {
        cluster: roster().cluster,
        operators: vec![operator().public()],
        hardware: machine(hardware),
        build: Build::default(),
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
        edition: edition(&roster()),
        roster: Some(sign(&roster())),
        wall: 4_000_000,
        stage: Stage::Gathering,
    };
    let verdict = |number| Answer { number, verdict: Verdict::Member(orders.clone()), gift: None };
    // A hint from outside a channel, and an answer to an older report, do nothing.
    let unproven = Peer { is_proven: false, ..proven(1) };
    assert_eq!(node.step(node::Input::Answer(unproven, verdict(number)), at(1)), []);
    assert_eq!(node.step(node::Input::Answer(proven(1), verdict(number - 1)), at(1)), []);
    assert!(!node.has_obeyed());
    let actions = node.step(node::Input::Answer(proven(1), verdict(number)), at(1));
    let work = node::Action::Do(node::Work::Prepare(1));
    assert!(
        matches!(&actions[..], [node::Action::Save(_), node::Action::SetClock(4_000_000), last] if *last == work)
    );
    assert!(node.has_obeyed());
    node.step(node::Input::Answer(proven(9), verdict(number)), at(1));
    assert!(!node.has_obeyed(), "a second answer to one report");
    node.step(node::Input::Done(node::Work::Prepare(1)), at(3));
    node.step(node::Input::Health(Health::default()), at(3));
    assert_eq!(node.phase(), Phase::Ready);

    let saved = node.saved().clone();
    let (again, actions) = self::node(Some(saved.clone()), 2);
    assert_eq!((again.phase(), sent(&actions).is_some()), (Phase::Prepared, true));
    let (mut copy, actions) = self::node(Some(saved), 9);
    assert_eq!((copy.waits(), actions), (node::Waits::ForeignDisk, vec![]));
    assert_eq!(copy.step(node::Input::Wake, at(9)), []);
}

/// A node that is ready, and the number of its last report.
fn ready() -> (node::Node, u64) {
    let (mut node, _) = node(None, 2);
    let (_, number) = sent(&node.step(node::Input::Done(node::Work::Network), at(1))).unwrap();
    node.step(orders(1, number, &roster(), Stage::Gathering), at(1));
    node.step(node::Input::Done(node::Work::Prepare(1)), at(1));
    node.step(node::Input::Health(Health::default()), at(1));
    assert_eq!(node.phase(), Phase::Ready);
    let number = wake(&mut node, at(5));
    (node, number)
}

fn wake(node: &mut node::Node, now: Now) -> u64 {
    sent(&node.step(node::Input::Wake, now)).unwrap().1
}

/// What a seed with this key says by this roster, its clock as it should be.
fn orders(seed: u8, number: u64, roster: &Roster, stage: Stage) -> node::Input {
    let name = "control-2".parse().unwrap();
    let generation = roster.node(&name).unwrap().generation;
    let orders = Orders {
        held: Held { name, generation },
        edition: edition(roster),
        roster: Some(sign(roster)),
        wall: 5_000,
        stage,
    };
    node::Input::Answer(
        proven(seed),
        Answer { number, verdict: Verdict::Member(orders), gift: None },
    )
}

fn formation(roster: &Roster, seed: u8) -> Formation {
    let (cluster, edition, generation) =
        (roster.cluster, edition(roster), roster.seed_generation());
    Formation { cluster, edition, generation, seed: key(seed) }
}

#[test]
fn who_has_promised_obeys_nobody_else() {
    let (mut node, number) = ready();
    let promise = formation(&roster(), 1);
    let actions = node.step(orders(1, number, &roster(), Stage::Forming(promise)), at(5));
    assert_eq!(node.saved().promise, Some(promise));
    let (_, number) = sent(&actions).unwrap();
    let later = Roster { epoch: 2, ..roster() };
    let mut replaced = later.clone();
    replaced.nodes[0].generation = 1;
    for (seed, roster, stage, is_obeyed) in [
        (9, &later, Stage::Gathering, false),
        (9, &later, Stage::Forming(formation(&later, 9)), false),
        (9, &later, Stage::Deploying(formation(&later, 9)), false),
        (9, &later, Stage::Formed(promise), false),
        (1, &later, Stage::Gathering, true),
        (9, &replaced, Stage::Gathering, true),
        (1, &Roster { seed_key: Some(key(9)), ..later.clone() }, Stage::Gathering, false),
    ] {
        let (mut node, _) = self::node(Some(node.saved().clone()), 2);
        let before = node.saved().clone();
        let mut number = number;
        for second in [5, 10] {
            number = wake(&mut node, at(second));
        }
        let other = Now { wall: 0, ..at(10) }; // a clock that is off, which a seed would set
        let actions = node.step(orders(seed, number, roster, stage), other);
        assert_eq!(actions.is_empty(), !is_obeyed, "{seed} {stage:?}: {actions:?}");
        assert_eq!(*node.saved() == before, !is_obeyed);
        assert_eq!(node.waits() == node::Waits::BadOrders, !is_obeyed);
    }
}

#[test]
fn which_answers_set_a_clock() {
    for (trip, wall, want) in [
        (0, 5_000, None),
        (100, 5_220, None), // the answer may have been under way for none of it
        (100, 5_230, Some(5_050)),
        (100, 9_000, Some(5_050)),
        (500, 9_000, Some(5_250)),
        (501, 9_000, None), // too late: nobody knows what the seed's clock shows now
    ] {
        let (mut node, number) = ready();
        let promise = Stage::Forming(formation(&roster(), 1));
        let now = Now { mono: 5_000 + trip, wall };
        let actions = node.step(orders(1, number, &roster(), promise), now);
        let set = actions.iter().find_map(|action| match action {
            node::Action::SetClock(wall) => Some(*wall),
            _ => None,
        });
        let told = actions.iter().find_map(|action| match action {
            node::Action::Send(_, report) => Some(report.wall),
            _ => None,
        });
        assert_eq!((set, told), (want, Some(want.unwrap_or(wall))), "{trip} {wall}");
    }
}

#[test]
fn a_clock_that_is_in_use_does_not_jump_for_little() {
    for (wall, want) in [(5_900, false), (4_100, false), (6_100, true), (3_900, true)] {
        let (mut node, number) = ready();
        let deploying = Stage::Deploying(formation(&roster(), 1));
        node.step(orders(1, number, &roster(), deploying), at(5));
        assert_eq!(node.phase(), Phase::Deploying);
        let number = wake(&mut node, Now { mono: 6_000, wall });
        let actions = node.step(orders(1, number, &roster(), deploying), Now { mono: 6_000, wall });
        let is_set = actions.iter().any(|action| matches!(action, node::Action::SetClock(_)));
        assert_eq!(is_set, want, "{wall}");
    }
}

#[test]
fn a_new_roster_is_prepared_for_again() {
    let (mut node, number) = ready();
    let later = Roster { epoch: 2, ..roster() };
    let again =
        |actions: &[node::Action]| actions.contains(&node::Action::Do(node::Work::Prepare(2)));
    let promise = Stage::Forming(formation(&later, 1));
    assert!(again(&node.step(orders(1, number, &later, promise), at(5))));
    assert_eq!((node.phase(), node.saved().promise), (Phase::TimeSynced, None));
    // A crash meanwhile: it is begun again. What was begun for the roster before counts no more.
    let (mut node, _) = self::node(Some(node.saved().clone()), 2);
    let number = wake(&mut node, at(6));
    assert!(again(&node.step(orders(1, number, &later, promise), at(6))));
    node.step(node::Input::Done(node::Work::Prepare(1)), at(7));
    assert_eq!(node.phase(), Phase::TimeSynced);
    node.step(node::Input::Done(node::Work::Prepare(2)), at(8));
    assert_eq!(node.phase(), Phase::Prepared);

    // Who is part of a cluster stays it, and is deployed anew only by a seed in the place of one that is gone.
    let number = wake(&mut node, at(10));
    let formed = Stage::Formed(formation(&later, 1));
    node.step(orders(1, number, &later, formed), at(10));
    assert_eq!(node.phase(), Phase::Formed);
    let mut newest = Roster { epoch: 3, ..later };
    for (generation, phase) in [(0, Phase::Formed), (1, Phase::TimeSynced)] {
        newest.nodes[0].generation = generation;
        let (mut node, _) = self::node(Some(node.saved().clone()), 2);
        let number = wake(&mut node, at(11));
        node.step(orders(1, number, &newest, Stage::Gathering), at(11));
        assert_eq!((node.phase(), node.saved().prepared), (phase, 2));
    }
}

#[test]
fn a_node_that_is_not_obeyed_asks_the_next_seed() {
    let other: SocketAddr = "10.0.0.66:7433".parse().unwrap();
    let twin = Stage::Gathering;
    for verdict in [
        Some(Verdict::Pending),
        Some(Verdict::Refused(Refusal::WindowClosed)),
        None, // orders by another roster of the same epoch
    ] {
        let (mut node, number) = ready();
        let beacon = Beacon { cluster: cluster_hash(roster().cluster), epoch: 1, port: 7433 };
        node.step(node::Input::Beacon("10.0.0.66:999".parse().unwrap(), beacon), at(5));
        let answer = match verdict {
            Some(verdict) => node::Input::Answer(proven(9), Answer { number, verdict, gift: None }),
            None => orders(9, number, &self::twin(), twin),
        };
        node.step(answer, at(5));
        assert!(!node.has_obeyed());
        let actions = node.step(node::Input::Wake, at(20));
        assert_eq!(sent(&actions).unwrap().0, other, "{:?}", node.waits());
    }
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
    fn beacons_decide_nothing(beacons in prop::collection::vec((any::<[u8; 4]>(), any::<bool>()), 0..50)) {
        let (mut node, _) = node(None, 2);
        node.step(node::Input::Done(node::Work::Network), at(0));
        let before = node.saved().clone();
        for (address, is_ours) in beacons {
            let cluster = if is_ours { cluster_hash(roster().cluster) } else { [0; 32] };
            let beacon = Beacon { cluster, epoch: 1, port: 1 };
            for action in node.step(node::Input::Beacon((address, 1).into(), beacon), at(1)) {
                prop_assert!(matches!(action, node::Action::Wake(_)));
            }
        }
        prop_assert_eq!(node.saved(), &before);
    }
}
