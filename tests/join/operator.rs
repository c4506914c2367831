//! What an operator does with a cluster that runs, from a machine that is none of its own: by the command, over the network.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
};

use coremax_cluster::seed::Line;
use coremax_node_api::{
    cluster_status::{ClusterStatus, Wait},
    identity::Document,
    join::{Edition, Phase},
    roster::{Match, Role},
    update::key::SecretKey,
    wire::{Approval, Ask, SignedApproval},
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, Ran, coremax, expect, ran, switch::enter};

use crate::{
    Stage,
    cluster::{Cluster, Keys, address, mac},
    network::ip,
    site::{Site, until},
};

/// The number of the operator's own machine.
const DESK: u8 = 200;

/// The operator, on the network and with files.
struct Desk {
    namespace: String,
    folder: PathBuf,
    seed: String,
}

pub(crate) fn approve(stage: &Stage) -> Outcome {
    let mut site = stage.site("approve", four_of_which_one_is_unknown())?;
    let desk = Desk::new(&site, &stage.folder.path().join("approve-desk"))?;
    for number in [2, 3, 5] {
        site.add(number, &site.cluster.identity(&[site.cluster.address(1)]))?;
    }
    site.add_seed()?;
    let mut status = None;
    site.until("the unknown machine is the only one that is missing", |_| {
        status = desk.status().and_then(|status| status.seed);
        Ok(status.as_ref().is_some_and(|seed| {
            seed.waiting.len() == 1
                && seed.obstacles == ["0 workers are ready, and 1 are the minimum"]
        }))
    })?;
    let seed = status.ok_or("no status")?;
    let machine = &seed.waiting[0];
    let page = desk.ask("status", &[]).told()?;
    for want in
        ["gathering", "3 of 4 are ready", "no machine yet", &machine.fingerprint.to_string()]
    {
        expect(page.contains(want), || format!("{want} is not in {page}"))?;
    }
    expect(page.lines().all(|line| line.len() <= 80), || format!("too wide: {page}"))?;
    let fails = desk.ask("status", &["--wait", "formed", "--timeout", "1"]).fails("not so far")?;
    expect(fails.contains("0 workers are ready"), || fails.clone())?;

    let approve = |machine: &str, name: &str, key| {
        desk.ask("approve", &[machine, name, "--key", &desk.path(key)])
    };
    let own = mac(5).to_string();
    approve(&own, "worker-4", "other.key").fails("not signed with the key of an operator")?;
    approve(&own, "worker-9", "operator.key").fails("there is no such row")?;
    approve(&own, "control-2", "operator.key").fails("a controller is named in the roster")?;
    approve("02:00:00:00:00:63", "worker-4", "operator.key").fails("no machine waits")?;
    let cluster = site.cluster.roster.cluster;
    let approval = |edition| Approval {
        cluster,
        edition,
        node: machine.key,
        name: "worker-4".parse().expect("a name"),
    };
    let operator = site.cluster.operator_key();
    let operator =
        coremax_node_api::update::key::parse_secret(&operator).map_err(|e| e.to_string())?;
    for edition in
        [Edition { epoch: 2, ..seed.edition }, Edition { digest: [7; 32], ..seed.edition }]
    {
        let signed = approval(edition).sign(&operator);
        desk.says(&signed)?.fails("the approval is of roster")?;
    }
    expect(
        desk.status().and_then(|status| status.seed).is_some_and(|now| now.waiting == seed.waiting),
        || "something was approved".into(),
    )?;

    let print = machine.fingerprint.to_string();
    let told = approve(&print[..9], "worker-4", "operator.key").told()?;
    expect(told.contains("it has its row"), || told.clone())?;
    // As networkd would: by what the node has written, which is of the card that it has and not of the row's.
    let row = format!("{}/16", address(4));
    let written = "root/etc/systemd/network/10-coremax-api.network";
    site.until("the row's address is on a card of the machine", |site| {
        let text = site.machine(5).read(written);
        let is_there = |line: &str| text.lines().any(|found| found == line);
        Ok(is_there(&format!("PermanentMACAddress={own}")) && is_there(&format!("Address={row}")))
    })?;
    let namespace = site.machine(5).namespace().to_owned();
    ip(&["-n", &namespace, "addr", "add", &row, "dev", "eth0"])?;
    desk.ask("status", &["--wait", "formed"]).told()?;
    site.is_formed()?;
    site.agree()?;
    // Who repeats it gets nobody another row.
    desk.says(&approval(seed.edition).sign(&operator))?.fails("the machine has a row")?;
    Ok(())
}

