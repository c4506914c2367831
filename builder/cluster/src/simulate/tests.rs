use coremax_node_api::join::Guard;

use super::*;

/// How many runs at most a protection that is taken out stays unnoticed.
const RUNS: u64 = 4_000;

#[test]
fn every_run_forms_one_cluster() {
    for seed in 0..3_000 {
        let outcome = run(seed, Settings::default());
        assert_eq!(outcome.violation, None, "coremax cluster simulate --seed {seed} --trace");
    }
}

#[test]
fn one_number_is_one_story() {
    let told = Settings { trace: true, ..Settings::default() };
    for seed in 0..20 {
        assert_eq!(run(seed, told), run(seed, told));
    }
}

/// The proof that the simulator can fail: without any one of the protections it finds a run that goes wrong.
#[test]
fn without_a_protection_a_run_goes_wrong() {
    let without = |guard| Settings { guards: Guards::without(guard), ..Settings::default() };
    let guards = Guard::ALL.map(|guard| (format!("{guard:?}"), without(guard)));
    let others = [
        ("lying disks".to_owned(), Settings { lying_disks: true, ..Settings::default() }),
        ("rosters of others".to_owned(), Settings { trusting_nodes: true, ..Settings::default() }),
    ];
    let mut unnoticed = Vec::new();
    for (name, settings) in guards.into_iter().chain(others) {
        let mut found = (0..RUNS).filter_map(|seed| Some((seed, run(seed, settings).violation?)));
        match found.next() {
            Some((seed, violation)) => println!("{name:<18} run {seed:>4}: {violation}"),
            None => unnoticed.push(name),
        }
    }
    assert!(unnoticed.is_empty(), "nobody noticed that these were gone: {unnoticed:?}");
}

/// The invariants on the way are not what makes a run fail: two clusters do come of one where no promise is asked.
#[test]
fn without_promises_two_clusters_come_of_one() {
    let guards = Guards::without(Guard::PromiseAsked);
    let settings = Settings { guards, formations_alone: true, ..Settings::default() };
    let mut violations = (0..RUNS).filter_map(|seed| run(seed, settings).violation);
    assert!(violations.any(|violation| violation.starts_with("a second formation")));
}
