//! The join: how machines become the nodes of one cluster, and how no second one comes of it.
//!
//! Two state machines without I/O. [`node::Node`] runs on every machine, [`seed::Seed`] beside it on the one that
//! the roster names. What happens goes in with the time, what is to be done comes out as a list; whoever drives them
//! does it in that list's order, and a `Save` is on the disk before anything after it is done.
//!
//! ```text
//! node                                              seed
//!      <-- beacon: here is a seed (decides nothing) --
//!      -- report: all that I am, and what I promised -->
//!      <-- verdict: wait, or no, or you are NAME; the time; and are you mine to form? --
//! ```
//!
//! That is all. A report says everything each time and a verdict asks everything each time, so that either may be
//! lost, doubled, late or answered by a seed that has just been started: nothing rests on a message alone.
//! Channels are authenticated below ([`Peer`]); on one that is not proven nothing is learnt and nothing believed.
//!
//! # At most one formation
//! A formation is named by cluster, roster, generation of the seed's row, and the key of the machine that is the seed.
//! Before it deploys, a seed has the durable promise of just this one from every controller, in a pool from every node.
//! A node gives up a promise for a later epoch alone, and then only to the same machine, or where the operator raised
//! the generation of the seed's row: said that the old seed is dead. Until then it obeys nobody else.
//!
//! So there is one formation if any two seeds share a node that promises:
//! - Rows that name their machines: all rosters under one seed share a controller beside it, however often others were
//!   replaced ([`Roster::unfaithful_to`](crate::roster::Roster::unfaithful_to) and
//!   [`faults`](crate::roster::Roster::faults) see to it).
//! - A pool: it has fewer machines than twice its rows, those started as seeds among them. Nobody can see how many
//!   there are: who has more spare machines writes down which of them are meant.
//! - A roster that names the seed's key is of a cluster that was formed: nobody forms by it.
//!
//! A lone controller has nobody to ask. Who raises the seed's generation while the old seed runs has signed for two
//! clusters. Where the seed is lost while it deploys, this is the way on: its nodes prepare again, promise the formation
//! of the new one, and are deployed again.

mod guard;
mod hardware;
mod message;
pub mod node;
pub mod seed;

pub use guard::{Guard, Guards};
pub use hardware::{Hardware, is_serial, is_uuid};
pub use message::{
    Answer, Beacon, Build, Digest, Disk, Edition, Formation, Health, Held, Lack, NodeKey,
    NotANodeKey, Orders, Peer, Phase, Refusal, Report, Stage, Verdict, cluster_hash,
};

/// The times that a state machine sees, both in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the machine's start. Never goes back.
    pub mono: u64,
    /// Since 1970, as far as the machine knows.
    pub wall: i64,
}

/// How far any two clocks may be apart when a cluster is formed, in milliseconds. Set by the protocol: Ceph's monitors warn
/// from 50, tokens and certificates break much later. A node sets its clock from a quarter of that on, so that two of them
/// on either side of the seed's, each with its error, are together still; once it is in use, from twice that on.
pub const CLOCKS_APART_MAX: u64 = 500;
/// The shortest and the longest time between a node's reports that nobody answers, in milliseconds.
pub const BACK_OFF: (u64, u64) = (2_000, 60_000);
/// Between the reports of a node that is answered, in milliseconds.
pub const REPORT_EVERY: u64 = 5_000;
/// Between the reports of a node that is told to wait, in milliseconds.
pub const PENDING_EVERY: u64 = 10_000;
/// For how long a machine that waits is remembered without a report, in milliseconds: two may be lost.
pub const CANDIDATE_FOR: u64 = 3 * BACK_OFF.1;
/// How long a report and its answer may take for a clock to be set by it, in milliseconds: it is then wrong by half of
/// that at most.
pub const ROUND_TRIP_MAX: u64 = 500;
/// For how long a seed forms nothing after a machine said that it is part of another formation, in milliseconds.
pub const ELSEWHERE_FOR: u64 = 600_000;
/// Between a seed's beacons, in milliseconds, before jitter.
pub const BEACON_EVERY: u64 = 2_000;
/// For how long a seed takes new nodes after a roster was put in, in milliseconds.
pub const WINDOW: u64 = 4 * 3_600_000;
/// For how long all must be well before a cluster is formed, in milliseconds.
pub const STABLE_FOR: u64 = 60_000;
/// For how long no new machine may come before a pool is sorted, in milliseconds.
pub const QUIET_FOR: u64 = 60_000;

#[cfg(test)]
mod tests;
