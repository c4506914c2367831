//! Gives the two state machines what happens, and does what they ask for, in their order.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use coremax_channel::{Credentials, Failure, Papers, SeedRow};
use coremax_node_api::{
    join::{
        Answer, Formation, NodeKey, Peer, Phase, Report, Verdict,
        node::{self, Node, Work},
        seed::{self, Rows, Seed},
    },
    roster::{self, Name, Roster},
    wire,
};

use super::{
    around::Around,
    beacons::Beacons,
    build,
    call::Call,
    certificates::{Asked, Certificates},
    clock::{self, Clock, real},
    hint::Hint,
    leases::Leases,
    line::End,
    prepare::{self, Deployment},
    seats::Seats,
    shown,
    store::Store,
};
use crate::events::{Event, tell};

/// How long work that failed waits, in milliseconds.
const RETRY_AFTER: u64 = 5_000;
/// How often work that goes on beside is looked at, in milliseconds.
const LOOK_AFTER: u64 = 1_000;
/// The shortest and the longest wait of a deployment that failed, in milliseconds.
pub(super) const DEPLOY_PAUSE: (u64, u64) = (5_000, 600_000);
/// For how long a node to whom TLS came to nothing speaks by the channel before it tries TLS again, in milliseconds of the
/// join's own clock. Set here: a seed that has no certificate of its own yet has one by then.
const CHANNEL_FOR: u64 = 60_000;
/// To which it is told when a row was heard, in milliseconds.
const HEARD_TO: i64 = 5_000;

/// The state machines, and all that they act upon.
pub(super) struct Driver {
    pub node: Node,
    pub seed: Option<Seed>,
    pub clock: Clock,
    pub leaves_clock: bool,
    pub store: Store,
    pub certificates: Certificates,
    pub deployment: Deployment,
    pub around: Around,
    pub own: Arc<Credentials>,
    pub beacons: Beacons,
    pub leases: Leases,
    pub seats: Option<Seats>,
    pub call: Option<Call>,
    /// Until when, by the join's own clock, it speaks by the channel, because TLS came to nothing.
    pub channel_until: u64,
    /// When each wants to be woken, by the join's own clock.
    pub node_wakes: Option<u64>,
    pub seed_wakes: Option<u64>,
    pub tasks: VecDeque<Task>,
    /// Not before this, by the machine's clock.
    pub tasks_after: u64,
    /// What this seed is to deploy and for whom, not before when by the machine's clock, and how long it waits after it
    /// fails.
    pub deploys: Option<(Formation, Rows)>,
    pub deploys_after: u64,
    pub deploy_pause: u64,
    pub notes: Notes,
    /// How far the rows said that they are, and when, for people: to a few seconds.
    pub heard: BTreeMap<Name, (Phase, i64)>,
    /// Whose admission was said.
    pub admitted: BTreeMap<Name, NodeKey>,
}

/// What is done when what was asked for before it is done; a deployment goes its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Node(Work),
    /// Writes what new certificates change.
    Renew,
}

/// What people may want to know.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The seed that was asked last.
    pub asked: Option<SocketAddr>,
    /// What became of those that came to nothing.
    pub hint: Hint,
    /// What does not work here, by what it is of.
    pub work: Option<String>,
    pub roster: Option<String>,
    pub health: Option<String>,
    pub request: Option<String>,
    pub gift: Option<String>,
    pub authority: Option<String>,
    pub deployment: Option<String>,
    pub clock: Option<String>,
}

impl Driver {
    pub(super) fn step_node(&mut self, input: node::Input) -> Result<()> {
        let actions = self.node.step(input, self.clock.now());
        self.do_node(actions)
    }

    /// Steps the seed, if this machine is one. What it answers goes to `to`.
    pub(super) fn step_seed(&mut self, input: seed::Input, to: Option<&Asked>) -> Result<()> {
        let Some(seed) = &mut self.seed else { return Ok(()) };
        let actions = seed.step(input, self.clock.now())?;
        self.do_seed(actions, to)
    }

    pub(super) fn do_node(&mut self, actions: Vec<node::Action>) -> Result<()> {
        for action in actions {
            match action {
                node::Action::Save(saved) => self.store.save_node(&saved)?,
                node::Action::Send(to, report) => self.report(to, *report),
                node::Action::SetClock(wall) => self.set_clock(wall),
                node::Action::Do(work) => self.tasks.push_back(Task::Node(work)),
                node::Action::Wake(mono) => self.node_wakes = Some(mono),
            }
        }
        Ok(())
    }

