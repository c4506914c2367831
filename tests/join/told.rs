//! Machines that are told of their cluster, or of its seed, by the kernel's command line.

use std::{fs, sync::atomic::Ordering};

use coremax_tests::{Outcome, expect};

use crate::{
    Stage,
    cluster::Cluster,
    network::{Network, ip},
    openstack,
};

pub(crate) fn named(stage: &Stage) -> Outcome {
    let mut site = stage.site("named", Cluster::of(3))?;
    let identity = site.cluster.identity(&[]);
    site.add_seed()?;
    site.prepare(2, &identity)?;
    let (path, seed) = (site.machine(2).path("cmdline"), site.cluster.address(1));
    let line = format!("quiet coremax.seed=no-such-host.invalid coremax.seed={seed}\n");
    fs::write(&path, line).map_err(|error| format!("{}: {error}", path.display()))?;
    site.machine(2).hears_no_beacon();
    site.machine(2).start()?;
    site.add(3, &identity)?;
    site.is_formed()?;
    site.agree()
}

pub(crate) fn served(_: &Stage) -> Outcome {
    let (network, cluster) = (Network::new()?, Cluster::of(3));
    let (own, document) = (cluster.roster.cluster.to_string(), cluster.identity(&[]));
    let asked = openstack::service(&network, 8, vec![("/identity.json".to_owned(), document)])?;
    let namespace = network.add(2)?;
    ip(&["-n", &namespace, "route", "add", "169.254.0.0/16", "dev", "eth0"])?;
    let url = format!("coremax.identity=http://{}/identity.json", openstack::SERVICE);
    let identify = |words: &str| openstack::identify(&namespace, "PowerEdge R640", words);
    let other = Cluster::of(3).roster.cluster;
    for (words, want) in [
        (format!("{url} coremax.key=ab"), "coremax.key is refused"),
        (format!("{url}.bak"), "identity.json.bak is not there"),
        (format!("{url} coremax.cluster={other}"), "and coremax.cluster says"),
        ("coremax.idnetity=x".to_owned(), "coremax.idnetity, which nobody knows"),
    ] {
        let refused = identify(&words);
        let is_so = refused.as_ref().is_err_and(|why| why.contains(want));
        expect(is_so, || format!("{words}: {refused:?}, not {want}"))?;
    }
    let so_far = asked.load(Ordering::Relaxed);
    expect(so_far == 2, || format!("it was asked {so_far} times by machines that may not ask"))?;
    let said = identify(&format!("{url} coremax.cluster={own} coremax.slot=a"))?;
    openstack::is_told(&said, "command-line", &own)?;
    let so_far = asked.load(Ordering::Relaxed);
    expect(so_far == 3, || format!("it was asked {so_far} times"))
}
