//! The join, over a real network: daemons in network namespaces on one switch form one cluster, whoever is killed and
//! whoever else is on the wire.
//!
//! The join's own minutes pass ten times as fast, or tests would wait for them; nothing else is other than on a machine.

mod cluster;
mod gates;
mod machine;
mod network;
mod openstack;
mod operator;
mod public;
mod site;
mod strangers;
mod tls;
mod told;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use coremax_node_api::{
    cluster_status::Wait,
    identity::openstack::{META_DATA, META_KEY},
    join::{Phase, STABLE_FOR},
};
use coremax_tests::{Outcome, Sentence, expect, files, full, skip_all, switch::Line, tell};

use cluster::{Cluster, Keys};
use network::{Neighbours, Network, ip};
use site::Site;
use strangers::Strangers;

const STORY: [Sentence<Stage>; 21] = [
    ("three machines that hear of a seed form one cluster, and go on after they are killed", form),
    ("a newer roster reaches all of them when it is put on the seed", newer_roster),
    ("machines that are alike have their rows by their MACs", pool),
    ("a machine that hears no beacon finds the seed by its DHCP lease", hinted),
    ("a machine that hears no beacon finds the seed by its kernel's command line", told::named),
    (
        "a machine that was booted over the network is told by the server that its command line names",
        told::served,
    ),
    (
        "a server of OpenStack's is told by its metadata service, and no other machine asks that",
        metadata,
    ),
    ("a seed that is killed at each of its writes forms the same one", killed_seed),
    ("a card with a smaller MTU keeps a cluster waiting until it is put right", gates::narrow_card),
    ("a cluster waits for the registry that its roster names", gates::late_registry),
    ("without its key, and with another cluster's, nobody gets in or learns a name", outsiders),
    ("a copy of a disk does nothing in another machine", copied_disk),
    ("a machine that was cut off joins over lines that lose, delay and double frames", bad_lines),
    ("strangers by the thousand do not keep a machine out", strangers_at_the_door),
    (
        "fifty machines form one cluster over lines that lose and delay frames, each in less than 8 MiB",
        fifty,
    ),
    (
        "an unknown machine waits, is approved by the operator's word alone, and is a node",
        operator::approve,
    ),
    ("a dead machine is replaced, and stays out when it comes back", operator::replace),
    (
        "nodes that have their certificates speak TLS, nobody is let in there without one, and who loses it gets another",
        tls::speak,
    ),
    ("who has not the cluster's key is told nothing of it, and why", operator::outsiders),
    ("a machine gives its status to whoever is on it, however many others ask", public::asked),
    ("no key is in anything that was written", no_key_is_written),
];

/// What a daemon may keep in memory, in KiB.
const MEMORY_MAX: u64 = 8 << 10;
/// What a seed of three machines may keep open: 128 connections that proved nothing, and a few of its own.
const DESCRIPTORS_MAX: usize = 160;

/// Where the story plays.
struct Stage {
    folder: tempfile::TempDir,
}

fn main() -> ExitCode {
    let stage = Stage { folder: tempfile::tempdir().expect("a temporary folder") };
    if let Err(why) = network::probe() {
        return skip_all(&STORY, &why);
    }
    tell(&STORY, &stage)
}

impl Stage {
    fn site(&self, name: &str, cluster: Cluster) -> Result<Site, String> {
        Ok(Site::new(Network::new()?, &self.folder.path().join(name), cluster))
    }

    /// The same with lines that are not perfect.
    fn site_of(&self, name: &str, cluster: Cluster, line: Line) -> Result<Site, String> {
        Ok(Site::new(Network::spoilt(line)?, &self.folder.path().join(name), cluster))
    }
}

fn form(stage: &Stage) -> Outcome {
    let mut site = stage.site("form", Cluster::of(3))?;
    // One was told where the seed is, one hears it and has a key of its own; they are there before it is.
    let seed = site.cluster.address(1);
    site.add(2, &site.cluster.identity(&[seed]))?;
    let own = site.cluster.identity_with(Keys::Unknown, &[]);
    site.add(3, &own)?;
    site.add_seed_that_knows(Some(&own))?;
    site.is_formed()?;
    site.agree()?;
    site.have_certificates()?;
    for number in 1..=3 {
        site.machine(number).kill()?;
    }
    for number in 1..=3 {
        site.machine(number).start()?;
    }
    site.is_formed()?;
    site.agree()?;
    site.is_small()?;
    let status = fs::metadata(site.machine(2).path("join.json")).map_err(|e| e.to_string())?;
    expect(machine::mode(&status) == 0o644, || "the status is not for everybody".into())?;
    let state = fs::metadata(site.machine(2).path("state")).map_err(|e| e.to_string())?;
    expect(machine::mode(&state) == 0o700, || "the state is not for root alone".into())
}

