//! Starts, and waits for whatever happens.

mod operator;

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use coremax_channel::Credentials;
use coremax_node_api::{
    cluster_status::{ClusterStatus, SeedStatus},
    identity::Document,
    join::{
        Hardware, NodeKey, Now,
        node::{self, Node, Waits},
        seed::{self, Seed},
    },
    roster::signed,
    update::key::{self, PublicKey},
    wire,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    around::Around,
    beacons::Beacons,
    build,
    call::Call,
    certificates::Certificates,
    clock::{Clock, real},
    driver::{DEPLOY_PAUSE, Driver, Notes, Task},
    hardware, keys,
    leases::Leases,
    links,
    options::Options,
    public::{At, Public},
    roster_file::{RosterFile, makes_seed},
    seats::Seats,
    status::{Teller, counts},
    store::Store,
};
use crate::random;

/// How long nothing may happen before it looks around by itself.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// The daemon.
pub(super) struct Daemon {
    driver: Driver,
    options: Options,
    operators: Vec<PublicKey>,
    document: Document,
    hardware: Hardware,
    roster: RosterFile,
    /// The roster's file was not looked at yet.
    is_starting: bool,
    teller: Teller,
    public: Public,
}

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Beacons,
    Mesh,
    Door,
    Seat(u64),
    Call,
    Public(At),
}

impl Daemon {
    /// Begins where the last one was ended, by whatever.
    pub(super) fn start(options: Options, document: Document) -> Result<Self> {
        let operators = read_operators(&options)?;
        let store = Store::open(&options.state)?;
        let secret = store.secret()?;
        let key = secret.public();
        let links = links::links().context("asking the kernel for the machine's cards")?;
        let hardware = hardware::read(&options.dmi, &options.tpm, &links);
        let build = build::read(&options.root);
        let keys = keys::all(&document, &options.keys)?;
        let own = Arc::new(Credentials { cluster: document.cluster, secret, keys });
        let beacons = Beacons::open(options.port, options.interfaces.clone())
            .with_context(|| format!("opening UDP port {}", options.port))?;
        let clock = Clock { faster: options.faster };
        let saved = store.node()?;
        let config = node::Config {
            cluster: document.cluster,
            operators: operators.clone(),
            hardware: hardware.clone(),
            build: build.clone(),
            new_key: key,
            seeds: {
                let may_be_seed = store.seed()?.is_some()
                    || RosterFile::new(options.roster.clone()).makes_seed(&operators, &hardware);
                let own = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
                let others = seeds(&options, &document, &operators, saved.as_ref());
                may_be_seed.then_some(own).into_iter().chain(others).collect()
            },
            random: random::number()?,
            guards: Default::default(),
        };
        let (node, actions) = Node::start(config, saved, clock.now());
        let driver = Driver {
            node,
            seed: None,
            clock,
            leaves_clock: options.leaves_clock,
            store,
            certificates: Certificates::new(options.root.clone(), document.cluster),
            deployment: Default::default(),
            around: Around::new(document.cluster, options.port, build.image),
            own,
            beacons,
            leases: Leases::new(options.leases.clone(), options.named.clone()),
            seats: None,
            call: None,
            channel_until: 0,
            node_wakes: None,
            seed_wakes: None,
            tasks: VecDeque::new(),
            tasks_after: 0,
            notes: Notes::default(),
            heard: Default::default(),
            admitted: Default::default(),
            deploys: None,
            deploys_after: 0,
            deploy_pause: DEPLOY_PAUSE.0,
        };
        let roster = RosterFile::new(options.roster.clone());
        let (teller, public) = (Teller::default(), Public::new(&options.socket, options.http));
        let mut daemon = Self {
            driver,
            options,
            operators,
            document,
            hardware,
            roster,
            is_starting: true,
            teller,
            public,
        };
        daemon.driver.beacons.look();
        // First, so that this machine's own node finds it.
        daemon.resume_seed(key)?;
        daemon.look_at_roster()?;
        daemon.is_starting = false;
        daemon.driver.do_node(actions)?;
        // What a cut came into the middle of: certificates that were kept and not written, or a reset that left the join alone.
        let saved = daemon.driver.node.saved();
        if saved.held.is_some() && saved.prepared == saved.edition.epoch {
            daemon.driver.tasks.push_back(Task::Renew);
        }
        Ok(daemon)
    }

