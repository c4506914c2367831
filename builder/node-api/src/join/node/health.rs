//! What a node says of what is around it.

use std::collections::BTreeSet;

use super::Node;
use crate::{
    join::{Guard, Lack, Phase},
    roster::Name,
};

impl Node {
    /// Whether it has looked around, and lacks nothing.
    pub(super) fn is_healthy(&self) -> bool {
        let is_whole =
            |lacks: &BTreeSet<Lack>| lacks.is_empty() || !self.config.guards.on(Guard::Lack);
        self.health.as_ref().is_some_and(|health| is_whole(&health.lacks))
    }

    pub(super) fn lacks(&self) -> BTreeSet<Lack> {
        self.health.as_ref().map(|health| health.lacks.clone()).unwrap_or_default()
    }

    /// The rows that it does not reach: of those that it has not heard of, all. Before it is ready that is nobody's
    /// business, and afterwards not looked at.
    pub(super) fn unreached(&self) -> BTreeSet<u8> {
        let (Some(roster), Some(held), Some(health), Phase::Ready) =
            (&self.roster, &self.saved.held, &self.health, self.phase())
        else {
            return BTreeSet::new();
        };
        let is_apart = |name: &Name| *name != held.name && !health.reached.contains(name);
        let rows = (0..).zip(roster.nodes.iter().map(|row| &row.name));
        rows.filter(|(_, name)| is_apart(name)).map(|(number, _)| number).collect()
    }
}