    pub(super) fn do_seed(&mut self, actions: Vec<seed::Action>, to: Option<&Asked>) -> Result<()> {
        for action in actions {
            match action {
                seed::Action::Save(saved) => {
                    self.store.save_seed(&saved)?;
                    self.admit(&saved);
                }
                seed::Action::Answer(answer) => {
                    if let Some(to) = to {
                        self.answer(*answer, to)?;
                    }
                }
                seed::Action::Beacon(beacon) => self.beacons.send(&beacon),
                seed::Action::Wake(mono) => self.seed_wakes = Some(mono),
                seed::Action::Deploy(formation, rows) => self.turn_to(formation, rows),
            }
        }
        Ok(())
    }

    /// Deploys for others than before, from now on. What failed for those is over.
    fn turn_to(&mut self, formation: Formation, rows: Rows) {
        self.deploys = (!rows.is_empty()).then_some((formation, rows));
        (self.deploys_after, self.deploy_pause) = (0, DEPLOY_PAUSE.0);
        self.notes.deployment = None;
    }

    /// Says which rows have their machines now.
    fn admit(&mut self, saved: &seed::Saved) {
        for (name, member) in &saved.members {
            if self.admitted.insert(name.clone(), member.key) != Some(member.key) {
                let name = name.to_string();
                tell(
                    Event::Admitted,
                    &format!("{name} has its machine"),
                    &[("COREMAX_NODE", &name)],
                );
            }
        }
    }

    /// Answers a report, with the certificates that it asks for where they are due.
    fn answer(&mut self, mut answer: Answer, to: &Asked) -> Result<()> {
        let now = self.clock.now().wall;
        if let Verdict::Member(orders) = &answer.verdict {
            self.heard.insert(orders.held.name.clone(), (to.phase, now - now.rem_euclid(HEARD_TO)));
        }
        if let Some(seed) = &self.seed {
            match self.certificates.give(seed, to, &answer, now) {
                Ok(gift) => answer.gift = gift.map(Box::new),
                Err(error) => self.notes.authority = Some(format!("{error:#}")),
            }
        }
        let answer = wire::encode_answer(&answer).context("writing an answer")?;
        self.seats.iter_mut().for_each(|seats| seats.send(to.seat, &answer));
        Ok(())
    }

    /// Does what waits to be done.
    pub(super) fn work(&mut self) -> Result<()> {
        while let Some(task) = self.tasks.front().copied()
            && real() >= self.tasks_after
        {
            match self.perform(task) {
                Ok(()) => self.notes.work = None,
                Err(error) => {
                    self.notes.work = Some(format!("{error:#}"));
                    self.tasks_after = real() + RETRY_AFTER;
                    break;
                }
            }
            self.tasks.pop_front();
            match task {
                Task::Node(work) => {
                    self.step_node(node::Input::Done(work))?;
                    if let Work::Prepare(_) = work {
                        // At once: the others wait to hear that this node is ready.
                        self.node_wakes = Some(self.clock.now().mono);
                    }
                }
                Task::Renew => {}
            }
        }
        self.deploy()
    }

    /// Goes on with the deployment, which runs beside: what fails waits longer each time.
    fn deploy(&mut self) -> Result<()> {
        let Some((formation, rows)) =
            self.deploys.as_ref().filter(|_| real() >= self.deploys_after)
        else {
            return Ok(());
        };
        // Below another root there is no machine to deploy from.
        let done = match self.certificates.root() == Path::new("/") {
            true => self.deployment.go_on(*formation, rows),
            false => Ok(true),
        };
        match done {
            Ok(true) => {
                (self.deploys, self.notes.deployment) = (None, None);
                self.deploy_pause = DEPLOY_PAUSE.0;
                self.step_seed(seed::Input::Deployed, None)?;
            }
            Ok(false) => self.deploys_after = real() + LOOK_AFTER,
            Err(error) => {
                self.notes.deployment = Some(format!("deploying: {error:#}"));
                self.deploys_after = real() + self.deploy_pause;
                self.deploy_pause = (self.deploy_pause * 2).min(DEPLOY_PAUSE.1);
                self.step_seed(seed::Input::NotDeployed, None)?;
            }
        }
        Ok(())
    }

