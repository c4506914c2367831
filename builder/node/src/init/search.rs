//! Waiting for the root, by events: modules are loaded for each device that appears, and each disk is
//! looked at, until one has the root.

use std::time::{Duration, Instant};

use anyhow::Result;
use coremax_node_api::verity::RootHash;
use coremax_sandbox::{Cmd, Sandbox};

use super::{
    choose::{choose, is_complete, report},
    cmdline::{CommandLine, Failure},
    console,
    disks::Disks,
    modules::{self, Modules},
    uevent::{Heard, Uevent, Uevents},
};

/// A disk that could not be read when it appeared says nothing once it can be: it is looked at again after so
/// much silence, and then after twice as much each time.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// The longest such silence. Each look at a dying disk puts errors on the console.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Returns when a disk has the root. After the time that it may take the consoles say what was found;
/// a disk that comes later is still welcome.
pub(crate) fn root(
    line: &CommandLine,
    hash: RootHash,
    events: &Uevents,
    modules: &mut Modules,
    disks: &mut Disks,
) -> Result<()> {
    let mut alarm = Alarm { at: Some(Instant::now() + line.wait), told: false };
    everything(modules, disks);
    let mut pause = LOOK_AGAIN;
    let mut again = Instant::now() + pause;
    loop {
        let choice = choose(hash, line.slot.as_deref(), &line.data, disks.all());
        if is_complete(choice, &line.data) {
            return Ok(());
        }
        let found = choice.is_some();
        let next = alarm.at.map_or(again, |at| at.min(again));
        match events.next(Some(next))? {
            Heard::Event(event) => one(&event, modules, disks),
            Heard::Lost => everything(modules, disks),
            Heard::Silence if alarm.at.is_none_or(|at| Instant::now() < at) => {
                disks.look_again();
                pause = longer(pause);
                again = Instant::now() + pause;
            }
            Heard::Silence if found => return Ok(()), // without its data, which will be said
            Heard::Silence => alarm.ring(line, hash, modules, disks),
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LOOK_AGAIN_MAX)
}

/// All devices that are there already.
fn everything(modules: &mut Modules, disks: &mut Disks) {
    modules::modaliases().iter().for_each(|modalias| modules.drive(modalias));
    modules.prepare_root();
    disks.scan();
}

fn one(event: &Uevent, modules: &mut Modules, disks: &mut Disks) {
    if let Some(disk) = event.disk() {
        disks.look(disk);
    }
    if let Some(modalias) = event.modalias.as_ref().filter(|_| event.action == "add") {
        modules.drive(modalias);
    }
}

/// When the root counts as missing, and then when the machine starts anew.
struct Alarm {
    at: Option<Instant>,
    told: bool,
}

impl Alarm {
    fn ring(&mut self, line: &CommandLine, hash: RootHash, modules: &mut Modules, disks: &Disks) {
        if self.told {
            restart();
        }
        self.told = true;
        modules.drive_the_rest();
        console::log("the root was not found");
        console::tell(&format!("{}{}", report(hash, disks.all()), outlook(line)));
        if line.debug {
            shell();
        }
        self.at = match line.failure {
            Failure::Waits => None,
            Failure::Restarts(after) => Some(Instant::now() + after),
        };
    }
}

fn outlook(line: &CommandLine) -> String {
    let shell =
        if line.debug { "" } else { "With coremax.debug on the command line there is a shell.\n" };
    match line.failure {
        Failure::Waits => format!("{shell}Waiting: booting goes on when the disk appears.\n"),
        Failure::Restarts(Duration::ZERO) => "Starting anew now.\n".into(),
        Failure::Restarts(after) => format!("{shell}Starting anew in {} s.\n", after.as_secs()),
    }
}

/// What follows an error that no later device mends.
pub(crate) fn despair(line: &CommandLine, error: &anyhow::Error) -> ! {
    console::log(&format!("failed: {error:#}"));
    let advice = "What to do: boot the other slot from the boot menu, or write the image again.";
    console::tell(&format!("Booting failed: {error:#}.\n{advice}"));
    loop {
        if line.debug {
            shell();
        }
        match line.failure {
            Failure::Restarts(after) => {
                console::tell(&format!("Starting anew in {} s.", after.as_secs()));
                std::thread::sleep(after);
                restart();
            }
            Failure::Waits if line.debug => {}
            Failure::Waits => rustix::event::pause(),
        }
    }
}

/// A shell on the console, where the initrd has one.
fn shell() {
    console::tell("A shell; leave it with exit, and booting goes on.");
    let ended = Cmd::new("/bin/sh", &Sandbox::host()).interactive().spawn();
    if let Err(error) = ended.and_then(|mut shell| shell.wait()) {
        console::tell(&format!("There is no shell: {error}."));
        std::thread::sleep(Duration::from_secs(10)); // the console is not to be flooded
    }
}

fn restart() {
    rustix::fs::sync();
    let _ = rustix::system::reboot(rustix::system::RebootCommand::Restart);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses = std::iter::successors(Some(LOOK_AGAIN), |pause| Some(longer(*pause)));
        let seconds: Vec<_> = pauses.take(7).map(|pause| pause.as_secs()).collect();
        assert_eq!(seconds, [3, 6, 12, 24, 48, 60, 60]);
    }
}
