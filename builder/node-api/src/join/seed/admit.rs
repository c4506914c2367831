//! Who has which row.

use std::collections::BTreeMap;

use super::{CANDIDATES_MAX, Candidate, Member, Seed};
use crate::{
    join::{Build, CANDIDATE_FOR, Guard, Hardware, NodeKey, Now, QUIET_FOR, Refusal, Report},
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
        if report.edition.epoch > self.roster.epoch {
            return Err(Refusal::OldRoster);
        }
        if report.edition.epoch == self.roster.epoch && report.edition != self.edition {
            return Err(Refusal::OtherRoster);
        }
        if guards.on(Guard::Generation) && self.is_revoked(key, report) {
            return Err(Refusal::Revoked);
        }
        let mut others = self.saved.members.values().filter(|member| member.key != key);
        if guards.on(Guard::Hardware)
            && others.any(|member| member.hardware.is_same_machine(&report.hardware))
        {
            return Err(Refusal::DuplicateHardware);
        }
        let mut members = self.saved.members.iter_mut();
        if let Some((name, member)) = members.find(|(_, member)| member.key == key) {
            let is_same = member.hardware.is_same_machine(&report.hardware);
            if !is_same && guards.on(Guard::Hardware) {
                return Err(Refusal::DuplicateHardware);
            }
            let held = report.held.as_ref();
            if held.is_some_and(|held| held.name != *name || held.generation != member.generation) {
                return Err(Refusal::OtherName);
            }
            // With the card that it has now it is known when the next one is changed.
            if is_same && member.hardware != report.hardware {
                member.hardware = report.hardware.clone();
                self.is_changed = true;
            }
            return Ok(Some(name.clone()));
        }
        if guards.on(Guard::Hardware) && !report.hardware.tells_anything() {
            return Err(Refusal::UnknownHardware);
        }
        let row = self.row_for(key, report)?;
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
            None => self.remember(key, report, now)?,
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
    fn row_for(&self, key: NodeKey, report: &Report) -> Result<Option<Name>, Refusal> {
        if key == self.config.key {
            return Ok(Some(self.roster.seed.clone()));
        }
        let held = report.held.as_ref().map(|held| held.name.clone());
        let row = match held.or_else(|| self.saved.approved.get(&key).cloned()) {
            Some(row) => Some(row),
            None => self.row_that_names(&report.hardware)?,
        };
        Ok(row.filter(|row| *row != self.roster.seed && self.roster.node(row).is_some()))
    }

    fn row_that_names(&self, hardware: &Hardware) -> Result<Option<Name>, Refusal> {
        let mut rows = self.roster.nodes.iter().filter(|row| {
            row.matches.as_ref().is_some_and(|matches| hardware.is_meant_by(matches))
        });
        let first = rows.next().map(|row| row.name.clone());
        if rows.next().is_some() { Err(Refusal::TwoRows) } else { Ok(first) }
    }

    fn enrol(&mut self, name: Name, key: NodeKey, hardware: Hardware) {
        let Some(row) = self.roster.node(&name) else { return };
        let generation = row.generation;
        self.candidates.remove(&key);
        if self.config.guards.on(Guard::Candidate) {
            self.candidates.retain(|_, waiting| !waiting.hardware.is_same_machine(&hardware));
        }
        self.saved.members.insert(name, Member { key, hardware, generation });
        self.is_changed = true;
    }

    /// Keeps a machine without a row in mind, for as long as it reports. One that was reset meanwhile has another key, and
    /// waits until the old one is forgotten.
    fn remember(&mut self, key: NodeKey, report: &Report, now: Now) -> Result<(), Refusal> {
        let Report { hardware, build, .. } = report;
        self.forget_silent(now);
        let mut others = self.candidates.iter().filter(|(other, _)| **other != key);
        if self.config.guards.on(Guard::Candidate)
            && others.any(|(_, other)| other.hardware.is_same_machine(hardware))
        {
            return Err(Refusal::DuplicateHardware);
        }
        let is_known = self.candidates.contains_key(&key);
        if is_known || self.candidates.len() < CANDIDATES_MAX {
            let (hardware, build) = (hardware.clone(), build.clone());
            self.candidates.insert(key, Candidate { hardware, build, at: now.mono });
        }
        if !is_known {
            self.last_candidate = now.mono;
        }
        Ok(())
    }

    fn forget_silent(&mut self, now: Now) {
        self.candidates
            .retain(|_, candidate| now.mono.saturating_sub(candidate.at) < CANDIDATE_FOR);
    }

    /// Gives the free rows of a pool to the machines that wait, by their lowest MAC, once there are enough and no new
    /// one has come for a minute. A row that is given stays given. Whether any was.
    pub(super) fn sort_pool(&mut self, now: Now) -> bool {
        if self.roster.mode != Mode::Pool {
            return false;
        }
        self.forget_silent(now);
        if !self.config.guards.on(Guard::PoolOrder) && !self.candidates.is_empty() {
            self.forget_rows(now);
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
            .map(|(key, candidate)| (candidate.hardware.macs.first().copied(), *key))
            .collect();
        waiting.sort();
        for (name, (_, key)) in free.into_iter().zip(waiting) {
            let Some(candidate) = self.candidates.remove(&key) else { continue };
            self.enrol(name, key, candidate.hardware);
        }
        true
    }

    /// What a seed must never do: see [`Guard::PoolOrder`].
    fn forget_rows(&mut self, now: Now) {
        let members = std::mem::take(&mut self.saved.members);
        let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            members.into_iter().partition(|(_, member)| member.key == self.config.key);
        self.saved.members = own;
        let candidate = |member: Member| Candidate {
            hardware: member.hardware,
            build: Build::default(),
            at: now.mono,
        };
        self.candidates.extend(others.into_values().map(|member| (member.key, candidate(member))));
    }
}
