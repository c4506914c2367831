//! What the operator changes: a newer roster, and the row of a machine that no row names.

use std::sync::Arc;

use super::{Action, Config, Edition, Error, Member, Saved, Seed};
use crate::{
    join::{Guard, NodeKey, Now},
    roster::{Name, Roster, signed},
};

impl Seed {
    /// Takes a newer roster. Whoever has no row in it, or one of an older generation, is out.
    pub(super) fn put_in(
        &mut self,
        new: Arc<[u8]>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let roster = signed::open(&new, &self.config.operators).map_err(Error::Signed)?;
        self.check(&roster)?;
        let is_out = |name: &Name, member: &Member| {
            roster.node(name).is_none_or(|row| row.generation > member.generation)
        };
        for (_, member) in self.saved.members.extract_if(.., |name, member| is_out(name, member)) {
            self.saved.revoked.insert(member.key);
        }
        let is_as_before = |name: &Name| {
            let generation = |roster: &Roster| roster.node(name).map(|row| row.generation);
            generation(&roster) == generation(&self.roster)
        };
        self.saved.approved.retain(|_, name| is_as_before(name));
        for row in self.roster.nodes.iter().filter(|row| roster.node(&row.name).is_none()) {
            self.saved.gone.insert(row.name.clone(), row.generation);
        }
        self.saved.roster = new;
        self.edition = Edition::of(&roster, self.config.guards);
        self.roster = roster;
        self.saved.window_used = 0;
        self.window_from = now.mono;
        self.well_since = None;
        self.seen.retain(|name, _| self.saved.members.contains_key(name));
        let mut deploys = Vec::new();
        self.follow(&mut deploys);
        self.save(now, out);
        out.extend(deploys);
        Ok(())
    }

    fn check(&self, roster: &Roster) -> Result<(), Error> {
        if roster.cluster != self.roster.cluster {
            return Err(Error::OtherCluster);
        }
        if roster.epoch <= self.roster.epoch {
            return Err(Error::Older { theirs: roster.epoch, ours: self.roster.epoch });
        }
        let is_back = |row: &&crate::roster::Node| {
            self.saved.gone.get(&row.name).is_some_and(|last| row.generation <= *last)
        };
        let back = || roster.nodes.iter().find(is_back);
        let other = roster.unfaithful_to(&self.roster);
        let is_looked_at = self.config.guards.on(Guard::Faithful);
        if let Some(row) = other.filter(|_| is_looked_at).or_else(back) {
            return Err(Error::Unfaithful { name: row.name.clone() });
        }
        match is_the_seed(roster, &self.config, &self.saved) {
            true => Ok(()),
            false => Err(Error::NotTheSeed),
        }
    }

    /// Gives a row to a machine that no row names. Not a controller's: that two seeds agree who these are is what one
    /// formation rests on, and so the roster says it.
    pub(super) fn approve(&mut self, key: NodeKey, name: Name) -> Result<(), Error> {
        let row = self.roster.node(&name);
        let is_member = self.saved.members.values().any(|member| member.key == key);
        let why = match row {
            None => "there is no such row",
            Some(row) if row.is_control() && self.config.guards.on(Guard::Approval) => {
                "a controller is named in the roster"
            }
            Some(_) if self.saved.revoked.contains(&key) => "the machine was replaced; reset it",
            Some(_) if is_member => "the machine has a row",
            Some(_) if self.saved.members.contains_key(&name) => "another machine has it",
            Some(_) => {
                self.saved.approved.insert(key, name);
                return Ok(());
            }
        };
        Err(Error::Approve { name, key, why })
    }
}

/// Whether the machine may be the seed of this roster: no other one is named in it, and it has not lost its row.
pub(super) fn is_the_seed(roster: &Roster, config: &Config, saved: &Saved) -> bool {
    let is_named = roster.seed_key.is_none_or(|key| key == config.key && saved.fired.is_some());
    let own = saved.members.iter().find(|(_, member)| member.key == config.key);
    let has_row = own.is_none_or(|(name, member)| {
        *name == roster.seed && roster.seed_generation() == member.generation
    });
    is_named && has_row
}