    /// Goes on for ever.
    pub(super) fn run(mut self) -> Result<()> {
        self.public.tidy(real());
        loop {
            self.look_at_roster()?;
            self.driver.hear_leases()?;
            self.driver.work()?;
            self.driver.wake()?;
            self.driver.work()?;
            self.teller.tell(self.status(), &self.options.status);
            for source in self.wait()? {
                match source {
                    Source::Beacons => self.driver.hear_beacons()?,
                    Source::Mesh => {
                        let now = self.driver.clock.now();
                        self.driver.around.mesh.hear(now.mono);
                    }
                    Source::Door => self.driver.seats.iter_mut().for_each(Seats::accept),
                    Source::Seat(id) => self.hear_seat(id)?,
                    Source::Call => self.driver.hear_call()?,
                    Source::Public(at) => self.public.go_on(at, self.teller.told()),
                }
            }
            self.public.tidy(real());
            self.driver.seats.iter_mut().for_each(Seats::tidy);
            self.driver.beacons.look();
        }
    }

    // The seed's side.

    /// Starts the seed that was there before.
    fn resume_seed(&mut self, key: NodeKey) -> Result<()> {
        match self.driver.store.seed()? {
            Some(saved) => {
                let admitted =
                    saved.members.iter().map(|(name, member)| (name.clone(), member.key));
                self.driver.admitted = admitted.collect();
                let roster = Arc::clone(&saved.roster);
                self.start_seed(key, &roster, Some(saved))
            }
            None => Ok(()),
        }
    }

    /// Takes in what the operator has put there: it makes this machine the seed, or is the seed's newer roster.
    fn look_at_roster(&mut self) -> Result<()> {
        let Some(read) = self.roster.changed() else { return Ok(()) };
        let path = self.roster.path.display().to_string();
        let taken = match read.context("reading it") {
            Ok(bytes) => self.take_roster(&bytes.into()),
            Err(error) => Err(error.context(NotTaken)),
        };
        self.driver.notes.roster = match taken {
            Err(error) if !is_of_roster(&error) => return Err(error),
            taken => taken.err().map(|error| format!("{path}: {error:#}")),
        };
        Ok(())
    }

    fn take_roster(&mut self, bytes: &Arc<[u8]>) -> Result<()> {
        if let Some(seed) = &self.driver.seed {
            let is_in = seed.saved().roster == *bytes;
            return if is_in { Ok(()) } else { self.take_newer(bytes) };
        }
        let roster = signed::open(bytes, &self.operators)?;
        let is_ours = roster.cluster == self.document.cluster;
        anyhow::ensure!(is_ours, anyhow::anyhow!("it is of another cluster").context(NotTaken));
        match makes_seed(&roster, &self.hardware) {
            true => self.start_seed(self.driver.own.secret.public(), bytes, None),
            false => Ok(()),
        }
    }

