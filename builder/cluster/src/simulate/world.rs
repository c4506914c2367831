//! Time, the network and the power: what drives the machines.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use coremax_node_api::{
    guid::Guid,
    join::{Build, Edition, NodeKey, Peer, node, seed},
    roster::Roster,
    update::key::{PublicKey, SecretKey},
};

use super::{
    Settings,
    check::{History, Invariant, Violation, broken},
    draw::Weather,
    event::{Entry, Event, Packet},
    lies::Lies,
    machine::{Disk, Kind, Machine, PORT, address},
    rng::Rng,
};

/// What a step comes to: nothing, or what does not hold.
pub(super) type Step = Result<(), Violation>;

/// Everything there is.
pub(super) struct World {
    pub rng: Rng,
    pub time: u64,
    pub machines: Vec<Machine>,
    pub weather: Weather,
    /// The operator's newest roster.
    pub roster: Roster,
    pub signed: Arc<[u8]>,
    /// Of the newest roster that the operator signed, for the cluster or by mistake.
    pub last_epoch: u64,
    /// The first one that was signed, which anybody may still have.
    pub oldest: Arc<[u8]>,
    /// What each roster is that was signed.
    pub known: HashMap<Vec<u8>, Known>,
    pub history: History,
    /// Whose answer is being taken in.
    pub answering: Option<usize>,
    pub trace: Vec<String>,
    pub operator: SecretKey,
    /// What liars say of themselves.
    pub lies: Lies,
    /// The forger's own roster.
    pub forged: Option<Arc<[u8]>>,
    pub settings: Settings,
    /// Somebody did what an operator may have to mend: set up a seed again, replaced or reset a machine, came too late,
    /// or lied with the cluster's key.
    pub needs_operator: bool,
    /// How many journal writes were begun.
    pub writes: u64,
    /// From which machine to which no long packet comes, since when.
    pub narrow: BTreeMap<(usize, usize), u64>,
    /// Since when no registry answers.
    pub registry_down: Option<u64>,
    queue: BinaryHeap<Reverse<(u64, u64, Entry)>>,
    queued: u64,
}

/// What a signed roster is.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub edition: Edition,
    pub roster: Arc<Roster>,
}