pub(crate) fn replace(stage: &Stage) -> Outcome {
    let mut site = stage.site("replace", Cluster::of(4))?;
    let desk = Desk::new(&site, &stage.folder.path().join("replace-desk"))?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add_seed()?;
    for number in 2..=4 {
        site.add(number, &identity)?;
    }
    site.is_formed()?;
    site.machine(4).kill()?;

    let (roster, signed) = (desk.path("cluster.toml"), desk.path("cluster.coremax-roster"));
    let (key, first) = (desk.path("operator.key"), site.cluster.signed()?);
    let sign = || desk.run(&["sign", &roster, "--key", &key]);
    sign().told()?;
    expect(fs::read(&signed).ok().as_ref() == Some(&first), || "it is another roster".into())?;
    let told = desk.run(&["replace", &roster, "worker-4", "--mac", &mac(5).to_string()]).told()?;
    for want in ["- epoch = 1", "+ epoch = 2", "+ generation = 1", "coremax cluster put"] {
        expect(told.contains(want), || format!("{want} is not in {told}"))?;
    }
    desk.ask("put", &[&roster]).fails("sign it")?;
    sign().told()?;
    desk.ask("put", &[&signed]).told()?;
    let second = fs::read(&signed).map_err(|error| error.to_string())?;
    let is_kept =
        |site: &mut Site| fs::read(site.machine(1).path("roster")).ok().as_ref() == Some(&second);
    expect(is_kept(&mut site), || "the roster's file is the one before".into())?;
    // Again, it is in already; the one before, it is older.
    desk.ask("put", &[&signed]).told()?;
    fs::write(&signed, &first).map_err(|error| error.to_string())?;
    let older = desk.ask("put", &[&signed]).fails("the roster is of epoch 1")?;
    expect(older.contains("raise the epoch"), || older.clone())?;

    site.add(5, &identity)?;
    site.until("the new machine has the row", |site| {
        let status = site.machine(5).status();
        Ok(status.is_some_and(|status| {
            status.name.is_some_and(|name| name.as_ref() == "worker-4")
                && status.phase >= Phase::Prepared
        }))
    })?;
    site.machine(4).start()?;
    site.until("the one before is told that it is out", |site| {
        let waits = site.machine(4).status().map(|status| status.waits);
        Ok(matches!(waits, Some(Wait::Refused { why }) if why.starts_with("revoked")))
    })?;

    // What came by the channel holds like what came by file, also where a cut left the file as it was before.
    site.machine(1).kill()?;
    fs::write(site.machine(1).path("roster"), &first).map_err(|error| error.to_string())?;
    site.machine(1).start()?;
    let mut status = None;
    site.until("the seed is there again", |_| {
        status = desk.status();
        Ok(status.is_some())
    })?;
    let status = status.ok_or("no status")?;
    let epoch = status.seed.as_ref().map(|seed| seed.edition.epoch);
    expect((epoch, &status.problem) == (Some(2), &None), || format!("{status:?}"))?;
    expect(is_kept(&mut site), || "the roster's file is older than what holds".into())
}

pub(crate) fn outsiders(stage: &Stage) -> Outcome {
    let mut site = stage.site("operators", Cluster::of(3))?;
    let desk = Desk::new(&site, &stage.folder.path().join("operators-desk"))?;
    site.add_seed()?;
    site.add(2, &site.cluster.identity(&[site.cluster.address(1)]))?;
    until("the seed answers", || Ok(desk.status().is_some()))?;
    let other = Cluster::of(3);
    let media = [
        (site.cluster.identity_with(Keys::Wrong, &[]), "bad-key"),
        (site.cluster.identity_with(Keys::Unknown, &[]), "unknown-key"),
        (other.identity(&[]), "other-cluster"),
    ];
    for (identity, want) in media {
        fs::write(desk.path("cluster.identity.json"), identity)
            .map_err(|error| error.to_string())?;
        for ask in ["status", "put"] {
            let more =
                if ask == "put" { vec![desk.path("cluster.coremax-roster")] } else { Vec::new() };
            fs::write(desk.path("cluster.coremax-roster"), "x")
                .map_err(|error| error.to_string())?;
            let more: Vec<_> = more.iter().map(String::as_str).collect();
            let said = desk.ask(ask, &more).fails(want)?;
            let is_hinted = said.contains("hint: give the file of the key");
            expect(is_hinted && !said.contains("control-"), || {
                format!("{ask} with {want}: {said}")
            })?;
        }
    }
    // Only the seed answers.
    let node = Desk { seed: site.cluster.address(2).to_string(), ..desk };
    node.ask("status", &[]).fails("nobody listens there")?;
    Ok(())
}

