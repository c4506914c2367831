//! `coremax-node join`: what makes a machine a node of its cluster, and goes on for as long as it runs.
//!
//! What is decided is decided by [`coremax_node_api::join`], without I/O; here it gets a clock, a disk and a network:
//!
//! ```text
//! options    what the command line says
//! told       waits until the machine is told its cluster
//! keys       the cluster's keys that a seed knows
//! store      what has to outlive a power cut
//! links      the machine's cards, as the kernel tells them; hardware: which machine it is, tpm: by that too
//! beacons    UDP: where a seed is; leases: where one may be, by DHCP; named: by a name on the kernel's command line
//! line       one TCP connection with its channel: call, the node's to a seed; seats, those of a seed
//! driver     gives the two state machines what happens, and does what they ask for
//! daemon     waits for all of it, in one thread
//! certificates  what a node asks of its seed with every report, and is given
//! mesh       UDP: which other nodes are reached at full MTU; around: what keeps a node from being ready
//! prepare    what is done on a node that has its name; card: where its address is
//! status     what anybody on the machine may know
//! public     who gives it to whoever asks
//! ```
//!
//! One thread, `poll` (but for a look at media and for names of seeds as it starts, which nothing waits for), and no buffer that somebody else can make grow: the program is on every machine for ever.

mod around;
mod beacons;
mod build;
mod call;
mod card;
mod certificates;
mod daemon;
mod driver;
mod halves;
mod hardware;
mod hint;
#[cfg(test)]
mod in_tls;
mod keys;
mod leases;
mod line;
mod links;
mod mesh;
mod named;
mod options;
mod prepare;
mod public;
mod roster_file;
mod seats;
mod shown;
mod status;
mod store;
mod told;
mod tpm;

use anyhow::Result;

use crate::{clock, identity::command_line};
use options::Options;

/// What the command line may say.
pub(crate) use options::USAGE;

/// Joins, and does not return unless it cannot go on.
///
/// # Errors
/// Where the machine's state cannot be read or written, or there is no identity in the file that was named. It may be
/// started again.
pub(crate) fn join(arguments: &[&str]) -> Result<()> {
    let mut options = Options::parse(arguments)?;
    let status = options.status.clone();
    let line = command_line::read(&options.command_line);
    let document = told::document(&options, &line)?;
    options.hear(&line.seeds);
    let ended = daemon::Daemon::start(options, document).and_then(daemon::Daemon::run);
    // Who stands at the console sees why, until it is started again.
    ended.inspect_err(|error| told::say(Some(format!("{error:#}")), &status))
}
