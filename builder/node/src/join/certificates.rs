//! Certificates, as they come with the join's messages: asked for in every report, given in the answer to a node that
//! needs some.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use coremax_node_api::{
    enrol::{Gift, Request},
    guid::Guid,
    join::{Answer, NodeKey, Orders, Phase, Verdict, node, seed::Seed},
    roster::Node,
};

use crate::{
    authority::Authority,
    events::{Event, tell},
    own::Own,
};

/// How often the seed looks whether its own key to deploy with needs a certificate, in milliseconds.
const FURNISH_EVERY: i64 = 24 * 3_600_000;

/// Both sides of it on one machine.
pub(super) struct Certificates {
    /// Where the machine's files begin: `/`, but in tests.
    root: PathBuf,
    cluster: Guid,
    own: Option<Own>,
    authority: Option<Authority>,
    furnished: Option<i64>,
}

/// Who said a report, and what it asks for.
pub(super) struct Asked {
    pub seat: u64,
    pub node: NodeKey,
    pub phase: Phase,
    pub enrol: Option<Box<Request>>,
}

impl Certificates {
    pub(super) fn new(root: PathBuf, cluster: Guid) -> Self {
        Self { root, cluster, own: None, authority: None, furnished: None }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    // The node's side.

    /// What this node asks for.
    ///
    /// # Errors
    /// Its keys are not there yet, or damaged.
    pub(super) fn request(&mut self, node: NodeKey) -> Result<Request> {
        let cluster = self.cluster;
        Ok(self.own()?.request(cluster, node))
    }

    /// What this node was given.
    pub(super) fn gift(&self) -> Option<Gift> {
        self.own.as_ref()?.gift()
    }

    /// Keeps what an answer gives, if the node follows whoever gave it. Whether there was something.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(super) fn take(
        &mut self,
        from: NodeKey,
        orders: Option<&Orders>,
        gift: Option<&Gift>,
        saved: &node::Saved,
    ) -> Result<bool> {
        let Some(gift) = gift.filter(|_| orders.is_some_and(|it| follows(from, it, saved))) else {
            return Ok(false);
        };
        self.own()?.keep(gift)?;
        Ok(true)
    }

    fn own(&mut self) -> Result<&Own> {
        match &mut self.own {
            Some(own) => Ok(own),
            none => Ok(none.insert(Own::open(&self.root)?)),
        }
    }

    // The seed's side.

    /// Makes or opens the authority, on the machine that is the seed.
    ///
    /// # Errors
    /// It cannot be opened: no node gets anything.
    pub(super) fn open_authority(&mut self) -> Result<()> {
        self.authority = Some(Authority::open(&self.root, self.cluster)?);
        Ok(())
    }

    /// Sees to the key that the seed deploys with.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn furnish(&mut self, row: &Node, now: i64) -> Result<()> {
        let Some(authority) = &self.authority else { return Ok(()) };
        let is_due =
            self.furnished.is_none_or(|at| now.abs_diff(at) >= FURNISH_EVERY.unsigned_abs());
        if is_due {
            authority.furnish(&self.root, row, now).context("making the key to deploy with")?;
            self.furnished = Some(now);
        }
        Ok(())
    }

    /// What goes with an answer: to a member, whose row says what is certified.
    ///
    /// # Errors
    /// Its request does not prove what it should.
    pub(super) fn give(
        &self,
        seed: &Seed,
        asked: &Asked,
        answer: &Answer,
        now: i64,
    ) -> Result<Option<Gift>> {
        let Verdict::Member(orders) = &answer.verdict else { return Ok(None) };
        let row = seed.roster().node(&orders.held.name);
        let (Some(authority), Some(request), Some(row)) = (&self.authority, &asked.enrol, row)
        else {
            return Ok(None);
        };
        let gift = authority.gift(row, asked.node, request, now)?;
        if gift.is_some() {
            let name = row.name.to_string();
            tell(Event::Certified, &format!("certified {name}"), &[("COREMAX_NODE", &name)]);
        }
        Ok(gift)
    }
}

/// Whether a node's certificates may come from who gave it these orders: it has taken them, and where it has promised
/// a formation it is that one's seed. Whoever has the cluster's key could else make itself everybody's authority.
fn follows(from: NodeKey, orders: &Orders, saved: &node::Saved) -> bool {
    saved.held.as_ref() == Some(&orders.held)
        && saved.edition == orders.edition
        && saved.promise.is_none_or(|promise| promise.seed == from)
}

#[cfg(test)]
mod tests {
    use coremax_node_api::join::{Edition, Formation, Hardware, Held, Stage};

    use super::*;

    #[test]
    fn certificates_come_from_whom_the_node_follows() {
        let held = |name: &str| Held { name: name.parse().unwrap(), generation: 0 };
        let edition = |epoch| Edition { epoch, digest: [0; 32] };
        let promise = |seed| Formation {
            cluster: Guid::literal(1),
            edition: edition(1),
            generation: 0,
            seed: NodeKey([seed; 32]),
        };
        let saved = |name: Option<&str>, promise| node::Saved {
            key: NodeKey([9; 32]),
            hardware: Hardware::default(),
            phase: Phase::Enrolled,
            held: name.map(held),
            roster: None,
            edition: edition(1),
            prepared: 0,
            promise,
        };
        let orders = |name, epoch| Orders {
            held: held(name),
            edition: edition(epoch),
            roster: None,
            wall: 0,
            stage: Stage::Gathering,
        };
        for (what, orders, saved, want) in [
            ("its orders were taken", orders("a", 1), saved(Some("a"), None), true),
            ("it promised its formation", orders("a", 1), saved(Some("a"), Some(promise(1))), true),
            ("they name another row", orders("b", 1), saved(Some("a"), None), false),
            ("they are of another roster", orders("a", 2), saved(Some("a"), None), false),
            ("they were not taken", orders("a", 1), saved(None, None), false),
            ("it promised another's", orders("a", 1), saved(Some("a"), Some(promise(2))), false),
        ] {
            assert_eq!(follows(NodeKey([1; 32]), &orders, &saved), want, "{what}");
        }
    }
}