    fn start_seed(
        &mut self,
        key: NodeKey,
        roster: &Arc<[u8]>,
        saved: Option<seed::Saved>,
    ) -> Result<()> {
        if self.driver.node.waits() == Waits::ForeignDisk {
            return Ok(());
        }
        let port = self.options.port;
        let operators = self.operators.clone();
        let config = seed::Config { operators, key, port, guards: Default::default() };
        // Whatever fails before it is a seed is no half of one.
        self.driver.certificates.open_authority()?;
        let (seed, actions) = match Seed::start(config, roster, saved, self.driver.clock.now()) {
            Ok(started) => started,
            Err(error) => {
                // It is a node still, perhaps of another seed.
                self.driver.notes.roster = Some(format!("{:#}", anyhow::Error::from(error)));
                return Ok(());
            }
        };
        // For IPv4 too, unless there is no IPv6.
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("listening at TCP port {port}"))?;
        self.driver.seats = Some(Seats::new(listener, Arc::clone(&self.driver.own)));
        self.driver.seed = Some(seed);
        self.driver.furnish();
        self.driver.show_papers();
        self.driver.do_seed(actions, None)
    }

    // Waiting.

    fn wait(&self) -> Result<Vec<Source>> {
        let driver = &self.driver;
        let flags = |writes| if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut waits = driver
            .beacons
            .sockets()
            .map(|socket| (Source::Beacons, PollFd::new(socket, PollFlags::IN)))
            .collect::<Vec<_>>();
        let mesh = driver.around.mesh.socket();
        waits.extend(mesh.map(|mesh| (Source::Mesh, PollFd::new(mesh, PollFlags::IN))));
        if let Some(call) = &driver.call {
            waits.push((Source::Call, PollFd::new(call.stream(), flags(call.writes()))));
        }
        if let Some(seats) = &driver.seats {
            waits.push((Source::Door, PollFd::new(seats.listener(), PollFlags::IN)));
            let all = seats.all();
            waits.extend(all.map(|(id, stream, writes)| {
                (Source::Seat(id), PollFd::new(stream, flags(writes)))
            }));
        }
        waits.extend(self.public.waits().map(|(at, fd)| (Source::Public(at), fd)));
        let (sources, mut fds): (Vec<_>, Vec<_>) = waits.into_iter().unzip();
        let timeout = Timespec::try_from(self.timeout()).context("waiting")?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error)).context("waiting"),
        }
        let ready = fds.iter().zip(sources).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, source)| source).collect())
    }

    fn timeout(&self) -> Duration {
        let now = self.driver.clock.now();
        let mesh = self.driver.around.mesh.next();
        let wakes = [self.driver.node_wakes, self.driver.seed_wakes, mesh].into_iter().flatten();
        let wakes = wakes.map(|mono| self.driver.clock.until(mono, now));
        let overdue = self.driver.seats.as_ref().and_then(Seats::next_overdue);
        let tasks = (!self.driver.tasks.is_empty()).then_some(self.driver.tasks_after);
        let others = [overdue, tasks, self.public.next_overdue()].into_iter().flatten();
        let others = others.map(|at| Duration::from_millis(at.saturating_sub(real())));
        wakes.chain(others).fold(AT_LEAST_EVERY, Duration::min)
    }

    // Telling.

    fn status(&self) -> ClusterStatus {
        let Driver { node, notes, clock, .. } = &self.driver;
        let now = clock.now();
        let next_try = self.driver.node_wakes.map(|mono| {
            let wait = clock.until(mono, now).as_millis();
            now.wall.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX))
        });
        let problems = [
            &notes.work,
            &notes.roster,
            &notes.health,
            &notes.request,
            &notes.gift,
            &notes.authority,
        ];
        let others = [&notes.deployment, &notes.clock, &self.public.problem];
        let problems = problems.into_iter().chain(others);
        let problems: Vec<_> = problems.flatten().map(String::as_str).collect();
        let other = self.driver.beacons.other_version.map(|version| {
            let own = wire::VERSION;
            format!("a beacon is of version {version} of the protocol, and this program speaks version {own}")
        });
        ClusterStatus {
            key_id: Some(self.document.key_id),
            asks: notes.asked.map(|asked| asked.to_string()),
            channel: self.driver.call.as_ref().and_then(Call::speaks),
            // To the second: what is written is read by people, and not more often than it changes for them.
            next_try: next_try.map(|wall| wall - wall.rem_euclid(1000)),
            hint: notes.hint.text().cloned().or(other),
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
            seed: self.driver.seed.as_ref().map(|seed| self.seed_status(seed, now)),
            ..ClusterStatus::of(node, self.document.cluster, now)
        }
    }

    fn seed_status(&self, seed: &Seed, now: Now) -> SeedStatus {
        let seats = self.driver.seats.as_ref();
        SeedStatus {
            turned_away: seats.map(|seats| counts(&seats.turned_away)).unwrap_or_default(),
            ..SeedStatus::of(seed, &self.driver.heard, now)
        }
    }
}

/// A roster that is none for this machine: a note for the operator, where any other failure ends the program.
#[derive(Debug, thiserror::Error)]
#[error("it is not taken")]
struct NotTaken;

fn is_of_roster(error: &anyhow::Error) -> bool {
    error.is::<NotTaken>() || error.is::<seed::Error>() || error.is::<signed::Error>()
}

fn read_operators(options: &Options) -> Result<Vec<PublicKey>> {
    let failed = || {
        let path = options.operators.display();
        format!(
            "reading the operator's keys in {path}: an image has them by update-key in its recipe's [root]"
        )
    };
    let text = std::fs::read_to_string(&options.operators).with_context(failed)?;
    key::parse_public(&text).with_context(failed)
}

/// Where a seed may be, as the operator says.
fn seeds(
    options: &Options,
    document: &Document,
    operators: &[PublicKey],
    saved: Option<&node::Saved>,
) -> Vec<SocketAddr> {
    let at = |address: Ipv4Addr| SocketAddr::from((address, options.port));
    let named = document.seeds.iter().map(|address| at(*address));
    let roster = saved.and_then(|saved| signed::open(saved.roster.as_deref()?, operators).ok());
    let row = roster.as_ref().and_then(|roster| roster.node(&roster.seed));
    let known = row.map(|row| at(row.address));
    let mut seeds = Vec::new();
    for seed in options.seeds.iter().copied().chain(named).chain(known) {
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
    }
    seeds
}
