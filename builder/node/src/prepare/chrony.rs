//! chrony.conf(5): the seed is the cluster's clock, and goes by itself where nothing better is in reach.
//!
//! The file is written whole, for Debian's own names pools on the internet: a node that follows them and its seed has
//! two clocks. The seed alone follows what DHCP or the operator name, in the folders that Debian's file has for that.

use super::{Facts, File, Reader};

const ALL: &str = "\
# Written by coremax-node from the cluster's roster; changes are lost. What is in conf.d stays.
confdir /etc/chrony/conf.d
driftfile /var/lib/chrony/chrony.drift
keyfile /etc/chrony/chrony.keys
ntsdumpdir /var/lib/chrony
logdir /var/log/chrony
maxupdateskew 100.0
rtcsync
# A clock that is wrong after a boot is set, later it is slewed: a node deploys by it.
makestep 1 3
leapsectz right/UTC
";

pub(super) fn file(facts: &Facts<'_>) -> File {
    let own = if facts.is_seed() { seed(facts) } else { follower(facts) };
    File::new("/etc/chrony/chrony.conf", format!("{ALL}{own}"), Reader::Clock)
}

fn seed(facts: &Facts<'_>) -> String {
    format!(
        "sourcedir /run/chrony-dhcp\nsourcedir /etc/chrony/sources.d\nlocal stratum 10\nallow {}\n",
        facts.roster.subnet
    )
}

/// The seed has an address in every roster that was read; without one there is nobody to follow.
fn follower(facts: &Facts<'_>) -> String {
    let seed = facts.roster.node(&facts.roster.seed);
    seed.map(|seed| format!("server {} iburst\n", seed.address)).unwrap_or_default()
}