fn newer_roster(stage: &Stage) -> Outcome {
    let mut site = stage.site("newer", Cluster::of(3))?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add_seed()?;
    site.add(2, &identity)?;
    site.add(3, &identity)?;
    site.is_formed()?;
    site.cluster.roster.epoch = 2;
    site.cluster.roster.vip = cluster::address(253);
    site.put_in_roster()?;
    site.until("all have the roster of epoch 2", |site| {
        let epochs = (1..=3).map(|number| site.machine(number).status().map(|status| status.epoch));
        Ok(epochs.collect::<Vec<_>>() == [Some(2); 3])
    })?;
    // An older one again is refused, and that is said.
    site.cluster.roster.epoch = 1;
    site.put_in_roster()?;
    site.until("the seed refuses it", |site| {
        let problem = site.machine(1).status().and_then(|status| status.problem);
        Ok(problem.is_some_and(|problem| problem.contains("the roster is of epoch 1")))
    })?;
    site.agree()
}

fn pool(stage: &Stage) -> Outcome {
    let mut site = stage.site("pool", Cluster::pool(5))?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    for number in [5, 3, 2, 4] {
        site.add(number, &identity)?;
    }
    site.add_seed()?;
    site.is_formed()?;
    site.agree()
}

fn hinted(stage: &Stage) -> Outcome {
    let mut site = stage.site("hinted", Cluster::of(3))?;
    let identity = site.cluster.identity(&[]);
    site.add_seed()?;
    site.prepare(2, &identity)?;
    site.machine(2).hears_no_beacon();
    site.machine(2).start()?;
    site.add(3, &identity)?;
    site.until("the other one has its name", |site| {
        Ok(site.machine(3).status().is_some_and(|status| status.name.is_some()))
    })?;
    let status = site.machine(2).status().ok_or("no status")?;
    expect(status.asks.is_none(), || format!("it knows whom to ask: {status:?}"))?;
    let seed = u32::from(site.cluster.address(1));
    let lease = format!("OPTION_224={seed:08x}\nNEXT_SERVER={}\n", cluster::address(99));
    let leases = site.machine(2).path("leases");
    let written = fs::create_dir_all(&leases).and_then(|()| fs::write(leases.join("2"), lease));
    written.map_err(|error| format!("{}: {error}", leases.display()))?;
    site.is_formed()?;
    site.agree()
}

fn metadata(_: &Stage) -> Outcome {
    let (network, cluster) = (Network::new()?, Cluster::of(3));
    let document = cluster.identity(&[cluster.address(1)]);
    let meta = serde_json::json!({"uuid": "x", "meta": {META_KEY: document}}).to_string();
    let asked = openstack::service(&network, 8, vec![(format!("/{META_DATA}"), meta)])?;
    let namespace = network.add(2)?;
    ip(&["-n", &namespace, "route", "add", "169.254.0.0/16", "dev", "eth0"])?;
    let refused = openstack::identify(&namespace, "PowerEdge R640", "quiet");
    let is_untold = refused.as_ref().is_err_and(|why| why.contains("nobody told this machine"));
    expect(is_untold, || format!("{refused:?}"))?;
    let so_far = asked.load(Ordering::Relaxed);
    expect(so_far == 0, || format!("it was asked {so_far} times by another machine"))?;
    let said = openstack::identify(&namespace, "OpenStack Nova", "quiet")?;
    openstack::is_told(&said, "metadata", &cluster.roster.cluster.to_string())?;
    // Its two files, once.
    let so_far = asked.load(Ordering::Relaxed);
    expect(so_far == 2, || format!("it was asked {so_far} times"))
}

fn killed_seed(stage: &Stage) -> Outcome {
    let mut site = stage.site("killed", Cluster::of(5))?;
    let seed = site.cluster.address(1);
    site.add_seed()?;
    let mut members = site.members()?;
    let mut kills = 0;
    for number in 2..=5 {
        site.add(number, &site.cluster.identity(&[seed]))?;
    }
    while members.len() < 5 {
        let before = site.machine(1).read("state/seed.json");
        site.until("the seed writes something", |site| {
            Ok(site.machine(1).read("state/seed.json") != before)
        })?;
        site.machine(1).kill()?;
        kills += 1;
        let now = site.members()?;
        let is_kept = members.iter().all(|member| now.contains(member));
        expect(is_kept, || format!("after kill {kills} {members:?} became {now:?}"))?;
        members = now;
        site.machine(1).start()?;
    }
    site.is_formed()?;
    site.agree()?;
    expect(kills > 0 && site.members()? == members, || "the rows have other machines now".into())
}

