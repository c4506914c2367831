//! Whom a deployment is for: those who are there when the cluster is formed, and later each machine that was not.

use super::{Action, Obstacle, Rows, Seed, Seen, form::is_fresh};
use crate::{
    join::{Guard, Now, Phase, STABLE_FOR, Stage},
    roster::{Name, Node},
};

impl Seed {
    /// How far the cluster is for a member. It is formed for whom a deployment has reached; who came late waits like all
    /// did before, until there is one for it.
    pub(super) fn stage_of(&self, name: &Name, now: Now) -> Stage {
        match self.stage(now) {
            stage if !self.config.guards.on(Guard::Reached) => stage,
            Stage::Formed(formation) if self.is_reached(name) => Stage::Formed(formation),
            Stage::Formed(formation) | Stage::Deploying(formation) => {
                match self.saved.deploying.contains_key(name) {
                    true => Stage::Deploying(formation),
                    false => Stage::Gathering,
                }
            }
            stage => stage,
        }
    }

    /// Begins a deployment for these rows.
    pub(super) fn begin(&mut self, rows: Rows, now: Now, out: &mut Vec<Action>) {
        self.saved.deploying = rows;
        self.save(now, out);
        self.deploy(out);
    }

    /// The deployment under way.
    pub(super) fn deploy(&self, out: &mut Vec<Action>) {
        let fired = self.saved.fired;
        out.extend(fired.map(|fired| Action::Deploy(fired, self.saved.deploying.clone())));
    }

    pub(super) fn deployed(&mut self, now: Now, out: &mut Vec<Action>) {
        let rows = std::mem::take(&mut self.saved.deploying);
        self.saved.deployed.extend(rows);
        self.saved.is_formed = self.saved.fired.is_some();
        self.save(now, out);
        self.take_in_late(now, out);
    }

    /// An attempt failed: who went meanwhile holds up nobody, unless it has to be there, and who came is taken along.
    pub(super) fn look_again(&mut self, now: Now, out: &mut Vec<Action>) {
        let mut rows = self.those_there(now);
        let stays = |(name, _): &(&Name, &u32)| self.is_needed(name) || !self.is_silent(name, now);
        let stay = self.saved.deploying.iter().filter(stays);
        rows.extend(stay.map(|(name, generation)| (name.clone(), *generation)));
        let is_enough = self.saved.is_formed || self.is_enough(&rows);
        if self.saved.fired.is_some() && is_enough && rows != self.saved.deploying {
            self.begin(rows, now, out);
        }
    }

    /// Deploys for machines that came late, once what is under way is done. Before the cluster is formed that is a machine
    /// in the place of one that has to be there.
    pub(super) fn take_in_late(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.saved.fired.is_none() || !self.saved.deploying.is_empty() {
            return;
        }
        let rows = self.those_there(now);
        let may_begin = match self.saved.is_formed {
            true => !rows.is_empty(),
            false => self.is_enough(&rows) && self.quorum().all(|row| rows.contains_key(&row.name)),
        };
        if may_begin {
            self.begin(rows, now, out);
        }
    }

    /// Another roster holds, and perhaps for fewer machines. Nothing is deployed while one that has to be there has none.
    pub(super) fn follow(&mut self, out: &mut Vec<Action>) {
        let before = self.saved.deploying.len();
        let has_machine = |row: &Node| self.saved.members.contains_key(&row.name);
        let is_whole = self.saved.is_formed || self.quorum().all(has_machine);
        let is_there = |name: &Name| is_whole && self.saved.members.contains_key(name);
        self.saved.deploying.retain(|name, _| is_there(name));
        self.saved.deployed.retain(|name, _| self.saved.members.contains_key(name));
        if self.saved.deploying.len() != before {
            self.deploy(out);
        }
    }

    /// Those whom a cluster is formed with: all that are ready, and so who has to be.
    pub(super) fn those_ready(&self, now: Now) -> Rows {
        self.rows(|row| self.unready(row, now).is_none())
    }

    /// Whom no deployment has reached, and one could.
    fn those_there(&self, now: Now) -> Rows {
        self.rows(|row| self.is_there(row, now) && !self.is_reached(&row.name))
    }

