//! Certificates, as they come with the join's messages: asked for in every report, given in the answer to a node that
//! needs some.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use coremax_channel::Papers;
use coremax_node_api::{
    enrol::{Gift, Request},
    guid::Guid,
    join::{Answer, Held, NodeKey, Phase, Verdict, node::Node, seed::Seed},
    roster::Node as Row,
};

use crate::{
    authority::Authority,
    clock,
    events::{Event, tell},
    own::{Of, Own},
};

/// How often the seed looks whether its own key to deploy with needs a certificate, in milliseconds.
const FURNISH_EVERY: i64 = 24 * 3_600_000;

/// Both sides of it on one machine.
pub(super) struct Certificates {
    /// Where the machine's files begin: `/`, but in tests.
    root: PathBuf,
    cluster: Guid,
    own: Option<Own>,
    papers: Option<Arc<Papers>>,
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
        Self { root, cluster, own: None, papers: None, authority: None, furnished: None }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    // The node's side.

    /// What this node asks for, that has this row.
    ///
    /// # Errors
    /// Its keys are not there yet, or damaged.
    pub(super) fn request(&mut self, node: NodeKey, row: Option<&Row>) -> Result<Request> {
        let cluster = self.cluster;
        Ok(self.own()?.request(cluster, node, row))
    }

    /// What this node proves itself with in TLS, if it has something that holds now and is of its row; the same until it
    /// does not, or another gift was kept.
    pub(super) fn papers(&mut self, node: NodeKey, row: &Row) -> Option<Arc<Papers>> {
        let now = clock::wall();
        let is_good = |papers: &Arc<Papers>| {
            let own = papers.own();
            own.node == node && own.is_of(&row.name, row.address) && own.holds(now)
        };
        if !self.papers.as_ref().is_some_and(is_good) {
            let made = self.own().ok().and_then(|own| own.papers(clock::wall));
            self.papers = made.map(Arc::new).filter(is_good);
        }
        self.papers.clone()
    }

    /// What this node was given.
    ///
    /// # Errors
    /// Nothing yet, or its keys are not there.
    pub(super) fn gift(&mut self) -> Result<Gift> {
        self.own()?.gift().context("the seed has given no certificates yet")
    }

    /// Keeps what an answer gives, if the node has obeyed the orders in it. Whether there was something.
    ///
    /// # Errors
    /// It cannot be kept, or is by another authority than the one that this node has, of the same seed: whoever has the
    /// cluster's key could else make itself everybody's.
    pub(super) fn take(&mut self, gift: Option<&Gift>, node: &Node) -> Result<bool> {
        let roster = node.roster().filter(|_| node.has_obeyed());
        let row = roster.and_then(|roster| roster.node(&roster.seed));
        let (Some(gift), Some(row)) = (gift, row) else { return Ok(false) };
        let seed = Held { name: row.name.clone(), generation: row.generation };
        let held = node.saved().held.as_ref();
        let own = held.and_then(|held| node.roster()?.node(&held.name));
        let own = own.context("certificates came to a node without a row")?;
        let of = Of { node: node.saved().key, row: own, seed: &seed };
        self.own()?.keep(gift, &of, clock::wall)?;
        self.papers = None;
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
    pub(super) fn furnish(&mut self, row: &Row, now: i64) -> Result<()> {
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