/// Of the seed a stranger may learn what its certificate shows, once it has one: SECURITY.md. These ask in the channel.
fn outsiders(stage: &Stage) -> Outcome {
    let mut site = stage.site("outsiders", Cluster::of(3))?;
    let seed = site.cluster.address(1);
    site.add_seed()?;
    let other = Cluster::of(3);
    for (number, identity, hint) in [
        (2, site.cluster.identity_with(Keys::Wrong, &[seed]), "bad-key"),
        (3, site.cluster.identity_with(Keys::Unknown, &[seed]), "unknown-key"),
        (4, other.identity(&[seed]), "other-cluster"),
    ] {
        site.add(number, &identity)?;
        site.until(&format!("machine {number} is told {hint}"), |site| {
            Ok(site.machine(number).status().is_some_and(|status| {
                status.hint.is_some_and(|said| said.contains("unproven") && said.contains(hint))
            }))
        })?;
        let status = site.machine(number).status().ok_or("no status")?;
        let knows = status.phase > Phase::Networked || status.name.is_some() || status.epoch > 0;
        expect(!knows && status.waits == Wait::Seed, || format!("it acted on it: {status:?}"))?;
        let folder = site.machine(number).path("");
        let learnt = files_with(&folder, &[b"control-", b"Y29yZW1heC1yb3N0ZXI".as_slice()])?;
        expect(learnt.is_empty(), || format!("machine {number} has learnt a name: {learnt:?}"))?;
    }
    let seed = site.machine(1).status().and_then(|status| status.seed).ok_or("no status")?;
    let members: Vec<_> = site.members()?.into_iter().map(|(name, _)| name).collect();
    expect(members == ["control-1"] && seed.waiting.is_empty(), || {
        format!("{members:?}: {seed:?}")
    })?;
    site.until("the seed has counted all three", |site| {
        let seed = site.machine(1).status().and_then(|status| status.seed);
        let counted = seed.map(|seed| seed.turned_away).unwrap_or_default();
        Ok(["bad-key", "unknown-key", "other-cluster"].iter().all(|why| counted.contains_key(*why)))
    })
}

fn copied_disk(stage: &Stage) -> Outcome {
    let mut site = stage.site("copied", Cluster::of(3))?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add_seed()?;
    site.add(2, &identity)?;
    site.add(3, &identity)?;
    site.is_formed()?;
    site.prepare(4, &identity)?;
    machine::copy(&site.machine(2).path("state"), &site.machine(4).path("state"))?;
    site.machine(4).start()?;
    site.until("the copy says that its disk is another machine's", |site| {
        let status = site.machine(4).status();
        Ok(status.is_some_and(|status| status.waits == Wait::ForeignDisk))
    })?;
    site.is_formed()
}

fn strangers_at_the_door(stage: &Stage) -> Outcome {
    let count = if full().is_ok() { 10_000 } else { 3_000 };
    let mut site = stage.site("strangers", Cluster::of(3))?;
    let seed = site.cluster.address(1);
    site.add_seed()?;
    site.add(2, &site.cluster.identity(&[seed]))?;
    let strangers = Strangers::come(&site.network, 9, &site.cluster, count)?;
    strangers.are_under_way()?;
    // Whoever floods beacons leads machines astray that were not told where the seed is.
    site.add(3, &site.cluster.identity(&[seed]))?;
    site.until("the machine has its name", |site| {
        Ok(site.machine(3).status().is_some_and(|status| status.name.is_some()))
    })?;
    let came = strangers.so_far();
    expect(came < count, || format!("all {count} strangers had gone before it came"))?;
    let mut most = 0;
    site.until("the last stranger has come", |site| {
        most = most.max(site.machine(1).descriptors()?);
        Ok(strangers.so_far() >= count)
    })?;
    expect((20..DESCRIPTORS_MAX).contains(&most), || format!("the seed had {most} descriptors"))?;
    strangers.have_gone()?;
    site.is_formed()?;
    site.agree()?;
    site.is_small()?;
    let seed = site.machine(1).status().and_then(|status| status.seed).ok_or("no status")?;
    let turned_away: u64 = seed.turned_away.values().sum();
    let kinds =
        ["garbage", "other-version", "other-cluster", "bad-key", "bad-certificate", "given-up"];
    let is_all = kinds.iter().all(|kind| seed.turned_away.contains_key(*kind));
    expect(is_all && turned_away * 2 > count as u64, || format!("{count}: {:?}", seed.turned_away))
}

