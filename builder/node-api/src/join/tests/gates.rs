//! What has to be so before a cluster is formed, beside promises.

use super::*;

/// The rows by their numbers: control-1 to 3, worker-4 and 5.
type Change = fn(u8, &mut Report);

/// What stands in the way in the end, where every machine is ready but for the change.
fn obstacles(roster: &Roster, change: Change) -> Vec<String> {
    let mut seed = seed(roster, None);
    let deployed = play(&mut seed, 0..200, change);
    let obstacles = seed.obstacles(at(195)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(deployed.is_empty(), !obstacles.is_empty(), "{obstacles:?}");
    obstacles
}

#[test]
fn a_pair_that_does_not_reach_each_other_stands_in_the_way() {
    let why = |pair: &str| {
        format!(
            "{pair} with 9000 bytes: set the MTU of cards and switches, or another one in the roster"
        )
    };
    let cases: &[(Change, &[&str])] = &[
        (|_, _| {}, &[]),
        (
            |n, r| r.unreached = if n == 2 { [2].into() } else { [].into() },
            &["control-2 does not reach control-3"],
        ),
        // Both say so, and it is one pair; who is a worker counts too, once it is ready.
        (
            |n, r| {
                r.unreached = match n {
                    1 => [4].into(),
                    5 => [0, 3].into(),
                    _ => [].into(),
                }
            },
            &["control-1 does not reach worker-5", "worker-5 does not reach worker-4"],
        ),
        // What is no row.
        (|_, r| r.unreached = [5, 250, 255].into(), &[]),
    ];
    let roster = Roster { mtu: 9000, ..roster() };
    for (number, (change, want)) in cases.iter().enumerate() {
        let want: Vec<_> = want.iter().copied().map(why).collect();
        assert_eq!(obstacles(&roster, *change), want, "case {number}");
    }
}

#[test]
fn who_is_not_ready_holds_nobody_up_by_being_out_of_reach() {
    let few = Roster { minimum_workers: 1, ..roster() };
    let away: Change = |number, report| match number {
        5 => report.phase = Phase::Prepared,
        _ => report.unreached = [4].into(),
    };
    assert_eq!(obstacles(&few, away), [] as [String; 0]);
    let why = "2 are the minimum";
    assert!(obstacles(&roster(), away)[0].ends_with(why), "{:?}", obstacles(&roster(), away));
}

#[test]
fn why_a_node_is_not_ready_is_said() {
    let cases: &[(Change, &str)] = &[
        (
            |n, r| r.lacks = if n == 2 { [Lack::Registry].into() } else { [].into() },
            "the registry does not answer it",
        ),
        (
            |n, r| {
                if n == 2 {
                    (r.phase, r.lacks) = (Phase::Prepared, [Lack::Disk, Lack::Registry].into());
                }
            },
            "a disk of its row is not there",
        ),
        (|n, r| r.phase = if n == 2 { Phase::TimeSynced } else { r.phase }, "it is timesynced yet"),
        (
            |n, r| r.edition = if n == 2 { Edition::default() } else { r.edition },
            "it has another roster yet",
        ),
        (|n, r| r.wall -= if n == 2 { 501 } else { 0 }, "its clock is 501 ms off"),
    ];
    for (change, want) in cases {
        assert_eq!(obstacles(&roster(), *change), [format!("control-2 is not ready: {want}")]);
    }
    let mut seed = seed(&roster(), None);
    let first = |seed: &seed::Seed, second| seed.obstacles(at(second))[1].to_string();
    assert_eq!(first(&seed, 0), "control-2 is not ready: no machine has come for it");
    play(&mut seed, 0..10, |_, _| {});
    assert_eq!(first(&seed, 99), "control-2 is not ready: it was not heard lately");
}

#[test]
fn clocks_are_together_in_every_pair() {
    let apart = |ahead: i64, behind: i64| {
        let mut seed = seed(&roster(), None);
        let deployed = play(&mut seed, 0..200, |number, report| match number {
            2 => report.wall += ahead,
            5 => report.wall -= behind,
            _ => {}
        });
        (!deployed.is_empty(), seed.obstacles(at(195)).first().map(ToString::to_string))
    };
    assert_eq!(apart(250, 250), (true, None));
    let why = "the clock of control-2 is 501 ms before that of worker-5";
    assert_eq!(apart(250, 251), (false, Some(why.to_owned())));
}

/// Not for a moment: whatever breaks it begins the minute again.
#[test]
fn all_is_stable_for_a_minute() {
    let changes: &[Change] = &[
        |_, report| report.unreached = [3].into(),
        |_, report| report.lacks = [Lack::Registry].into(),
        |number, report| report.wall += i64::from(number) * 200,
    ];
    for change in changes {
        let mut seed = seed(&roster(), None);
        let deployed = play(&mut seed, 0..200, |number, report| {
            if report.wall == 50_000 && number == 3 {
                change(number, report);
            }
        });
        let (second, _) = deployed[0];
        assert!((115..=125).contains(&second), "{second}");
    }
}

#[test]
fn a_node_says_which_rows_it_does_not_reach() {
    let (mut node, _) = ready();
    let reached = |names: &[&str]| Health {
        reached: names.iter().map(|name| name.parse().unwrap()).collect(),
        ..Health::default()
    };
    let mut said = |health| {
        node.step(node::Input::Health(health), at(6));
        let actions = node.step(node::Input::Wake, at(6));
        let report = actions.into_iter().find_map(|action| match action {
            node::Action::Send(_, report) => Some(*report),
            _ => None,
        });
        let report = report.unwrap();
        (report.phase, report.unreached.into_iter().collect::<Vec<_>>(), report.lacks.len())
    };
    assert_eq!(said(reached(&[])), (Phase::Ready, vec![0, 2, 3, 4], 0), "all but its own");
    assert_eq!(
        said(reached(&["control-3", "worker-5", "of-no-row"])),
        (Phase::Ready, vec![0, 3], 0)
    );
    let all = ["control-1", "control-3", "worker-4", "worker-5"];
    assert_eq!(said(reached(&all)), (Phase::Ready, vec![], 0));
    let lacks = Health { lacks: [Lack::Address, Lack::Disk].into(), ..reached(&all[1..]) };
    assert_eq!(said(lacks), (Phase::Prepared, vec![], 2), "not ready");
}
