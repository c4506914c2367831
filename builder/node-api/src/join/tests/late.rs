//! Machines that go while a cluster is deployed, and those that come when it is.

use super::{Stage as Told, *};

const EVERYBODY: [u8; 5] = [1, 2, 3, 4, 5];

/// A seed that takes one worker for enough, and what it asked for.
struct Site {
    seed: seed::Seed,
    deploys: Vec<Vec<String>>,
    second: u64,
    promise: Option<Formation>,
}

impl Site {
    fn new(minimum_workers: usize) -> Self {
        let seed = seed(&Roster { minimum_workers, ..roster() }, None);
        Self { seed, deploys: Vec::new(), second: 0, promise: None }
    }

    fn step(&mut self, input: seed::Input) -> Option<Verdict> {
        let mut verdict = None;
        for action in self.seed.step(input, at(self.second)).unwrap() {
            match action {
                seed::Action::Answer(answer) => verdict = Some(answer.verdict),
                seed::Action::Deploy(_, rows) => {
                    self.deploys.push(rows.keys().map(ToString::to_string).collect());
                }
                _ => {}
            }
        }
        verdict
    }

    /// These machines report; what the cluster is for each of them.
    fn report(&mut self, machines: &[u8], phase: Phase) -> Vec<Told> {
        let stages = machines.iter().map(|number| {
            let wall = at(self.second).wall;
            let edition = edition(self.seed.roster());
            let report = Report { promise: self.promise, phase, wall, edition, ..report(*number) };
            match self.step(seed::Input::Report(proven(*number), Box::new(report))) {
                Some(Verdict::Member(orders)) => orders.stage,
                other => panic!("{other:?}"),
            }
        });
        stages.collect()
    }

    fn play(&mut self, machines: &[u8], seconds: u64) {
        for _ in 0..seconds / 5 {
            self.second += 5;
            if let Some(Told::Forming(formation)) =
                self.report(machines, Phase::Ready).first().copied()
            {
                self.promise = Some(formation);
            }
        }
    }

    fn asked_for(&mut self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.deploys)
    }
}

#[test]
fn a_cluster_is_deployed_for_those_who_are_there() {
    let mut site = Site::new(1);
    site.play(&EVERYBODY[..4], 100);
    let first = ["control-1", "control-2", "control-3", "worker-4"];
    assert_eq!(site.asked_for(), [first]);
    site.step(seed::Input::Deployed);
    let stages = site.report(&EVERYBODY[..4], Phase::Deploying);
    assert!(stages.iter().all(|it| matches!(it, Told::Formed(_))), "{stages:?}");
    assert!(site.asked_for().is_empty());

    // One that comes late is formed when a deployment has reached it, and not before.
    let [late] = site.report(&[5], Phase::Prepared)[..] else { panic!() };
    assert_eq!(late, Told::Gathering);
    assert!(site.asked_for().is_empty(), "it is not ready");
    site.report(&[5], Phase::Ready);
    assert_eq!(site.asked_for(), [["worker-5"]]);
    site.report(&EVERYBODY, Phase::Deploying);
    assert!(site.asked_for().is_empty(), "it is under way");
    let [late] = site.report(&[5], Phase::Deploying)[..] else { panic!() };
    assert!(matches!(late, Told::Deploying(_)), "{late:?}");
    let (_, again) = try_seed(site.seed.roster(), Some(site.seed.saved().clone())).unwrap();
    let goes_on =
        |action: &seed::Action| matches!(action, seed::Action::Deploy(_, rows) if rows.len() == 1);
    assert!(again.iter().any(goes_on), "{again:?}");
    site.step(seed::Input::Deployed);
    let [late] = site.report(&[5], Phase::Deploying)[..] else { panic!() };
    assert!(matches!(late, Told::Formed(_)), "{late:?}");
    assert!(site.asked_for().is_empty());
}

