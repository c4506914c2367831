//! The accelerator: KVM where it really works, else emulation (TCG).
//!
//! That /dev/kvm opens proves nothing: under some hypervisors it opens, QEMU says "KVM internal
//! error" at the guest's first floating-point instruction, or the guest spins for ever. So real
//! firmware is run for a moment, as far as its look for a disk: it goes through every mode of the
//! processor that a kernel will. UEFI firmware uses more of it than BIOS and is the better probe.

use std::{
    fs::File,
    path::Path,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use coremax_sandbox::Sandbox;
use qapi::qmp::Event;
use serde::{Deserialize, Serialize};

use crate::{Config, Error, Firmware, Machine, wires::Input};

/// How long firmware may take with KVM to come to its look for a disk: five times what it takes
/// on a slow host.
const DEADLINE: Duration = Duration::from_secs(10);
/// What firmware says when it has come there.
const SIGNS: [&str; 2] = ["BdsDxe: ", "Booting from "];

/// How a guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By QEMU, one thread a virtual CPU.
    Tcg,
}

impl Accelerator {
    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        }
    }

    pub(crate) const fn arguments(self) -> &'static str {
        match self {
            Self::Kvm => "-accel kvm -cpu host",
            Self::Tcg => "-accel tcg,thread=multi -cpu max",
        }
    }
}

/// An accelerator that was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The choice.
    pub accelerator: Accelerator,
    /// The reason, for people.
    pub why: String,
}

/// Chooses an accelerator by running `firmware` with KVM, at most some seconds. `work` gets the
/// probe's logs.
///
/// # Errors
/// Where QEMU is missing altogether; that KVM does not work is a result.
pub fn probe(firmware: &Firmware, tools: &Sandbox, work: &Path) -> Result<Probe, Error> {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(emulated(format!("/dev/kvm does not open: {error}")));
    }
    let config = Config { memory: 256, ..Config::bare(firmware.clone(), Accelerator::Kvm) };
    let mut machine = match Machine::start(&config, tools, work) {
        Ok(machine) => machine,
        Err(Error::NotStarted { said }) => {
            return Ok(emulated(format!("QEMU does not start with KVM{}", complaint(&said))));
        }
        Err(error) => return Err(error),
    };
    let inputs = machine.inputs(&work.join("serial.log"), &work.join("firmware.log"))?;
    let began = Instant::now();
    let reached = look_for_disk(inputs, began + DEADLINE);
    let said = machine.said();
    machine.quit()?;
    let name = firmware.name();
    Ok(match reached {
        Ok(()) => Probe {
            accelerator: Accelerator::Kvm,
            why: format!("{name} firmware ran in {:.1} s", began.elapsed().as_secs_f64()),
        },
        Err(what) => emulated(format!("with KVM, {name} firmware {what}{}", complaint(&said))),
    })
}

fn emulated(why: String) -> Probe {
    Probe { accelerator: Accelerator::Tcg, why }
}

/// Waits for the firmware's look for a disk; else says what it did instead.
fn look_for_disk(inputs: &Receiver<Input>, until: Instant) -> Result<(), String> {
    let mut said = [String::new(), String::new()];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match inputs.recv_timeout(left) {
            Ok(Input::Serial(bytes)) => said[0].push_str(&String::from_utf8_lossy(&bytes)),
            Ok(Input::Debug(bytes)) => said[1].push_str(&String::from_utf8_lossy(&bytes)),
            Ok(Input::Event(event)) if matches!(*event, Event::STOP { .. }) => {
                return Err("was stopped".into());
            }
            Ok(Input::Ended) => return Err("ended QEMU".into()),
            Ok(Input::Event(_) | Input::Node(_)) => {}
            Err(_) => return Err(format!("did not finish in {} s", DEADLINE.as_secs())),
        }
        if said.iter().any(|text| SIGNS.iter().any(|sign| text.contains(sign))) {
            return Ok(());
        }
    }
}

/// QEMU's first error line, without its own name.
fn complaint(said: &str) -> String {
    let line = said.lines().find(|line| line.contains("error")).or(said.lines().last());
    line.map_or_else(String::new, |line| {
        format!(
            ": {}",
            line.trim_start_matches("qemu-system-x86_64: ").trim_start_matches("error: ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_firmware_says_decides() {
        let text = |text: &str| Input::Serial(text.as_bytes().to_vec());
        let table = [
            (vec![text("\x1b[2JBds"), text("Dxe: loading Boot0001")], Ok(())),
            (vec![Input::Debug(b"Booting from Floppy...".to_vec())], Ok(())),
            (vec![text("noise"), Input::Ended], Err("ended QEMU".to_owned())),
        ];
        for (inputs, want) in table {
            let (sender, receiver) = channel();
            inputs.into_iter().for_each(|input| sender.send(input).unwrap());
            assert_eq!(look_for_disk(&receiver, Instant::now() + DEADLINE), want);
        }
    }

    #[test]
    fn the_reason_is_qemus_first_error() {
        let said = "warning: a\nqemu-system-x86_64: error: failed to set MSR 0x10a\nAssertion b";
        assert_eq!(complaint(said), ": failed to set MSR 0x10a");
        assert_eq!(
            complaint("KVM internal error. Suberror: 1"),
            ": KVM internal error. Suberror: 1"
        );
        assert_eq!(complaint(""), "");
    }

    #[test]
    fn a_guest_that_spins_does_not_finish() {
        let (_sender, receiver) = channel();
        let said = look_for_disk(&receiver, Instant::now()).unwrap_err();
        assert!(said.contains("did not finish"), "{said}");
    }
}
