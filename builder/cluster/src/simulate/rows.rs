//! What must hold of rows, wherever they are written: on a seed's disk and on a node's.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use coremax_node_api::{
    join::{Formation, Held, Phase, WINDOW, seed::Member},
    roster::{Name, Role},
};

use super::{
    check::{Invariant, broken},
    machine::{Kind, Machine},
    world::{Step, World},
};

/// What a machine had on its disk.
#[derive(Debug, Default)]
pub(super) struct Had {
    held: Option<Held>,
    roster: Option<Arc<[u8]>>,
    epoch: u64,
    promise: Option<Formation>,
    /// What its row is by its roster.
    place: Option<(BTreeSet<Role>, Ipv4Addr)>,
}

impl World {
    /// Whom a seed has written down since its last write.
    pub(super) fn check_members(&self, machine: usize) -> Step {
        if self.settings.formations_alone {
            return Ok(());
        }
        let Machine { disk, stale, .. } = &self.machines[machine];
        let Some(now) = &disk.seed else { return Ok(()) };
        for (name, member) in &now.members {
            let before = stale.seed.as_ref().and_then(|seed| seed.members.get(name));
            if before.is_some_and(|before| before.key == member.key) {
                continue;
            }
            let mut others = now.members.iter().filter(|(other, _)| *other != name);
            if others.any(|(_, other)| other.hardware.is_same_machine(&member.hardware)) {
                return broken(Invariant::OneRow, format!("a machine has {name}, and another row"));
            }
            let key = self.machines[machine].key();
            if Some(member.key) != key && !self.may_get(machine, name, member) {
                let what = format!("m{machine} gives {name} to {:?}", member.key);
                return broken(Invariant::Approved, what);
            }
            let window = key.and_then(|key| self.history.windows.get(&key).copied());
            let (opened, starts) = window.unwrap_or((self.time, 0));
            let most = WINDOW + WINDOW / 100 + 60_000 * u64::from(starts + 1);
            if self.time - opened > most {
                let what = format!("m{machine} gives {name} to {:?}, and it is late", member.key);
                return broken(Invariant::Window, what);
            }
        }
        Ok(())
    }

    /// Whether a row may be a machine's: it names it, the operator gave it, or the machine has it from another seed.
    fn may_get(&self, seed: usize, name: &Name, member: &Member) -> bool {
        let Some(seed) = &self.machines[seed].seed else { return true };
        let row = seed.roster().node(name).and_then(|row| row.matches.as_ref());
        let is_named = row.is_none_or(|row| member.hardware.is_meant_by(row));
        let has_it = |machine: &Machine| {
            machine.disk.node.as_ref().is_some_and(|disk| {
                disk.key == member.key && disk.held.as_ref().is_some_and(|held| held.name == *name)
            })
        };
        is_named
            || self.history.approved.contains(&(member.key, name.clone()))
            || self.machines.iter().any(has_it)
    }

    /// A node's disk, after a write or a power cut.
    pub(super) fn check_disk(&mut self, number: usize) -> Step {
        if self.settings.formations_alone {
            return Ok(());
        }
        let machine = &self.machines[number];
        let Some(disk) = &machine.disk.node else { return Ok(()) };
        if machine.kind != Kind::Honest {
            return Ok(());
        }
        let had = self.history.had.entry(number).or_default();
        let is_same = matches!((&had.roster, &disk.roster), (Some(before), Some(after))
            if Arc::ptr_eq(before, after));
        let (epoch, place) = if is_same && had.held == disk.held {
            (had.epoch, had.place.clone())
        } else {
            let known = self.known.get(disk.roster.as_deref().unwrap_or_default());
            let row = disk.held.as_ref().and_then(|held| known?.roster.node(&held.name));
            let place = row.map(|row| (row.roles.clone(), row.address));
            (known.map_or(0, |known| known.edition.epoch), place)
        };
        let gave_up = had.promise.is_some_and(|before| {
            disk.promise.is_none_or(|after| {
                after != before
                    && (after.edition.epoch <= before.edition.epoch || !after.may_follow(&before))
            })
        });
        if gave_up {
            return broken(
                Invariant::PromiseKept,
                format!("m{number} promised {:?}, and then {:?}", had.promise, disk.promise),
            );
        }
        if epoch < had.epoch {
            return broken(
                Invariant::EpochKept,
                format!("m{number} went from epoch {} to {epoch}", had.epoch),
            );
        }
        if had.held.is_some() && had.held != disk.held {
            return broken(
                Invariant::RowKept,
                format!("m{number} was {:?}, and is {:?}", had.held, disk.held),
            );
        }
        if let Some(held) = &disk.held {
            let mut given = self.history.given.iter();
            if !given.any(|((_, row), to)| row == held && *to == number) {
                return broken(
                    Invariant::RowKept,
                    format!("m{number} is {held:?}, which no seed gave it"),
                );
            }
        }
        if place != had.place && had.held.is_some() {
            let what = format!("m{number} was at {:?}, and is at {place:?}", had.place);
            return broken(Invariant::RowFixed, what);
        }
        let formed = self.history.formed.as_ref().map(|decided| decided.formation);
        if let Some(held) = &disk.held
            && disk.phase == Phase::Formed
            && disk.promise == formed
        {
            self.check_reached(number, held)?;
        }
        let had = self.history.had.entry(number).or_default();
        let roster = disk.roster.clone();
        *had = Had { held: disk.held.clone(), roster, epoch, promise: disk.promise, place };
        Ok(())
    }
}