fn bad_lines(stage: &Stage) -> Outcome {
    let ms = Duration::from_millis;
    let line = Line { loss: 0.03, doubled: 0.05, latency: ms(3), jitter: ms(3) };
    let mut site = stage.site_of("lines", Cluster::of(3), line)?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add_seed()?;
    site.prepare(3, &identity)?;
    site.network.cut(&[3]);
    site.machine(3).start()?;
    site.add(2, &identity)?;
    site.until("the other one has its name", |site| {
        Ok(site.machine(2).status().is_some_and(|status| status.name.is_some()))
    })?;
    site.until("frames have met the cut", |site| Ok(site.network.switch().counts().cut > 0))?;
    let status = site.machine(3).status().ok_or("no status")?;
    expect(status.name.is_none() && status.waits == Wait::Seed, || format!("{status:?}"))?;
    site.network.cut(&[]);
    site.is_formed()?;
    site.agree()?;
    let counts = site.network.switch().counts();
    expect(counts.lost > 0 && counts.doubled > 0, || format!("the lines are good: {counts:?}"))
}

fn fifty(stage: &Stage) -> Outcome {
    full()?;
    let _room = Neighbours::of(50)?;
    // Two lines between two machines: 1 % is lost, and 5 ms it takes, more or less.
    let (latency, jitter) = (Duration::from_micros(2500), Duration::from_millis(1));
    let line = Line { loss: 0.005, latency, jitter, ..Line::default() };
    let mut site = stage.site_of("fifty", Cluster::of(50), line)?;
    let identity = site.cluster.identity(&[]);
    for number in 2..=50 {
        site.prepare(number, &identity)?;
    }
    let began = Instant::now();
    site.add_seed()?;
    for number in 2..=50 {
        site.machine(number).start()?;
    }
    let started = began.elapsed();
    site.is_formed()?;
    tell_times(began.elapsed(), started);
    site.agree()?;
    let counts = site.network.switch().counts();
    println!("         {counts:?}");
    expect(counts.lost > 0, || "nothing was lost".into())?;
    site.is_small()
}

/// No verdict: how fast it is hangs on the machine, and on who else is at work there.
fn tell_times(all: Duration, started: Duration) {
    let pace = machine::pace();
    let stable = Duration::from_millis(STABLE_FOR) / pace;
    let all = all.as_secs_f64();
    println!(
        "         formed {all:.1} s after the first was started, the last {:.1} s after it; {:.1} s of these the cluster has to \
         be well without a break, {:.1} s are left; the join's clock is {pace} times the machine's",
        started.as_secs_f64(),
        stable.as_secs_f64(),
        all - stable.as_secs_f64(),
    );
}

fn no_key_is_written(stage: &Stage) -> Outcome {
    let all = cluster::secrets();
    expect(!all.is_empty(), || "no sentence before has made a key".into())?;
    let secrets: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let found = files_with(stage.folder.path(), &secrets)?;
    let (media, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|path| path.ends_with(".identity.json"));
    expect(!media.is_empty(), || "the search finds not even the media".into())?;
    expect(others.is_empty(), || format!("the key is in {others:?}"))?;
    // Nor is a machine's own secret, or the authority's, in any other file than its own.
    let own = machine::secrets(stage.folder.path())?;
    let own: Vec<&[u8]> = own.iter().map(Vec::as_slice).collect();
    let found = files_with(stage.folder.path(), &own)?;
    let is_own = |path: &String| machine::SECRETS.iter().any(|name| path.ends_with(name));
    let (places, found): (Vec<_>, Vec<_>) = found.into_iter().partition(is_own);
    let kinds =
        machine::SECRETS.iter().filter(|name| places.iter().any(|path| path.ends_with(**name)));
    expect(kinds.count() == machine::SECRETS.len() && found.is_empty(), || {
        format!("a machine's secret is in {found:?}")
    })
}

/// The files below a folder in which one of these is.
fn files_with(folder: &Path, needles: &[&[u8]]) -> Result<Vec<String>, String> {
    let all = files(folder);
    expect(!all.is_empty(), || format!("nothing is in {}", folder.display()))?;
    let mut found = Vec::new();
    for path in all {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let has = |needle: &&[u8]| bytes.windows(needle.len()).any(|window| window == *needle);
        if needles.iter().any(has) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}
