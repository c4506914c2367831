//! Deployments: they take their time, and fail while one of those that they are for is not there.

use coremax_node_api::join::{
    Formation, Held,
    seed::{Input, Rows},
};

use super::{
    check::{Invariant, broken},
    event::Event,
    world::{Step, World},
};

/// How long one takes, in milliseconds.
const TAKES: (u64, u64) = (5_000, 60_000);

fn held(rows: &Rows) -> impl Iterator<Item = Held> {
    rows.iter().map(|(name, generation)| Held { name: name.clone(), generation: *generation })
}

impl World {
    /// A seed begins to deploy, goes on after a power cut, or does it for others.
    pub(super) fn begin_deployment(
        &mut self,
        seed: usize,
        formation: Formation,
        rows: &Rows,
    ) -> Step {
        self.tell(|| format!("m{seed} deploys {formation:?} for {rows:?}"));
        self.check_deployment(seed, formation, rows)?;
        self.machines[seed].deployment += 1;
        self.machines[seed].deploying = rows.clone();
        self.try_deployment(seed);
        Ok(())
    }

    fn try_deployment(&mut self, seed: usize) {
        let (starts, number) = (self.machines[seed].starts, self.machines[seed].deployment);
        let end = self.time + self.rng.range(TAKES.0, TAKES.1);
        self.at(end, Event::DeploymentEnds { to: seed, starts, number });
    }

    /// An attempt ends. Another one follows, unless the seed asked for another deployment by then.
    pub(super) fn end_deployment(&mut self, to: usize, number: u64) -> Step {
        let rows = self.machines[to].deploying.clone();
        if self.machines[to].deployment != number || rows.is_empty() {
            return Ok(());
        }
        if held(&rows).all(|row| self.is_reached(to, &row)) {
            self.tell(|| format!("m{to} has deployed for {rows:?}"));
            self.history.reached.extend(held(&rows));
            self.machines[to].deploying.clear();
            return self.step_seed(to, Input::Deployed, None);
        }
        self.step_seed(to, Input::NotDeployed, None)?;
        if self.machines[to].deployment == number {
            self.try_deployment(to);
        }
        Ok(())
    }

    /// Whether a machine that has this row is reached.
    fn is_reached(&self, from: usize, row: &Held) -> bool {
        self.machines.iter().any(|machine| {
            let saved = machine.node.as_ref().map(|node| node.saved());
            machine.side == self.machines[from].side
                && saved.is_some_and(|saved| saved.held.as_ref() == Some(row))
        })
    }

    /// A machine has written that it is part of the cluster.
    pub(super) fn check_reached(&self, number: usize, row: &Held) -> Step {
        if self.history.reached.contains(row) {
            return Ok(());
        }
        let what = format!("m{number} is formed as {row:?}, and no deployment reached it");
        broken(Invariant::Reached, what)
    }
}
