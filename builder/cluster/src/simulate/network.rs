//! What travels between machines, and those that answer what is not theirs to answer.

use std::{net::SocketAddr, sync::Arc};

use coremax_node_api::join::{
    Answer, Beacon, Formation, Held, Orders, Peer, Report, Stage, Verdict, node, seed,
};

use super::{
    event::{Event, Packet},
    machine::{Kind, PORT, address, at_address},
    world::{CLUSTER, Known, Step, World},
};

impl World {
    pub(super) fn send_report(
        &mut self,
        from: usize,
        to: SocketAddr,
        mut report: Box<Report>,
    ) -> Step {
        self.check_report(from, &report)?;
        let (Some(to), Some(key)) = (at_address(to), self.machines[from].key()) else {
            return Ok(());
        };
        if self.machines[from].kind == Kind::Liar {
            self.lie(to, &mut report);
        }
        let peer = Peer { key, is_proven: self.machines[from].kind != Kind::Stranger };
        self.tell(|| {
            format!(
                "m{from} -> m{to} {:?} {:?} epoch {} {:?}",
                report.phase, report.held, report.edition.epoch, report.promise
            )
        });
        self.send(from, to, Packet::Report(peer, report));
        Ok(())
    }

    pub(super) fn send(&mut self, from: usize, to: usize, packet: Packet) {
        if to >= self.machines.len() {
            return;
        }
        if from == to {
            return self.at(self.time + 1, Event::Deliver { to, from, packet });
        }
        if self.machines[from].side != self.machines[to].side || !self.machines[to].is_on() {
            return;
        }
        let times = u64::from(!self.rng.percent(self.weather.loss))
            + u64::from(self.rng.percent(self.weather.doubling));
        for _ in 0..times {
            let arrives = self.time + self.rng.range(1, self.weather.delay);
            self.at(arrives, Event::Deliver { to, from, packet: packet.clone() });
        }
    }

    pub(super) fn deliver(&mut self, to: usize, from: usize, packet: Packet) -> Step {
        match packet {
            Packet::Beacon(at, beacon) => self.step_node(to, node::Input::Beacon(at, beacon)),
            Packet::Answer(peer, answer) => {
                self.tell(|| format!("m{to} <- m{from} {:?}", Brief(&answer.verdict)));
                let disk = self.machines[to].disk.node.as_ref();
                let is_bound =
                    |disk: &&node::Saved| disk.promise.is_some_and(|p| p.seed != peer.key);
                let before = disk.filter(is_bound).cloned();
                self.answering = Some(from);
                self.step_node(to, node::Input::Answer(peer, *answer))?;
                self.answering = None;
                before.map_or(Ok(()), |before| self.check_authority(to, peer.key, &before))
            }
            Packet::Report(peer, report) => match self.machines[to].kind {
                Kind::Stranger | Kind::Forger => {
                    self.pose_as_seed(to, from, &report);
                    Ok(())
                }
                _ => self.step_seed(to, seed::Input::Report(peer, report), Some(from)),
            },
        }
    }

    /// Answers whoever asks as a seed would. Without the cluster's key: with the operator's own roster. With it: a node
    /// without a name with a roster of its own, and one that has a name with another name, or with an old roster.
    fn pose_as_seed(&mut self, liar: usize, to: usize, report: &Report) {
        let Some(key) = self.machines[liar].key() else { return };
        let is_proven = self.machines[liar].kind == Kind::Forger;
        let held = report.held.clone();
        let other = self
            .roster
            .nodes
            .iter()
            .rev()
            .find(|row| held.as_ref().is_none_or(|held| row.name != held.name));
        let Some(other) = other else { return };
        let other = Held { name: other.name.clone(), generation: other.generation };
        let newest = Arc::clone(&self.signed);
        let (held, roster) = match held {
            _ if !is_proven => (other, newest),
            None => match &self.forged {
                Some(forged) => (other, Arc::clone(forged)),
                None => return,
            },
            Some(held) if self.rng.once_in(2) => (held, Arc::clone(&self.oldest)),
            Some(held) if self.rng.once_in(2) => (held, newest),
            Some(_) => (other, newest),
        };
        let Some(Known { edition, roster: open }) = self.known.get(&*roster) else { return };
        let (edition, generation) = (*edition, open.seed_generation());
        let formation = Formation { cluster: CLUSTER, edition, generation, seed: key };
        let stage = match edition.epoch {
            1 => Stage::Gathering,
            _ if self.rng.once_in(2) => Stage::Forming(formation),
            _ => Stage::Formed(formation),
        };
        let orders = Orders { held, edition, roster: Some(roster), wall: 0, stage };
        let answer = Answer { number: report.number, verdict: Verdict::Member(orders), gift: None };
        self.send(liar, to, Packet::Answer(Peer { key, is_proven }, Box::new(answer)));
    }

    /// The beacons of those who pose as seeds.
    pub(super) fn lure(&mut self, liar: usize) {
        let cluster = coremax_node_api::join::cluster_hash(self.roster.cluster);
        let beacon = Beacon { cluster, epoch: self.roster.epoch, port: PORT };
        for to in (0..self.machines.len()).filter(|to| *to != liar) {
            self.send(liar, to, Packet::Beacon(address(liar), beacon));
        }
    }
}

/// A verdict without the roster in it.
struct Brief<'a>(&'a Verdict);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Verdict::Member(orders) => {
                write!(f, "{:?} epoch {} {:?}", orders.held, orders.edition.epoch, orders.stage)
            }
            other => write!(f, "{other:?}"),
        }
    }
}
