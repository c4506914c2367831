//! Boot tests in QEMU: an artefact is booted the way its user will boot it, and the guest proves
//! itself.
//!
//! ```text
//! Sources::locate -> Firmware      accel::probe -> Probe      Artefact::open -> Artefact
//!         boot(artefact, scenario, expect, tools, folder, events) -> BootReport
//!         Verified::by(artefact, reports) -> Verified<Artefact>
//!         report::write(folder, build, reports)
//! ```
//!
//! QEMU runs in the sandbox it is given and writes to the folder it is given; the artefact itself
//! is never written. Nothing is judged by a clean exit: a pass is an answer with this boot's nonce
//! in which every check holds.

pub mod accel;
mod artefact;
mod boot;
mod config;
pub mod console;
mod error;
mod firmware;
mod machine;
mod qmp;
pub mod report;
mod screenshot;
mod stages;
mod text;
mod wires;

pub use accel::{Accelerator, Probe};
pub use artefact::{Artefact, Format, Unverified, Verified};
pub use boot::{BootEvent, BootReport, Files, Outcome, Scenario, boot};
pub use config::{Config, Firmware, Kernel, Network};
pub use coremax_node_api::boot_test::{Check, Expect, Facts};
pub use error::Error;
pub use firmware::{Located, Sources};
pub use machine::Machine;
pub use stages::{Deadlines, Fault, Signal, Stage, StageTime, Watcher};