    fn perform(&mut self, task: Task) -> Result<()> {
        match task {
            // Who starts this program has brought it up; an interface that comes later is found then.
            Task::Node(Work::Network) => Ok(()),
            Task::Node(Work::Prepare(_)) | Task::Renew => {
                let gift = self.certificates.gift()?;
                let (roster, row) = self.enrolled().context("preparing without a row")?;
                let asked = self.notes.asked;
                prepare::prepare(self.certificates.root(), asked, roster, row, &gift)
                    .context("preparing this node")
            }
        }
    }

    /// The roster, and the node's row in it.
    pub(super) fn enrolled(&self) -> Option<(&Roster, &roster::Node)> {
        enrolled(&self.node)
    }

    /// Wakes whoever wants to be woken by now.
    pub(super) fn wake(&mut self) -> Result<()> {
        let now = self.clock.now().mono;
        let phase = self.node.phase();
        if let Some((roster, row)) = enrolled(&self.node) {
            self.around.mesh.go_on(roster, row, phase < Phase::Formed, now);
        }
        if self.node_wakes.take_if(|at| *at <= now).is_some() {
            if let Some((roster, row)) = enrolled(&self.node) {
                let (health, note) = self.around.look(roster, row, phase, now);
                self.notes.health = note;
                self.step_node(node::Input::Health(health))?;
            }
            self.step_node(node::Input::Wake)?;
        }
        if self.seed_wakes.take_if(|at| *at <= now).is_some() {
            self.furnish();
            self.show_papers();
            self.step_seed(seed::Input::Wake, None)?;
        }
        Ok(())
    }

    /// Sees to the key that the seed deploys with.
    pub(super) fn furnish(&mut self) {
        let now = self.clock.now().wall;
        let Some(seed) = &self.seed else { return };
        let Some(row) = seed.roster().node(&seed.roster().seed) else { return };
        let furnished = self.certificates.furnish(row, now);
        self.notes.authority = furnished.err().map(|error| format!("{error:#}"));
    }

    // What comes.

    pub(super) fn hear_beacons(&mut self) -> Result<()> {
        for (from, beacon) in self.beacons.hear() {
            self.step_node(node::Input::Beacon(from, beacon))?;
        }
        Ok(())
    }

    /// Hears a node, at this seat. What an operator asks there is for whoever knows more.
    pub(super) fn hear_seat(&mut self, id: u64) -> Result<Vec<Vec<u8>>> {
        let Some(seats) = &mut self.seats else { return Ok(Vec::new()) };
        let Some((peer, reports)) = seats.receive(id) else { return Ok(Vec::new()) };
        if seats.is_operators(id) {
            return Ok(reports);
        }
        let now = self.clock.now().wall;
        let is_tls = seats.certified(id).is_some();
        if let Some((shown, seed)) = seats.certified(id).zip(self.seed.as_ref())
            && !shown::is_of_row(shown, seed.saved(), seed.roster(), now)
        {
            seats.turn_away(id);
            return Ok(Vec::new());
        }
        for report in reports {
            match wire::decode_report(&report) {
                Ok(mut report) => {
                    // A key for TLS alone gives nobody another certificate, or one for SSH.
                    let enrol = report.enrol.take().filter(|_| !is_tls);
                    let asked = Asked { seat: id, node: peer, phase: report.phase, enrol };
                    let report = seed::Input::Report(proven(peer), Box::new(report));
                    self.step_seed(report, Some(&asked))?;
                }
                Err(_) => {
                    self.seats.iter_mut().for_each(|seats| seats.close(id));
                    break;
                }
            }
        }
        Ok(Vec::new())
    }

    /// Hears the seed that is asked.
    pub(super) fn hear_call(&mut self) -> Result<()> {
        let Some(call) = &mut self.call else { return Ok(()) };
        match call.go_on() {
            Ok(None) => {}
            Ok(Some((peer, answers))) => {
                for answer in answers {
                    match wire::decode_answer(&answer) {
                        Ok(answer) => {
                            self.notes.hint.answered();
                            self.hear_answer(peer, answer)?;
                        }
                        Err(error) => {
                            self.hang_up(&End::Channel(Failure::Wire(error)));
                            break;
                        }
                    }
                }
            }
            Err(end) => self.hang_up(&end),
        }
        Ok(())
    }

