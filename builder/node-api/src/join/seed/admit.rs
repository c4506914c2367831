//! Who has which row.

use std::collections::BTreeMap;

use super::{CANDIDATES_MAX, Member, Seed};
use crate::{
    join::{Guard, Hardware, NodeKey, Now, QUIET_FOR, Refusal, Report},
    roster::{Mac, Mode, Name},
};

impl Seed {
    /// The row of the machine that reports; it may get one now. Nothing for a machine that has to wait.
    pub(super) fn admit(
        &mut self,
        key: NodeKey,
        report: &Report,
        now: Now,
    ) -> Result<Option<Name>, Refusal> {
        let guards = self.config.guards;
        if report.epoch > self.roster.epoch {
            return Err(Refusal::OldRoster);
        }
        if guards.on(Guard::Generation) && self.is_revoked(key, report) {
            return Err(Refusal::Revoked);
        }
        if let Some((name, member)) =
            self.saved.members.iter().find(|(_, member)| member.key == key)
        {
            let is_same = member.hardware.is_same_machine(&report.hardware);
            if !is_same && guards.on(Guard::Hardware) {
                return Err(Refusal::DuplicateHardware);
            }
            let is_named = report.held.as_ref();
            let is_named = is_named
                .is_none_or(|held| held.name == *name && held.generation == member.generation);
            return if is_named { Ok(Some(name.clone())) } else { Err(Refusal::OtherName) };
        }
        let mut members = self.saved.members.values();
        if guards.on(Guard::Hardware)
            && members.any(|m| m.hardware.is_same_machine(&report.hardware))
        {
            return Err(Refusal::DuplicateHardware);
        }
        let row = self.row_for(key, report);
        let is_taken = row.as_ref().is_some_and(|name| self.saved.members.contains_key(name));
        if is_taken && guards.on(Guard::Hardware) {
            return Err(Refusal::DuplicateHardware);
        }
        let is_full = self.saved.members.len() == self.roster.nodes.len();
        if !self.is_window_open(now) || (row.is_none() && is_full) {
            return Err(Refusal::WindowClosed);
        }
        match &row {
            Some(name) => self.enrol(name.clone(), key, report.hardware.clone()),
            None => self.remember(key, &report.hardware, now),
        }
        Ok(row)
    }

    /// Its key was thrown out here, or it has a row of a generation that was thrown out elsewhere.
    fn is_revoked(&self, key: NodeKey, report: &Report) -> bool {
        let is_old = report.held.as_ref().is_some_and(|held| {
            self.roster.node(&held.name).is_none_or(|row| row.generation != held.generation)
        });
        is_old || self.saved.revoked.contains(&key)
    }

    /// The row that is a machine's: that it has already, from a seed that is no more, that the operator gave it, or that
    /// names it. The seed's own is nobody else's.
    fn row_for(&self, key: NodeKey, report: &Report) -> Option<Name> {
        if key == self.config.key {
            return Some(self.roster.seed.clone());
        }
        let held = report.held.as_ref().map(|held| held.name.clone());
        let approved = || self.saved.approved.get(&key).cloned();
        let named = || {
            let mut rows = self.roster.nodes.iter();
            let means = |row: &&crate::roster::Node| {
                row.matches.as_ref().is_some_and(|row| report.hardware.is_meant_by(row))
            };
            Some(rows.find(means)?.name.clone())
        };
        let row = held.or_else(approved).or_else(named)?;
        (row != self.roster.seed && self.roster.node(&row).is_some()).then_some(row)
    }

    fn enrol(&mut self, name: Name, key: NodeKey, hardware: Hardware) {
        let Some(row) = self.roster.node(&name) else { return };
        let generation = row.generation;
        self.candidates.remove(&key);
        self.saved.members.insert(name, Member { key, hardware, generation });
    }

    fn remember(&mut self, key: NodeKey, hardware: &Hardware, now: Now) {
        let is_known = self.candidates.contains_key(&key);
        if self.roster.mode == Mode::Pool && !is_known && self.candidates.len() < CANDIDATES_MAX {
            self.candidates.insert(key, hardware.clone());
            self.last_candidate = now.mono;
        }
    }

    /// Gives the free rows of a pool to the machines that wait, by their lowest MAC, once there are enough and no new
    /// one has come for a minute. A row that is given stays given. Whether any was.
    pub(super) fn sort_pool(&mut self, now: Now) -> bool {
        if !self.config.guards.on(Guard::PoolOrder) && !self.candidates.is_empty() {
            self.forget_rows();
        }
        let free: Vec<Name> = self
            .roster
            .nodes
            .iter()
            .map(|row| &row.name)
            .filter(|name| !self.saved.members.contains_key(*name) && **name != self.roster.seed)
            .cloned()
            .collect();
        let is_quiet = now.mono.saturating_sub(self.last_candidate) >= QUIET_FOR;
        if free.is_empty()
            || self.candidates.len() < free.len()
            || !is_quiet
            || !self.is_window_open(now)
        {
            return false;
        }
        let mut waiting: Vec<(Option<Mac>, NodeKey)> = self
            .candidates
            .iter()
            .map(|(key, hardware)| (hardware.macs.first().copied(), *key))
            .collect();
        waiting.sort();
        for (name, (_, key)) in free.into_iter().zip(waiting) {
            let hardware = self.candidates.get(&key).cloned().unwrap_or_default();
            self.enrol(name, key, hardware);
        }
        true
    }

    /// What a seed must never do: see [`Guard::PoolOrder`].
    fn forget_rows(&mut self) {
        let members = std::mem::take(&mut self.saved.members);
        let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            members.into_iter().partition(|(_, member)| member.key == self.config.key);
        self.saved.members = own;
        self.candidates.extend(others.into_values().map(|member| (member.key, member.hardware)));
    }
}
