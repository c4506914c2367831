//! What operators do, right and wrong: rosters that they sign, seeds that they set up, machines that they replace and approve.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use coremax_node_api::{
    join::{Edition, seed},
    roster::{Nic, Node, Role, Roster, signed},
    update::key::SecretKey,
};

use super::{
    event::Event,
    machine::{Kind, mac, meaning},
    scenario::{Act, STORM_MIN},
    world::{Known, Step, World},
};

const MINUTE: u64 = 60_000;
/// What no row has.
const FREE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

impl World {
    /// Signs the operator's roster as it is.
    pub(super) fn sign(&mut self) {
        if let Some(signed) = signed_by(&self.operator, &self.roster, &mut self.known) {
            self.signed = signed;
            if self.oldest.is_empty() {
                self.oldest = Arc::clone(&self.signed);
            }
        }
    }

    /// The machine that is the seed, as the operator knows it.
    pub(super) fn seed(&self) -> Option<usize> {
        self.machines.iter().position(|machine| {
            machine.kind == Kind::Honest
                && machine.row.as_ref() == Some(&self.roster.seed)
                && machine.retired_in.is_none()
                && !machine.is_extra
        })
    }

    /// Somebody starts another machine with the seed's medium, perhaps one with an older roster, in the other half of
    /// the network. The first one goes on.
    pub(super) fn second_seed(&mut self) -> Step {
        self.needs_operator = true;
        let number = self.add(Kind::Honest);
        self.machines[number].row = Some(self.roster.seed.clone());
        self.machines[number].is_extra = true;
        let medium = self.machines.iter().find_map(|machine| machine.medium.clone());
        self.machines[number].medium = match self.rng.range(0, 4) {
            0 => medium,
            1 => self.sign_twin(),
            2 => self.sign_moved(),
            _ => Some(Arc::clone(&self.signed)),
        };
        self.act(Act::Partition)?;
        if let Some(first) = self.seed() {
            self.machines[number].side = 1 - self.machines[first].side;
        }
        self.power_on(number)
    }

    /// The operator signs another roster of the same epoch: one more card in the last row.
    fn sign_twin(&mut self) -> Option<Arc<[u8]>> {
        let mut twin = self.roster.clone();
        let nic = Nic { mac: mac(60_000), name: twin.seed.clone(), address: None };
        twin.nodes.last_mut()?.nics.push(nic);
        signed_by(&self.operator, &twin, &mut self.known)
    }

    /// The operator signs a roster in which a row has another address, or another role, and its old generation.
    fn sign_moved(&mut self) -> Option<Arc<[u8]>> {
        let mut moved = Roster { epoch: self.next_epoch(), ..self.roster.clone() };
        let row = self.rng.index(moved.nodes.len());
        let row = moved.nodes.get_mut(row)?;
        match self.rng.once_in(2) {
            true => row.address = FREE_ADDRESS,
            false => drop(row.roles.insert(Role::Network)),
        }
        signed_by(&self.operator, &moved, &mut self.known)
    }

    /// And puts it into the seed, which does not take it.
    pub(super) fn move_row(&mut self) -> Step {
        let (Some(moved), Some(seed)) = (self.sign_moved(), self.seed()) else { return Ok(()) };
        self.step_seed(seed, seed::Input::Roster(moved), None)
    }

    /// The operator gives its row to a machine that waits, where no row names it; now and then by mistake a
    /// controller's, which nobody gets so. Looks again after a while.
    pub(super) fn approve(&mut self, number: usize) -> Step {
        let again = self.time + self.rng.range(10_000, 2 * MINUTE);
        self.at(again, Event::Act(Act::Approve(number)));
        let machine = &self.machines[number];
        let (Some(name), Some(key), Some(seed)) = (machine.row.clone(), machine.key(), self.seed())
        else {
            return Ok(());
        };
        let waiting = self.machines[seed].seed.as_ref().map(seed::Seed::waiting);
        if !self.belongs(number) || waiting.is_none_or(|waiting| !waiting.contains_key(&key)) {
            return Ok(());
        }
        if self.time < STORM_MIN && self.rng.once_in(3) {
            let controllers: Vec<_> = self.roster.control_plane().map(|row| &row.name).collect();
            let controller = controllers[self.rng.index(controllers.len())].clone();
            return self.step_seed(seed, seed::Input::Approve(key, controller), None);
        }
        self.history.approved.insert((key, name.clone()));
        self.step_seed(seed, seed::Input::Approve(key, name), None)
    }