    /// The node first: whether it obeys these orders decides whether it takes the certificates beside them.
    fn hear_answer(&mut self, from: NodeKey, mut answer: Answer) -> Result<()> {
        let gift = answer.gift.take();
        self.step_node(node::Input::Answer(proven(from), answer))?;
        match self.certificates.take(gift.as_deref(), &self.node) {
            Ok(true) => {
                self.notes.gift = None;
                self.channel_until = 0;
                self.show_papers();
                self.tasks.push_back(Task::Renew);
            }
            Ok(false) => {}
            Err(error) => self.notes.gift = Some(format!("{error:#}")),
        }
        Ok(())
    }

    fn report(&mut self, to: SocketAddr, mut report: Report) {
        self.notes.asked = Some(to);
        let row = enrolled(&self.node).map(|(_, row)| row);
        let request = self.certificates.request(self.own.secret.public(), row);
        self.notes.request = request.as_ref().err().map(|error| format!("{error:#}"));
        report.enrol = request.ok().map(Box::new);
        report.build.disks = build::disks(self.certificates.root());
        let report = match wire::encode_report(&report) {
            Ok(report) => report,
            Err(error) => return self.notes.work = Some(error.to_string()),
        };
        let tls = self.tls();
        self.call.take_if(|call| !call.is_in(tls.as_ref()));
        if let Some(call) = &mut self.call {
            match call.say(to, &report) {
                Ok(true) => return,
                Ok(false) => drop(self.give_up_tls()),
                Err(end) => {
                    self.hang_up(&end);
                    if self.call.is_some() {
                        return; // it says so by the channel already
                    }
                }
            }
        }
        let call = match tls.filter(|_| self.may_speak_tls()) {
            Some((papers, seed)) => Call::begin_tls(to, &papers, seed, report),
            None => Call::begin(to, &self.own, report),
        };
        self.take_up(call);
    }

    fn take_up(&mut self, call: Result<Call, End>) {
        match call {
            Ok(call) => self.call = Some(call),
            Err(end) => self.hang_up(&end),
        }
    }

    /// Whatever was said, the node asks again when its time has come, and not before; but where TLS came to nothing it says
    /// the same by the channel at once.
    fn hang_up(&mut self, why: &End) {
        let to = self.call.as_ref().map(|call| call.to).or(self.notes.asked);
        self.notes.hint.ended(to, why, real());
        if let Some((to, report)) = self.give_up_tls() {
            self.take_up(Call::begin(to, &self.own, report));
        }
    }

    /// Ends the call. Of one in TLS that was not answered, what it was to whom: then it is the channel's turn for a while.
    fn give_up_tls(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let call = self.call.take()?;
        let to = call.to;
        let unanswered = call.unanswered()?;
        self.channel_until = self.clock.now().mono + CHANNEL_FOR;
        Some((to, unanswered))
    }

    /// What the next connection is opened in TLS with, if it may be: this node's papers, which hold, and the row that the
    /// seed has to have. Who needs other certificates asks by the channel: none are given to who has no more than those.
    fn tls(&mut self) -> Option<(Arc<Papers>, SeedRow)> {
        if !self.may_speak_tls() {
            return None;
        }
        let (roster, row) = enrolled(&self.node)?;
        let seed = roster.node(&roster.seed)?;
        let papers = self.certificates.papers(self.own.secret.public(), row)?;
        if papers.own().valid.is_due(clock::wall()) {
            return None;
        }
        Some((papers, SeedRow { name: seed.name.clone(), address: seed.address }))
    }

    fn may_speak_tls(&self) -> bool {
        self.node.phase() >= Phase::TimeSynced && self.clock.now().mono >= self.channel_until
    }

    /// Gives the seed's side this node's papers, if it has some that hold.
    pub(super) fn show_papers(&mut self) {
        let Some(seats) = &mut self.seats else { return };
        let row = enrolled(&self.node).map(|(_, row)| row);
        seats.papers = row.and_then(|row| self.certificates.papers(self.own.secret.public(), row));
    }

    fn set_clock(&mut self, wall: i64) {
        if self.leaves_clock {
            return;
        }
        let set = clock::set(wall);
        if set.is_ok() {
            tell(Event::ClockSet, "set the clock to the seed's", &[]);
        }
        self.notes.clock = set.err().map(|error| format!("{error:#}"));
    }
}

fn enrolled(node: &Node) -> Option<(&Roster, &roster::Node)> {
    let roster = node.roster()?;
    let row = roster.node(&node.saved().held.as_ref()?.name)?;
    Some((roster, row))
}

/// What a channel has proven.
fn proven(key: NodeKey) -> Peer {
    Peer { key, is_proven: true }
}