/// Three controllers, and a worker whose row means a machine that there is not.
fn four_of_which_one_is_unknown() -> Cluster {
    let mut cluster = Cluster::of(4);
    cluster.roster.nodes[3].matches = Some(Match::Mac(mac(99)));
    cluster
}

impl Desk {
    fn new(site: &Site, folder: &Path) -> Result<Self, String> {
        let cluster = &site.cluster;
        let write = || {
            fs::create_dir_all(folder)?;
            fs::write(folder.join("cluster.identity.json"), cluster.identity(&[]))?;
            fs::write(folder.join("operator.key"), cluster.operator_key())?;
            let other = SecretKey::from_seed(rand::random(), "another operator");
            fs::write(folder.join("other.key"), other.to_line())?;
            fs::write(folder.join("cluster.toml"), toml(cluster))
        };
        write().map_err(|error| format!("{}: {error}", folder.display()))?;
        let namespace = site.network.add(DESK)?;
        Ok(Self { namespace, folder: folder.to_owned(), seed: cluster.address(1).to_string() })
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Runs `coremax cluster`.
    fn run(&self, arguments: &[&str]) -> Ran {
        let command = Cmd::new("ip", &Sandbox::host()).args(["netns", "exec", &self.namespace]);
        ran(command.arg(coremax()).arg("cluster").args(arguments))
    }

    /// Asks the seed.
    fn ask(&self, verb: &str, more: &[&str]) -> Ran {
        let identity = self.path("cluster.identity.json");
        let whom = [verb, &self.seed, "--identity", &identity];
        self.run(&[&whom[..], more].concat())
    }

    fn status(&self) -> Option<ClusterStatus> {
        let ran = self.ask("status", &["--json"]);
        ClusterStatus::parse(ran.out.as_bytes()).ok().filter(|_| ran.ok)
    }

    /// Says an approval that the command would not.
    fn says(&self, approval: &SignedApproval) -> Result<Ran, String> {
        let document =
            fs::read(self.path("cluster.identity.json")).map_err(|error| error.to_string())?;
        let document = Document::parse(&document).map_err(|error| error.to_string())?;
        let place = self.seed.parse().map_err(|error| format!("{}: {error}", self.seed))?;
        let (path, approval) = (format!("/run/netns/{}", self.namespace), approval.clone());
        let says = thread::spawn(move || {
            enter(&path).map_err(|error| error.to_string())?;
            let mut line = Line::open(&place, &document).map_err(|error| error.to_string())?;
            line.have(Ask::Approve(approval)).map_err(|error| error.to_string())
        });
        let said = says.join().map_err(|_| "the operator panicked")?;
        Ok(Ran { ok: said.is_ok(), out: String::new(), err: said.err().unwrap_or_default() })
    }
}

/// What came of the command.
trait Came {
    fn told(self) -> Result<String, String>;
    fn fails(self, why: &str) -> Result<String, String>;
}

impl Came for Ran {
    fn told(self) -> Result<String, String> {
        if self.ok { Ok(self.out) } else { Err(self.err) }
    }

    fn fails(self, why: &str) -> Result<String, String> {
        let said = self.err.split_whitespace().collect::<Vec<_>>().join(" ");
        expect(!self.ok && said.contains(why), || {
            format!("it was not refused with {why:?}: {}{said}", self.out)
        })?;
        Ok(said)
    }
}

/// The roster as an operator writes it.
fn toml(cluster: &Cluster) -> String {
    let roster = &cluster.roster;
    let mut text = format!(
        "# A cluster.\nformat = 1\ncluster = \"{}\"\nepoch = {} # raised with every change\nseed = \"{}\"\nsubnet = \"{}\"\nvip = \"{}\"\n\
         minimum-workers = {}\n",
        roster.cluster,
        roster.epoch,
        roster.seed,
        roster.subnet,
        roster.vip,
        roster.minimum_workers
    );
    for row in &roster.nodes {
        let role = if row.roles.contains(&Role::Control) { "control" } else { "worker" };
        let mac = match &row.matches {
            Some(Match::Mac(mac)) => format!("match = {{ mac = \"{mac}\" }}\n"),
            _ => String::new(),
        };
        let (name, address) = (&row.name, row.address);
        let _ = write!(
            text,
            "[[node]]\nname = \"{name}\"\nroles = [\"{role}\"]\naddress = \"{address}\"\n{mac}"
        );
    }
    text
}