    /// A machine with a serial number of its own gets another card.
    pub(super) fn change_card(&mut self, number: usize) -> Step {
        if !self.machines[number].has_serial() {
            return Ok(());
        }
        self.cut_power(number)?;
        let card = 20_000 + self.rng.index(20_000);
        self.machines[number].hardware.macs = [mac(card)].into();
        let back = self.time + self.rng.range(1_000, MINUTE);
        self.at(back, Event::PowerOn(number));
        Ok(())
    }

    /// The epoch of the next roster that the operator signs.
    pub(super) fn next_epoch(&mut self) -> u64 {
        self.last_epoch += 1;
        self.last_epoch
    }

    /// A machine dies for good, another one takes its row, and later the dead one comes back.
    pub(super) fn replace_dead(&mut self, number: usize) -> Step {
        let Some(held) =
            self.machines[number].disk.node.as_ref().and_then(|disk| disk.held.clone())
        else {
            return Ok(());
        };
        let is_row = |row: &&mut Node| row.name == held.name && row.generation == held.generation;
        if held.name == self.roster.seed
            || self.seed().is_none_or(|seed| !self.machines[seed].is_on())
            || !self.may_add(Kind::Honest)
        {
            return Ok(());
        }
        let new = self.machines.len();
        let mut roster = self.roster.clone();
        let Some(row) = roster.nodes.iter_mut().find(is_row) else { return Ok(()) };
        row.generation = self.roster.next_generation(row);
        row.matches = row.matches.as_ref().map(|_| meaning(new));
        // A liar promises to anybody: with it alone in common, two seeds have no promise in common.
        let has_liar = self.machines.iter().any(|machine| machine.kind == Kind::Liar);
        if has_liar && row.is_control() {
            return Ok(());
        }
        roster.epoch = self.next_epoch();
        // The last controller that the seed began with: no such roster can be signed.
        if !roster.faults().is_empty() {
            return Ok(());
        }
        self.roster = roster;
        self.needs_operator = true;
        self.cut_power(number)?;
        self.machines[number].retired_in = Some(self.roster.epoch);
        self.sign();
        self.add(Kind::Honest);
        self.machines[new].row = self.machines[number].row.clone();
        self.put_in()?;
        let (back, on) =
            (self.time + self.rng.range(0, 2 * MINUTE), self.time + self.rng.range(0, 2 * MINUTE));
        self.at(back, Event::PowerOn(number));
        self.at(on, Event::PowerOn(new));
        Ok(())
    }

    /// The operator puts the newest roster into the seed that runs.
    pub(super) fn put_in(&mut self) -> Step {
        let Some(number) = self.seed() else { return Ok(()) };
        let Some(seed) = &self.machines[number].seed else { return Ok(()) };
        let before = seed.roster().epoch;
        self.step_seed(number, seed::Input::Roster(Arc::clone(&self.signed)), None)?;
        let machine = &self.machines[number];
        if let (Some(key), Some(seed)) = (machine.key(), &machine.seed)
            && seed.roster().epoch > before
        {
            self.history.windows.insert(key, (self.time, 0));
        }
        Ok(())
    }
}

pub(super) fn signed_by(
    key: &SecretKey,
    roster: &Roster,
    known: &mut HashMap<Vec<u8>, Known>,
) -> Option<Arc<[u8]>> {
    let signed = signed::sign(roster, key).ok()?;
    let edition = Edition { epoch: roster.epoch, digest: roster.digest() };
    known.insert(signed.clone(), Known { edition, roster: Arc::new(roster.clone()) });
    Some(Arc::from(signed))
}
