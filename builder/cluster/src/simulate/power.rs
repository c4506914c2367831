//! Disks, and the power that fails while they are written.

use super::{
    check::Violation,
    event::Event,
    machine::Disk,
    world::{Step, World},
};

impl World {
    pub(super) fn cut_power(&mut self, number: usize) -> Step {
        self.tell(|| format!("m{number} off"));
        let is_stale = self.settings.lying_disks && self.rng.once_in(2);
        let machine = &mut self.machines[number];
        machine.cut_power();
        if is_stale {
            machine.disk = machine.stale.clone();
        }
        self.check_disk(number)
    }

    pub(super) fn wipe(&mut self, number: usize) {
        self.tell(|| format!("m{number} wiped"));
        self.machines[number].wipe();
        self.machines[number].retired_in = None;
        self.history.forget(number);
    }

    /// Writes to a disk; not, or just so, if the power fails meanwhile. Whether the machine is still on.
    pub(super) fn write(&mut self, number: usize, disk: Disk) -> Result<bool, Violation> {
        let failure = self.failure_at_write();
        let is_written = failure.unwrap_or(true);
        if is_written {
            let fired = |disk: &Disk| disk.seed.as_ref().and_then(|seed| seed.fired);
            let machine = &mut self.machines[number];
            machine.stale = std::mem::replace(&mut machine.disk, disk);
            let (before, after) = (fired(&machine.stale), fired(&machine.disk));
            self.check_disk(number)?;
            self.check_members(number)?;
            if let (Some(formation), true) = (after, before != after) {
                self.check_decision(number, formation)?;
            }
        }
        if failure.is_some() {
            self.tell(|| {
                format!(
                    "m{number} loses power at a write, which is {}",
                    if is_written { "done" } else { "lost" }
                )
            });
            self.cut_power(number)?;
            let back = self.time + self.rng.range(1_000, 30_000);
            self.at(back, Event::PowerOn(number));
        }
        Ok(failure.is_none())
    }

    /// Whether the power fails at this write, and whether that is done then.
    fn failure_at_write(&mut self) -> Option<bool> {
        let write = self.writes;
        self.writes += 1;
        match self.settings.cut {
            Some(cut) => (cut / 2 == write).then_some(cut % 2 == 1),
            None => {
                let fails = self.rng.percent(self.weather.power_cuts);
                fails.then(|| self.rng.once_in(2))
            }
        }
    }
}