impl World {
    pub(super) fn empty(rng: Rng, roster: Roster, weather: Weather, settings: Settings) -> Self {
        Self {
            rng,
            time: 0,
            machines: Vec::new(),
            weather,
            last_epoch: roster.epoch,
            roster,
            signed: Arc::from([]),
            oldest: Arc::from([]),
            known: HashMap::new(),
            history: History::default(),
            answering: None,
            trace: Vec::new(),
            operator: SecretKey::from_seed([1; 32], "operator"),
            lies: Lies::default(),
            forged: None,
            settings,
            needs_operator: false,
            writes: 0,
            narrow: BTreeMap::new(),
            registry_down: None,
            queue: BinaryHeap::new(),
            queued: 0,
        }
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((time, self.queued, Entry(event))));
    }

    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.settings.trace {
            let line = format!("{:>10} {}", self.time, line());
            self.trace.push(line);
        }
    }

    /// Plays on until this time, or until all that is to come has happened.
    pub(super) fn play_until(&mut self, end: u64, is_over: impl Fn(&Self) -> bool) -> Step {
        while let Some(Reverse((time, _, _))) = self.queue.peek() {
            if *time > end || is_over(self) {
                break;
            }
            let Some(Reverse((time, _, Entry(event)))) = self.queue.pop() else { break };
            self.time = time;
            self.happen(event)?;
        }
        if !is_over(self) {
            self.time = self.time.max(end);
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Step {
        let is_now = |machines: &[Machine], to: usize, starts| {
            machines[to].starts == starts && machines[to].is_on()
        };
        match event {
            Event::Act(act) => self.act(act),
            Event::PowerOn(to) => self.power_on(to),
            Event::Wake { to, starts, program, wake } => {
                let is_last = self.machines[to].wakes[program] == wake;
                match (is_now(&self.machines, to, starts) && is_last, program) {
                    (false, _) => Ok(()),
                    (true, 0) => self.step_node(to, node::Input::Wake),
                    (true, _) => self.step_seed(to, seed::Input::Wake, None),
                }
            }
            Event::Done { to, starts, work } if is_now(&self.machines, to, starts) => {
                if let node::Work::Prepare(epoch) = work {
                    self.machines[to].written = Some(epoch);
                }
                self.step_node(to, node::Input::Done(work))
            }
            Event::Health { to, starts } if is_now(&self.machines, to, starts) => {
                self.look_around(to, starts)
            }
            Event::DeploymentEnds { to, starts, number } if is_now(&self.machines, to, starts) => {
                self.end_deployment(to, number)
            }
            Event::Deliver { to, from, packet } if self.machines[to].is_on() => {
                self.deliver(to, from, packet)
            }
            _ => Ok(()),
        }
    }

    /// When the last machine comes that is on its way.
    pub(super) fn latest_power_on(&self) -> u64 {
        let times = self.queue.iter().filter_map(|Reverse((time, _, Entry(event)))| {
            matches!(event, Event::PowerOn(_)).then_some(*time)
        });
        times.max().unwrap_or(0)
    }

    // Machines

    pub(super) fn power_on(&mut self, number: usize) -> Step {
        let time = self.time;
        if self.machines[number].is_on() || self.machines[number].is_pulled {
            return Ok(());
        }
        self.tell(|| format!("m{number} on"));
        let config = node::Config {
            cluster: self.roster.cluster,
            operators: self.operators(),
            hardware: self.machines[number].hardware.clone(),
            build: Build::default(),
            new_key: NodeKey(self.rng.bytes()),
            seeds: self.seeds_of(number),
            random: self.rng.next(),
            guards: self.settings.guards,
        };
        let machine = &mut self.machines[number];
        machine.clock.start(time);
        machine.starts += 1;
        let (node, actions) =
            node::Node::start(config, machine.disk.node.clone(), machine.now(time));
        machine.node = Some(node);
        let starts = machine.starts;
        self.do_node(number, actions)?;
        let healthy = self.time + self.rng.range(100, 10_000);
        self.at(healthy, Event::Health { to: number, starts });
        self.start_seed(number)
    }

    fn start_seed(&mut self, number: usize) -> Step {
        let time = self.time;
        let machine = &self.machines[number];
        let (Some(medium), Some(node), true) = (&machine.medium, &machine.node, machine.is_on())
        else {
            return Ok(());
        };
        if node.waits() == node::Waits::ForeignDisk {
            return Ok(());
        }
        let key = node.saved().key;
        let config = seed::Config {
            operators: vec![self.operator.public()],
            key,
            port: PORT,
            guards: self.settings.guards,
        };
        let started =
            seed::Seed::start(config, medium, machine.disk.seed.clone(), machine.now(time));
        let (seed, actions) = match started {
            Ok(started) => started,
            Err(error) => {
                return broken(Invariant::Seeds, format!("m{number} cannot be a seed: {error}"));
            }
        };
        self.history.windows.entry(key).or_insert((time, 0)).1 += 1;
        self.machines[number].seed = Some(seed);
        self.do_seed(number, actions, None)
    }

    fn operators(&self) -> Vec<PublicKey> {
        let mut operators = vec![self.operator.public()];
        if self.settings.trusting_nodes {
            operators.push(forger().public());
        }
        operators
    }

    fn seeds_of(&mut self, number: usize) -> Vec<SocketAddr> {
        if self.machines[number].medium.is_some() {
            return vec![address(number)];
        }
        let seeds = (0..self.machines.len()).filter(|seed| self.machines[*seed].medium.is_some());
        let seeds: Vec<_> = seeds.map(address).collect();
        if self.weather.is_unicast { seeds } else { Vec::new() }
    }

    pub(super) fn step_node(&mut self, number: usize, input: node::Input) -> Step {
        let now = self.machines[number].now(self.time);
        let Some(node) = &mut self.machines[number].node else { return Ok(()) };
        let actions = node.step(input, now);
        self.do_node(number, actions)
    }

    pub(super) fn step_seed(
        &mut self,
        number: usize,
        input: seed::Input,
        to: Option<usize>,
    ) -> Step {
        let now = self.machines[number].now(self.time);
        let Some(seed) = &mut self.machines[number].seed else { return Ok(()) };
        match seed.step(input, now) {
            Ok(actions) => self.do_seed(number, actions, to),
            Err(error) => {
                self.tell(|| format!("m{number} refuses a roster: {error}"));
                Ok(())
            }
        }
    }

    fn do_node(&mut self, number: usize, actions: Vec<node::Action>) -> Step {
        let starts = self.machines[number].starts;
        for action in actions {
            match action {
                node::Action::Save(saved) => {
                    let disk = Disk { node: Some(*saved), ..self.machines[number].disk.clone() };
                    if !self.write(number, disk)? {
                        return Ok(());
                    }
                }
                node::Action::Send(to, report) => self.send_report(number, to, report)?,
                node::Action::SetClock(wall) => {
                    let time = self.time;
                    self.tell(|| format!("m{number} sets its clock"));
                    self.check_clock(number, wall)?;
                    self.machines[number].clock.set(wall, time);
                }
                node::Action::Do(work) => {
                    let begun = self.machines[number].busy_until.max(self.time);
                    let done = begun + self.rng.range(50, 3_000);
                    self.machines[number].busy_until = done;
                    self.at(done, Event::Done { to: number, starts, work });
                }
                node::Action::Wake(mono) => self.wake(number, 0, mono),
            }
        }
        Ok(())
    }

    fn do_seed(&mut self, number: usize, actions: Vec<seed::Action>, to: Option<usize>) -> Step {
        for action in actions {
            match action {
                seed::Action::Save(saved) => {
                    let disk = Disk { seed: Some(*saved), ..self.machines[number].disk.clone() };
                    if !self.write(number, disk)? {
                        return Ok(());
                    }
                }
                seed::Action::Answer(answer) => {
                    let (Some(to), Some(key)) = (to, self.machines[number].key()) else { continue };
                    self.check_answer(number, to, &answer)?;
                    let peer = Peer { key, is_proven: self.machines[to].kind != Kind::Stranger };
                    self.send(number, to, Packet::Answer(peer, answer));
                }
                seed::Action::Beacon(beacon) => {
                    for to in (0..self.machines.len()).filter(|to| *to != number) {
                        self.send(number, to, Packet::Beacon(address(number), beacon));
                    }
                }
                seed::Action::Wake(mono) => self.wake(number, 1, mono),
                seed::Action::Deploy(formation, rows) => {
                    self.begin_deployment(number, formation, &rows)?;
                }
            }
        }
        Ok(())
    }

    fn wake(&mut self, to: usize, program: usize, mono: u64) {
        let machine = &mut self.machines[to];
        machine.wakes[program] += 1;
        let (starts, wake) = (machine.starts, machine.wakes[program]);
        let time = machine.clock.true_time(mono).max(self.time + 1);
        self.at(time, Event::Wake { to, starts, program, wake });
    }
}

/// The epoch that a forged roster says.
pub(super) const FORGED_EPOCH: u64 = 1_000_000;

/// Who signs forged rosters.
pub(super) fn forger() -> SecretKey {
    SecretKey::from_seed([66; 32], "forger")
}

/// The one cluster that there may be.
pub(super) const CLUSTER: Guid = Guid::literal(0x3f0c_9d7e_5b7b_4f6e_9a40_6d1f_6a3c_2b10);
