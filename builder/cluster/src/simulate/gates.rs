//! What nodes find around them: links that let small packets pass alone, and a registry that does not answer.

use std::collections::BTreeSet;

use coremax_node_api::{
    join::{Health, Lack, Phase, node, seed::Seed},
    roster::Name,
};

use super::{
    check::{Invariant, broken},
    event::Event,
    machine::Kind,
    scenario::Act,
    world::{Step, World},
};

/// Between two looks of a node around it, in milliseconds.
const LOOKS_EVERY: u64 = 5_000;
/// For how long it takes another node for reached that it has reached.
const FRESH_FOR: u64 = 30_000;
/// How long it may take until a seed knows of a link: it was fresh, and so was the last report that came.
const KNOWN_AFTER: u64 = 70_000;

impl World {
    /// A node looks around, and again after a while.
    pub(super) fn look_around(&mut self, number: usize, starts: u32) -> Step {
        self.at(self.time + LOOKS_EVERY, Event::Health { to: number, starts });
        let phase = self.machines[number].node.as_ref().map(node::Node::phase);
        // Before it has a row it knows nobody to ask, and once it is part of a cluster it asks nobody.
        if phase.is_none_or(|phase| !(Phase::Enrolled..Phase::Deploying).contains(&phase)) {
            return Ok(());
        }
        for other in 0..self.machines.len() {
            if other != number && self.passes(number, other) && !self.rng.percent(self.weather.loss)
            {
                let time = self.time;
                self.machines[number].heard.insert(other, time);
            }
        }
        let lacks = self.registry_down.map(|_| Lack::Registry).into_iter().collect();
        let reached = self.reached(number);
        self.step_node(number, node::Input::Health(Health { lacks, reached }))
    }

    /// Whether the longest packets come to another machine, and back.
    fn passes(&self, from: usize, to: usize) -> bool {
        let is_narrow = |link| self.narrow.contains_key(&link);
        self.machines[to].is_on()
            && self.machines[from].side == self.machines[to].side
            && !is_narrow((from, to))
            && !is_narrow((to, from))
    }

    /// The rows that a machine reaches. Where several say that they have one, as one that was replaced may, it has to reach
    /// all of them.
    fn reached(&self, number: usize) -> BTreeSet<Name> {
        let machine = &self.machines[number];
        let (mut heard, mut silent) = (BTreeSet::new(), BTreeSet::new());
        for (other, peer) in self.machines.iter().enumerate() {
            let held = peer.disk.node.as_ref().and_then(|disk| disk.held.as_ref());
            let (Some(held), true) = (held, peer.is_on() && other != number) else { continue };
            let at = machine.heard.get(&other);
            if at.is_some_and(|at| self.time - at <= FRESH_FOR) {
                heard.insert(&held.name);
            } else if peer.side == machine.side {
                silent.insert(&held.name);
            }
        }
        heard.difference(&silent).map(|name| (*name).clone()).collect()
    }

    /// From one machine to another, packets pass that are short, and no others.
    pub(super) fn narrow(&mut self, from: usize, to: usize) {
        if from != to {
            self.narrow.entry((from, to)).or_insert(self.time);
            let end = self.time + self.rng.range(10_000, 400_000);
            self.at(end, Event::Act(Act::Widen(from, to)));
        }
    }

    /// The registry answers nobody for a while.
    pub(super) fn stop_registry(&mut self) {
        self.registry_down.get_or_insert(self.time);
        let end = self.time + self.rng.range(10_000, 400_000);
        self.at(end, Event::Act(Act::Registry));
    }

    /// The weather clears: links and registry are mended too.
    pub(super) fn clear(&mut self) {
        self.weather.clear();
        self.narrow.clear();
        self.registry_down = None;
    }

    /// A seed has decided to deploy: over links that carry it, and with a registry that answers.
    pub(super) fn check_gates(&self, machine: usize, seed: &Seed) -> Step {
        let now = self.machines[machine].now(self.time);
        let members = &seed.saved().members;
        let keys: Vec<_> =
            seed.counted(now).iter().filter_map(|row| Some(members.get(&row.name)?.key)).collect();
        let is_counted = |number: usize| {
            let machine = &self.machines[number];
            machine.kind == Kind::Honest && machine.key().is_some_and(|key| keys.contains(&key))
        };
        let is_known = |since: u64| self.time - since > KNOWN_AFTER;
        let mut links = self.narrow.iter();
        let narrow = links
            .find(|((from, to), since)| is_known(**since) && is_counted(*from) && is_counted(*to));
        if let Some(((from, to), since)) = narrow {
            let what = format!("formed while m{from} does not reach m{to}, since {since}");
            return broken(Invariant::Mesh, what);
        }
        match self.registry_down.filter(|since| is_known(*since)) {
            Some(since) => {
                broken(Invariant::Lack, format!("formed without a registry since {since}"))
            }
            None => Ok(()),
        }
    }
}