    fn rows(&self, are: impl Fn(&Node) -> bool) -> Rows {
        let rows = self.roster.nodes.iter().filter(|row| are(row));
        let held = |name: &Name| Some((name.clone(), self.saved.members.get(name)?.generation));
        rows.filter_map(|row| held(&row.name)).collect()
    }

    fn is_needed(&self, name: &Name) -> bool {
        !self.saved.is_formed && self.quorum().any(|row| row.name == *name)
    }

    /// Whether these are as many beside the control plane as the roster wants.
    fn is_enough(&self, rows: &Rows) -> bool {
        let is_other = |name: &&Name| self.roster.node(name).is_some_and(|row| !row.is_control());
        rows.keys().filter(is_other).count() >= self.roster.minimum_workers
    }

    /// Whether it was not heard lately: since it was, or for a while after the seed was started.
    fn is_silent(&self, name: &Name, now: Now) -> bool {
        let at = self.seen.get(name).map_or(self.started + STABLE_FOR, |seen| seen.at);
        at <= now.mono && !is_fresh(at, now)
    }

    fn is_reached(&self, name: &Name) -> bool {
        let generation = self.saved.members.get(name).map(|member| member.generation);
        generation.is_some() && self.saved.deployed.get(name).copied() == generation
    }

    /// Whether a deployment can reach it. Before its first one it finds what all found that the cluster was formed with.
    fn is_there(&self, row: &Node, now: Now) -> bool {
        let Some(Seen { at, report, .. }) = self.seen.get(&row.name) else { return false };
        match report.phase {
            Phase::Ready => self.late(row, now).is_none(),
            phase => {
                let is_well = report.edition == self.edition && report.lacks.is_empty();
                is_fresh(*at, now) && is_well && phase > Phase::Ready
            }
        }
    }

    /// Why a machine that is part of nothing yet is not taken in.
    fn late(&self, row: &Node, now: Now) -> Option<Obstacle> {
        if let Some(why) = self.unready(row, now) {
            return Some(Obstacle::NotReady { name: row.name.clone(), why });
        }
        let unreached = &self.seen.get(&row.name)?.report.unreached;
        let others = || self.roster.nodes.iter().filter(|other| self.goes_before(other, row, now));
        let is_apart = |other: &&Node| {
            self.roster.number(&other.name).is_some_and(|number| unreached.contains(&number))
        };
        if let Some(to) = others().find(is_apart).filter(|_| self.config.guards.on(Guard::Mesh)) {
            let (from, to) = (row.name.clone(), to.name.clone());
            return Some(Obstacle::Unreached { from, to, mtu: self.roster.mtu });
        }
        // A clock that is in use is chrony's to mend.
        let ready: Vec<_> = others().filter(|other| self.unready(other, now).is_none()).collect();
        ready.into_iter().find_map(|other| self.apart(&[row, other]))
    }

    /// Whether a late machine has to be together with this one: it is part of the cluster, or of what is deployed, or comes
    /// late too and has the lower row. So of two that are apart one goes first.
    fn goes_before(&self, other: &Node, row: &Node, now: Now) -> bool {
        let Some(seen) = self.seen.get(&other.name) else { return false };
        let is_part = self.is_reached(&other.name) || seen.report.phase > Phase::Ready;
        let is_lower = self.roster.number(&other.name) < self.roster.number(&row.name);
        let is_first = is_lower && self.unready(other, now).is_none();
        other.name != row.name && !self.is_silent(&other.name, now) && (is_part || is_first)
    }

    /// What keeps machines that came late from being taken in, in the roster's order.
    pub fn late_obstacles(&self, now: Now) -> Vec<Obstacle> {
        let is_late = |row: &&Node| {
            let has_machine = self.saved.members.contains_key(&row.name);
            let is_awaited = has_machine || self.is_needed(&row.name);
            let is_under_way = self.saved.deploying.contains_key(&row.name);
            is_awaited && !is_under_way && !self.is_reached(&row.name)
        };
        let late = self.roster.nodes.iter().filter(is_late).filter(|_| self.saved.fired.is_some());
        late.filter_map(|row| self.late(row, now)).collect()
    }
}
