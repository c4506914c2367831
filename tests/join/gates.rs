//! What the nodes have around them has to be as the roster says before they are one cluster.

use std::{
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use coremax_node_api::{
    cluster_status::ClusterStatus,
    join::{Phase, STABLE_FOR},
};
use coremax_tests::{Outcome, expect, switch::enter};

use crate::{
    Stage,
    cluster::{Cluster, address},
    machine,
    network::ip,
    site::Site,
};

/// A machine that is none of the cluster's.
const ELSEWHERE: u8 = 9;

/// Three machines are ready, but that packets of the roster's MTU do not come to one of them.
pub(crate) fn narrow_card(stage: &Stage) -> Outcome {
    let mut site = stage.site("narrow", Cluster::of(3))?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add_seed()?;
    site.add(2, &identity)?;
    site.prepare(3, &identity)?;
    set_mtu(&mut site, 3, "1400")?;
    site.machine(3).start()?;
    site.until("the seed says which pair is apart", |site| {
        let obstacle = obstacle(site).unwrap_or_default();
        let pairs = [(1, 3), (2, 3), (3, 1), (3, 2)];
        let mut said = pairs.iter().map(|(from, to)| {
            format!("control-{from} does not reach control-{to} with 1500 bytes")
        });
        Ok(said.any(|said| obstacle.starts_with(&said)))
    })?;
    site.until("the machine says that it is its card", |site| {
        let problem = status(site, 3).and_then(|status| status.problem).unwrap_or_default();
        Ok(problem.contains("sends no 1500 bytes"))
    })?;
    is_not_formed(&mut site)?;
    set_mtu(&mut site, 3, "1500")?;
    site.is_formed()?;
    site.agree()?;
    let problem = status(&mut site, 3).and_then(|status| status.problem);
    expect(problem.is_none(), || format!("it has a problem still: {problem:?}"))
}

/// Three machines, and a registry that begins to answer when all wait for it.
pub(crate) fn late_registry(stage: &Stage) -> Outcome {
    let mut site = stage.site("registry", Cluster::of(3))?;
    let registry = SocketAddr::from((address(ELSEWHERE), 5000));
    site.cluster.roster.registry = registry.to_string().parse().ok();
    let namespace = site.network.add(ELSEWHERE)?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add_seed()?;
    site.add(2, &identity)?;
    site.add(3, &identity)?;
    for number in 1..=3 {
        site.until(&format!("machine {number} says that nobody answers"), |site| {
            let problem = status(site, number).and_then(|status| status.problem);
            let want = format!("the registry {registry} does not answer: Connection refused");
            Ok(problem.is_some_and(|problem| problem.contains(&want)))
        })?;
    }
    site.until("the seed says who waits for the registry", |site| {
        let want = "is not ready: the registry does not answer it";
        Ok(obstacle(site).is_some_and(|obstacle| obstacle.contains(want)))
    })?;
    is_not_formed(&mut site)?;
    listen(format!("/run/netns/{namespace}"), registry)?;
    site.is_formed()?;
    site.agree()
}

fn status(site: &mut Site, number: u8) -> Option<ClusterStatus> {
    site.machine(number).status()
}

/// What the seed waits for.
fn obstacle(site: &mut Site) -> Option<String> {
    status(site, 1)?.seed?.obstacles.into_iter().next()
}

/// Nor is it when as much time has gone as it would take if nothing were amiss.
fn is_not_formed(site: &mut Site) -> Outcome {
    thread::sleep(Duration::from_millis(2 * STABLE_FOR) / machine::pace());
    let phases: Vec<_> =
        (1..=3).map(|number| status(site, number).map(|status| status.phase)).collect();
    let is_before = |phase: &Option<Phase>| phase.is_some_and(|phase| phase < Phase::Deploying);
    expect(phases.iter().all(is_before), || format!("they went on: {phases:?}"))
}

fn set_mtu(site: &mut Site, number: u8, mtu: &str) -> Outcome {
    ip(&["-n", site.machine(number).namespace(), "link", "set", "eth0", "mtu", mtu])
}

/// Takes connections in a namespace until the test ends, and says nothing on them.
fn listen(namespace: String, at: SocketAddr) -> Outcome {
    let open = thread::spawn(move || {
        enter(&namespace)?;
        TcpListener::bind(at)
    });
    let listener = open.join().map_err(|_| "the registry panicked")?;
    let listener = listener.map_err(|error| format!("listening at {at}: {error}"))?;
    thread::spawn(move || listener.incoming().for_each(drop));
    Ok(())
}