/// The gates of those that a cluster is formed with are a late machine's too.
#[test]
fn a_late_machine_waits_until_it_is_well() {
    let mut site = Site::new(1);
    site.play(&EVERYBODY[..4], 100);
    site.step(seed::Input::Deployed);
    site.asked_for();
    site.report(&EVERYBODY[..4], Phase::Formed);
    let now = at(site.second);
    let late = || Report { edition: edition(site.seed.roster()), wall: now.wall, ..report(5) };
    let cases = [
        (Report { lacks: [Lack::Image].into(), ..late() }, "its image is of another version"),
        (Report { wall: now.wall + 501, ..late() }, "its clock is 501 ms off"),
        (Report { unreached: [4, 1].into(), ..late() }, "worker-5 does not reach control-2"),
        (Report { phase: Phase::Prepared, ..late() }, "it is prepared yet"),
    ];
    for (ill, want) in cases {
        site.step(seed::Input::Report(proven(5), Box::new(ill)));
        assert!(site.asked_for().is_empty(), "{want}");
        let said: Vec<_> = site.seed.late_obstacles(now).iter().map(ToString::to_string).collect();
        assert!(said.len() == 1 && said[0].contains(want), "{said:?}");
    }
    // Whom nobody has heard for a while keeps nobody away.
    site.second += 30;
    site.report(&[1, 3, 4], Phase::Formed);
    let wall = at(site.second).wall;
    let edition = edition(site.seed.roster());
    let well = Report { unreached: [1].into(), edition, wall, ..report(5) };
    site.step(seed::Input::Report(proven(5), Box::new(well)));
    assert_eq!(site.asked_for(), [["worker-5"]]);
    assert!(site.seed.late_obstacles(at(site.second)).is_empty());
}

/// Of two that come late and are apart the one with the lower row goes first.
#[test]
fn late_machines_are_together_or_one_waits() {
    let far = |wall: i64, unreached: &[u8], want: &str| {
        let mut site = Site::new(0);
        site.play(&EVERYBODY[..3], 100);
        site.asked_for();
        let now = at(site.second);
        for (number, wall, unreached) in [(4, -wall, &[][..]), (5, wall, unreached)] {
            let unreached = unreached.iter().copied().collect();
            let edition = edition(site.seed.roster());
            let late = Report { wall: now.wall + wall, edition, unreached, ..report(number) };
            site.step(seed::Input::Report(proven(number), Box::new(late)));
        }
        let said: Vec<_> = site.seed.late_obstacles(now).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), usize::from(!want.is_empty()), "{said:?}");
        assert!(said.concat().contains(want), "{said:?}");
        site.step(seed::Input::Deployed);
        site.asked_for()
    };
    assert_eq!(far(200, &[], ""), [["worker-4", "worker-5"]]);
    assert_eq!(far(0, &[3], "worker-5 does not reach worker-4"), [["worker-4"]]);
    assert_eq!(far(300, &[], "the clock of worker-5 is 600 ms before"), [["worker-4"]]);
}

/// Before the cluster is formed too.
#[test]
fn a_machine_in_the_place_of_a_controller_reaches_the_others() {
    let mut site = Site::new(1);
    site.play(&EVERYBODY, 100);
    let mut replaced = Roster { epoch: 2, ..site.seed.roster().clone() };
    replaced.nodes[2].generation += 1;
    replaced.nodes[2].matches = machine_of(9);
    site.step(seed::Input::Roster(sign(&replaced)));
    site.second += 5;
    site.report(&[1, 2, 4, 5], Phase::Deploying);
    site.asked_for();
    let now = at(site.second);
    let obstacles = |site: &Site| {
        site.seed.late_obstacles(now).iter().map(ToString::to_string).collect::<Vec<_>>().concat()
    };
    assert!(
        obstacles(&site).contains("control-3 is not ready: no machine has come for it"),
        "{}",
        obstacles(&site)
    );
    let edition = edition(site.seed.roster());
    let apart = Report { wall: now.wall, edition, unreached: [0].into(), ..report(9) };
    site.step(seed::Input::Report(proven(9), Box::new(apart)));
    assert!(site.asked_for().is_empty());
    assert!(
        obstacles(&site).contains("control-3 does not reach control-1"),
        "{}",
        obstacles(&site)
    );
    site.report(&[9], Phase::Ready);
    assert_eq!(site.asked_for().len(), 1);
}

