use coremax_node_api::join::Guard;

use super::*;

/// How many runs at most a protection that is taken out stays unnoticed.
const RUNS: u64 = 6_000;
/// How many calm runs have all their power cuts.
const CALM_RUNS: u64 = 20;
/// How much is told of a run that goes wrong.
const LINES: usize = 100;

#[test]
fn every_run_forms_one_cluster() {
    for seed in 0..3_000 {
        let settings = Settings::default();
        assert_formed(seed, settings, &run(seed, settings));
    }
}

/// Two writes of a seed and four of each of its nodes, at least: key, network, row and preparation.
#[test]
fn a_power_cut_at_any_write_keeps_no_cluster_from_forming() {
    for seed in 0..CALM_RUNS {
        let mut number = 0;
        for (settings, outcome) in cuts(seed, Settings::default()) {
            assert_formed(seed, settings, &outcome);
            number += 1;
        }
        assert!(number > 2 * (2 + 3 * 4), "run {seed} has {number} cuts");
    }
}

/// And it is found by the cuts where that is not so.
#[test]
fn cuts_find_what_is_not_gone_on_with_and_what_is_not_on_the_disk() {
    let resume = Settings { guards: Guards::without(Guard::Resume), ..Settings::default() };
    let lying = Settings { lying_disks: true, ..Settings::default() };
    for (settings, broken) in [(resume, Invariant::Unaided), (lying, Invariant::PromiseKept)] {
        let mut outcomes = (0..CALM_RUNS).flat_map(|seed| cuts(seed, settings));
        let is_it = |violation: Violation| violation.invariant == broken;
        assert!(outcomes.any(|(_, outcome)| outcome.violation.is_some_and(is_it)), "{broken:?}");
    }
}

fn assert_formed(seed: u64, settings: Settings, outcome: &Outcome) {
    if outcome.violation.is_some() || !outcome.is_formed {
        let (again, end) = (settings.again(seed), retell(seed, settings, LINES));
        panic!("{end}\nrun {seed}: {:?}\n  again: {again}", outcome.violation);
    }
}

#[test]
fn one_number_is_one_story() {
    let told = Settings { trace: true, ..Settings::default() };
    for seed in 0..20 {
        assert_eq!(run(seed, told), run(seed, told));
    }
}

#[test]
fn a_run_is_retold_to_its_end() {
    let settings = Settings { cut: Some(17), ..Settings::default() };
    let trace = run(3, Settings { trace: true, ..settings }).trace;
    let told = retell(3, settings, 5);
    assert_eq!(told.lines().collect::<Vec<_>>(), trace[trace.len() - 5..]);
    assert_eq!(retell(3, settings, usize::MAX), trace.join("\n"));
    assert_eq!(settings.again(3), "coremax cluster simulate --seed 3 --cut 17 --trace");
    assert_eq!(Settings::default().again(3), "coremax cluster simulate --seed 3 --trace");
}

/// What each protection is for.
const WITHOUT: [(Guard, Invariant); 24] = [
    (Guard::Proof, Invariant::Strangers),
    (Guard::Epoch, Invariant::EpochKept),
    (Guard::Name, Invariant::RowKept),
    (Guard::ForeignDisk, Invariant::Copies),
    (Guard::PromiseKept, Invariant::PromiseKept),
    (Guard::PromiseAsked, Invariant::Promised),
    (Guard::Once, Invariant::DeploysOnce),
    (Guard::Hardware, Invariant::OneRow),
    (Guard::Generation, Invariant::Replaced),
    (Guard::Window, Invariant::Window),
    (Guard::PoolOrder, Invariant::OneRow),
    (Guard::Clock, Invariant::Clocks),
    (Guard::RoundTrip, Invariant::Clocks),
    (Guard::Authority, Invariant::Authority),
    (Guard::WholePool, Invariant::Promised),
    (Guard::Digest, Invariant::OneRoster),
    (Guard::Prepare, Invariant::Prepared),
    (Guard::Candidate, Invariant::OneRow),
    (Guard::Mesh, Invariant::Mesh),
    (Guard::Lack, Invariant::Lack),
    (Guard::Reached, Invariant::Reached),
    (Guard::Resume, Invariant::Unaided),
    (Guard::Faithful, Invariant::RowFixed),
    (Guard::Approval, Invariant::Approved),
];

/// The proof that the simulator can fail: without any one of the protections it finds a run that breaks what the
/// protection is for, and that run is well with it.
#[test]
fn without_a_protection_a_run_goes_wrong() {
    let without = |guard| Settings { guards: Guards::without(guard), ..Settings::default() };
    let guards = WITHOUT.map(|(guard, broken)| (format!("{guard:?}"), without(guard), broken));
    let lying = Settings { lying_disks: true, ..Settings::default() };
    let trusting = Settings { trusting_nodes: true, ..Settings::default() };
    let others = [
        ("lying disks".to_owned(), lying, Invariant::PromiseKept),
        ("rosters of others".to_owned(), trusting, Invariant::RowKept),
    ];
    assert!(Guard::ALL.iter().all(|guard| WITHOUT.iter().any(|(with, _)| with == guard)));
    let mut unnoticed = Vec::new();
    for (name, settings, broken) in guards.into_iter().chain(others) {
        let violations = (0..RUNS).filter_map(|seed| Some((seed, run(seed, settings).violation?)));
        let found = violations.take(200).find(|(_, violation)| violation.invariant == broken);
        match found {
            Some((seed, violation)) => {
                println!("{name:<18} run {seed:>4}: {violation}");
                assert_eq!(run(seed, Settings::default()).violation, None, "{name}, run {seed}");
            }
            None => unnoticed.push(name),
        }
    }
    assert!(unnoticed.is_empty(), "nobody noticed that these were gone: {unnoticed:?}");
}

/// The invariants on the way are not what makes a run fail: two clusters do come of one where no promise is asked, and
/// in a pool where only the controllers' is.
#[test]
fn without_promises_two_clusters_come_of_one() {
    let without = |guard| {
        let guards = Guards::without(guard);
        Settings { guards, formations_alone: true, ..Settings::default() }
    };
    let settings = without(Guard::PromiseAsked);
    let mut violations = (0..RUNS).filter_map(|seed| run(seed, settings).violation);
    assert!(violations.any(|violation| violation.invariant == Invariant::OneFormation));

    let split = |settings| World::split_pool(settings).play_split_pool();
    assert_eq!(split(Settings::default()), Ok(()));
    let violation = split(without(Guard::WholePool)).unwrap_err();
    assert_eq!(violation.invariant, Invariant::OneFormation);
}
