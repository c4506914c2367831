//! Early boot: from the kernel's first process to the verified root's own.
//!
//! Runs as /init in the initrd that the builder writes. It mounts the kernel's file systems, loads
//! modules for the devices it sees, waits for the disk with the root whose hash the kernel's command
//! line has, sets up dm-verity, stacks the root's two layers, lays the machine's state over them, and
//! becomes the root's init. What decides is pure (`choose`, `cmdline`, `ext4`, [`crate::gpt`]);
//! what touches the kernel is thin.
//!
//! Command line: `coremax.root=HASH`, `coremax.slot=NAME`, `coremax.data=PARTUUID|none`,
//! `coremax.wait=SECONDS`, `coremax.debug`, and the kernel's own `init=`, `panic=`, `loglevel=`, `debug`,
//! `modprobe.blacklist=` and `MODULE.OPTION=`.

mod accounts;
mod choose;
mod cmdline;
mod console;
mod copy;
mod data;
mod disks;
mod esp;
mod ext4;
mod furnish;
mod grow;
mod handover;
mod modules;
mod mounts;
mod reset;
mod root;
mod search;
mod seed;
mod selected;
mod trial;
mod uevent;

use std::{convert::Infallible, fs, path::Path};

use anyhow::{Context, Result};
use coremax_node_api::early_boot::{self, State};

use self::{
    choose::choose,
    cmdline::{CommandLine, Data},
    disks::Disks,
    modules::Modules,
    uevent::Uevents,
};

const NO_HASH: &str =
    "the kernel's command line has no coremax.root= with a root hash of 64 hex digits";

/// Boots; `arguments` are passed on to the root's init. Returns only where this is no machine's first
/// process.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    handover::guard()?;
    let mounted = mounts::kernel();
    let line = CommandLine::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    if !line.loud && !line.debug {
        console::hush();
    }
    let Err(error) = mounted.and_then(|()| boot(&line, arguments));
    search::despair(&line, &error)
}

fn boot(line: &CommandLine, arguments: &[&str]) -> Result<Infallible> {
    // Listening comes before looking: what appears in between is then seen at least once.
    let events = Uevents::open()?;
    let mut modules = Modules::start(line)?;
    let mut disks = Disks::default();
    let line = &selected::slot(line, &modules);
    let hash = line.root.context(NO_HASH)?;
    search::root(line, hash, &events, &mut modules, &mut disks)?;
    let choice = choose(hash, line.slot.as_deref(), &line.data, disks.all())
        .context("the root's disk is gone again")?;
    let [root, verity] =
        [choice.root, choice.verity].map(|part| disks::node(&choice.disk.name, part));
    let (root, verity) = (root?, verity?);
    console::log(&format!("root found: {}, verity {}", root.display(), verity.display()));
    modules.need_root()?;
    root::mount(hash, &root, &verity)?;
    esp::mount(choice.disk, &modules);
    trial::prepare(line.slot.as_deref());
    let data = data::mount(choice.data, line.data != Data::Nowhere, &hash.to_string())?;
    let (slot, disk) = (line.slot.clone(), choice.disk.name.clone());
    record(&State { root: hash.to_string(), slot, disk, data })?;
    if Path::new(mounts::FIRMWARE).is_dir() {
        modules.need(&["efivarfs"]);
    }
    mounts::for_systemd();
    modules.stop();
    handover::to(&line.init, arguments)
}

fn record(state: &State) -> Result<()> {
    let line = coremax_node_api::encode(state)?;
    fs::write(early_boot::STATE, line).context("writing what was done")
}