#[test]
fn who_goes_holds_nobody_up_unless_it_is_needed() {
    let mut site = Site::new(1);
    site.play(&EVERYBODY, 100);
    assert_eq!(site.asked_for().len(), 1);
    // It fails, and all are there: it is tried again as it is.
    site.report(&EVERYBODY, Phase::Deploying);
    site.step(seed::Input::NotDeployed);
    assert!(site.asked_for().is_empty());
    site.second += 60;
    site.report(&[1, 2, 5], Phase::Deploying);
    site.step(seed::Input::NotDeployed);
    assert_eq!(site.asked_for(), [["control-1", "control-2", "control-3", "worker-5"]]);
    site.step(seed::Input::Deployed);
    site.report(&EVERYBODY, Phase::Deploying);
    assert_eq!(site.asked_for(), [["worker-4"]]);
    // It goes again: there is nobody to deploy for.
    site.second += 60;
    site.report(&[1, 2, 3], Phase::Formed);
    site.step(seed::Input::NotDeployed);
    assert_eq!(site.asked_for(), [[""; 0]]);
    site.report(&[4], Phase::Deploying);
    assert_eq!(site.asked_for(), [["worker-4"]]);
}

#[test]
fn another_machine_of_a_row_is_late_like_a_new_one() {
    let mut site = Site::new(1);
    site.play(&EVERYBODY, 100);
    site.step(seed::Input::Deployed);
    site.asked_for();
    let mut replaced = Roster { epoch: 2, ..site.seed.roster().clone() };
    replaced.nodes[3].generation += 1;
    replaced.nodes[3].matches = Some(Match::Mac(Mac::new([0x52, 0x54, 0, 0, 0, 9]).unwrap()));
    site.step(seed::Input::Roster(sign(&replaced)));
    site.second += 5;
    let stages = site.report(&[1, 2, 3, 5, 9], Phase::Deploying);
    let formed: Vec<_> = stages.iter().map(|it| matches!(it, Told::Formed(_))).collect();
    assert_eq!(formed, [true, true, true, true, false]);
    assert_eq!(site.asked_for(), [["worker-4"]]);
}

#[test]
fn a_seed_that_was_off_drops_nobody_whom_it_has_not_heard_yet() {
    let mut site = Site::new(1);
    site.play(&EVERYBODY, 100);
    site.asked_for();
    let saved = site.seed.saved().clone();
    site.seed = try_seed(site.seed.roster(), Some(saved)).unwrap().0;
    site.second = 10;
    site.report(&[1, 2, 3], Phase::Deploying);
    site.step(seed::Input::NotDeployed);
    assert!(site.asked_for().is_empty(), "the workers boot yet");
    site.second = 50;
    site.report(&[1, 2, 3], Phase::Deploying);
    site.step(seed::Input::NotDeployed);
    assert!(site.asked_for().is_empty());
    // They are fewer than the roster wants, however long they are away.
    site.second = 300;
    site.report(&[1, 2, 3], Phase::Deploying);
    site.step(seed::Input::NotDeployed);
    assert!(site.asked_for().is_empty());
    site.report(&[4], Phase::Deploying);
    site.step(seed::Input::NotDeployed);
    assert_eq!(site.asked_for(), [["control-1", "control-2", "control-3", "worker-4"]]);
}

#[test]
fn a_newer_roster_changes_whom_it_is_for_at_once() {
    let replace = |site: &mut Site, row: usize, machine: u8| {
        let mut roster = site.seed.roster().clone();
        roster.epoch += 1;
        roster.nodes[row].generation = roster.seed_generation() + 1;
        roster.nodes[row].matches = machine_of(machine);
        site.step(seed::Input::Roster(sign(&roster)));
    };
    // A worker's machine: the others go on.
    let mut site = Site::new(1);
    site.play(&EVERYBODY, 100);
    site.asked_for();
    replace(&mut site, 3, 9);
    assert_eq!(site.asked_for(), [["control-1", "control-2", "control-3", "worker-5"]]);
    // All have the roster of before: that is no reason to drop them.
    site.step(seed::Input::NotDeployed);
    assert!(site.asked_for().is_empty());

    // A controller's: nothing is deployed without one.
    let mut site = Site::new(1);
    site.play(&EVERYBODY, 100);
    site.asked_for();
    replace(&mut site, 2, 9);
    assert_eq!(site.asked_for(), [[""; 0]]);
    site.second += 5;
    site.report(&[1, 2, 4, 5], Phase::Deploying);
    assert!(site.asked_for().is_empty());
    site.report(&[9], Phase::Ready);
    let all = ["control-1", "control-2", "control-3", "worker-4", "worker-5"];
    assert_eq!(site.asked_for(), [all]);
}

fn machine_of(number: u8) -> Option<Match> {
    Mac::new([0x52, 0x54, 0, 0, 0, number]).map(Match::Mac)
}
