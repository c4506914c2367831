//! What goes wrong with machines: power, disks, clocks, and death.

use coremax_node_api::{
    cluster_status::{ClusterStatus, Wait},
    join::Phase,
};
use coremax_tests::{Outcome, expect, full};

use crate::{
    Stage, image,
    node::{Medium, Node, copy, mac},
    operator::{Operator, Preset},
    site::Site,
};

impl Stage {
    fn full_site(&self, name: &str, preset: Preset) -> Result<Site, String> {
        full()?;
        self.site.take(); // two clusters at once are too many machines
        let image = image::built(&self.work)?;
        Site::new(Operator::new(&self.work.join(name), preset)?, &image)
    }
}

/// One machine has its name, and the others have none, when the seed loses its power.
pub(crate) fn cut_seed(stage: &Stage) -> Outcome {
    let mut site = stage.full_site("cut-seed", Preset::OpenStack)?;
    site.start(&Node::new(1, Medium::Volume))?;
    site.start(&Node::new(2, Medium::FwCfg))?;
    site.until("machine 2 has its name", &[1, 2], |all| all[1].name.is_some())?;
    site.cut(1);
    site.start(&Node::new(3, Medium::ConfigDrive))?;
    site.start(&Node::new(1, Medium::Volume))?;
    site.are_formed(&[1, 2, 3])?;
    site.agree(&[1, 2, 3])
}

/// What passes by itself is held: the machine waits for its row in `discovered`, cannot write its files in `timesynced`, and
/// for the third controller in `ready`.
pub(crate) fn cut_worker(stage: &Stage) -> Outcome {
    let mut site = stage.full_site("cut-worker", Preset::OneWorker)?;
    site.start(&Node::new(1, Medium::Volume))?;
    site.start(&Node::new(2, Medium::FwCfg))?;
    let worker = Node::new(7, Medium::FwCfg);
    let waits = |all: &[ClusterStatus]| all[0].waits == Wait::Approval;
    for phase in ["identified", "networked", "discovered"] {
        site.start(&worker)?;
        site.cut_when(7, phase)?;
    }
    site.start(&worker)?;
    site.until("it waits for its place", &[7], waits)?;
    site.guest(7)?
        .runs("mv /etc/hosts /etc/hosts.away && mkdir -p /etc/hosts/in-the-way && sync")?;
    let desk = site.desk()?;
    site.operator.approve(&desk, &mac(7), "worker-1")?;
    site.cut_when(7, "enrolled")?;
    site.start(&worker)?;
    site.cut_when(7, "timesynced")?;
    site.start(&worker)?;
    site.guest(7)?.runs("rm -r /etc/hosts")?;
    site.cut_when(7, "prepared")?;
    site.start(&worker)?;
    site.cut_when(7, "ready")?;
    site.start(&Node::new(3, Medium::FwCfg))?;
    for phase in ["deploying", "formed"] {
        site.start(&worker)?;
        site.cut_when(7, phase)?;
    }
    site.start(&worker)?;
    site.are_formed(&[1, 2, 3, 7])?;
    site.agree(&[1, 2, 3, 7])
}

/// The copy has all the keys, and other hardware.
pub(crate) fn copied_disk(stage: &Stage) -> Outcome {
    full()?;
    let mut site = stage.site()?;
    let (original, thief) = (Node::new(2, Medium::FwCfg), Node::new(5, Medium::FwCfg));
    site.cut(2);
    copy(&original.disk(&site.operator)?, &thief.disk(&site.operator)?)?;
    site.start(&thief)?;
    site.until("the copy knows that it is one", &[5], |all| all[0].waits == Wait::ForeignDisk)?;
    site.start(&original)?;
    site.are_formed(&[1, 2, 3])?;
    let status = site.status(5)?;
    expect(status.waits == Wait::ForeignDisk, || format!("the copy: {status:?}"))
}

/// The operator says so in a new roster; the machine that was taken for dead finds its place taken.
pub(crate) fn replaced(stage: &Stage) -> Outcome {
    full()?;
    let mut site = stage.site()?;
    let (dead, new) = (Node::new(3, Medium::ConfigDrive), Node::new(6, Medium::ConfigDrive));
    site.cut(3);
    site.operator.replace("control-3", &mac(6))?;
    site.put_in()?;
    site.start(&new)?;
    site.are_formed(&[1, 2, 6])?;
    site.agree(&[1, 2, 6])?;
    site.start(&dead)?;
    site.until(
        "the dead one is refused",
        &[3],
        |all| matches!(&all[0].waits, Wait::Refused { why } if why.starts_with("revoked")),
    )
}

/// The row means a machine that never comes. When all is formed another one asks, which has none of the roster's cards.
pub(crate) fn late(stage: &Stage) -> Outcome {
    let mut site = stage.full_site("late", Preset::LateWorker)?;
    for (number, medium) in [(1, Medium::Volume), (2, Medium::FwCfg), (3, Medium::FwCfg)] {
        site.start(&Node::new(number, medium))?;
    }
    site.are_formed(&[1, 2, 3])?;
    site.start(&Node::new(7, Medium::FwCfg))?;
    site.until("it waits for its place", &[7], |all| all[0].waits == Wait::Approval)?;
    let desk = site.desk()?;
    site.operator.approve(&desk, &mac(7), "worker-1")?;
    site.are_formed(&[1, 2, 3, 7])?;
    site.agree(&[1, 2, 3, 7])?;
    site.guest(7)?.runs("ip -4 -o addr show | grep -q 10.77.0.99/24")?;
    site.guest(7)?.runs("coremax-node ready --now && coremax-node formed | grep -q worker-1")?;
    let reached = site
        .guest(1)?
        .runs("cat /var/lib/coremax/deploy/limit /var/lib/coremax/deploy/ping.log")?;
    let is_it = reached.starts_with("worker-1\nworker-1 | SUCCESS") && !reached.contains("control");
    expect(is_it, || format!("the deployment for it: {reached}"))
}

/// Batteries die: one machine is in 1999, another one in 2040.
pub(crate) fn clocks(stage: &Stage) -> Outcome {
    let mut site = stage.full_site("clocks", Preset::OpenStack)?;
    site.start(&Node::new(1, Medium::Volume))?;
    site.start(&Node::new(2, Medium::FwCfg).with(&["-rtc", "base=1999-12-31T23:59:00"]))?;
    site.start(&Node::new(3, Medium::FwCfg).with(&["-rtc", "base=2040-01-01T00:00:00"]))?;
    site.are_formed(&[1, 2, 3])?;
    let mut times = Vec::new();
    for number in [1, 2, 3, 1] {
        let said = site.guest(number)?.runs("date +%s%3N")?;
        times.push(said.parse::<u64>().map_err(|e| format!("{said}: {e}"))?);
    }
    // The seed is asked before and after, and clocks may be half a second apart.
    let between = times[0] - 500..=times[3] + 500;
    let is_one = times[1..3].iter().all(|time| between.contains(time));
    expect(is_one, || format!("their clocks say {times:?}"))
}

pub(crate) fn eight(stage: &Stage) -> Outcome {
    let mut site = stage.full_site("eight", Preset::Kubernetes)?;
    let all: Vec<u8> = (1..=8).collect();
    site.start(&Node::new(1, Medium::Volume))?;
    for number in 2..=8 {
        site.start(&Node::new(number, Medium::FwCfg))?;
    }
    site.are_formed(&all)?;
    site.agree(&all)?;
    let status = site.status(1)?;
    expect(status.phase == Phase::Formed, || format!("{status:?}"))
}
