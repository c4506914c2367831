//! Updates on a running machine, as its operator makes them: a signed one is tried and kept, one that
//! does not hold gives way by itself to the version before, and what is not for this node is refused.
//!
//! One machine (BIOS, QEMU, its disk kept from boot to boot) plays the first part. `COREMAX_FULL=1` adds machines of
//! their own for versions that panic, hang and come to nothing, three boots each, for UEFI and for a chain that its
//! operator signed, and cuts of power at every write of an update and of a first boot.

mod builds;
mod cuts;
mod identity;
mod life;
mod others;
mod replay;

use std::{
    cell::{RefCell, RefMut},
    path::PathBuf,
    process::ExitCode,
};

use coremax_tests::{
    Outcome, Sentence, expect, folder,
    guest::{Guest, Up},
    left, tell,
};
use serde_json::Value;

use builds::{Builds, Version};

const STORY: &[Sentence<Stage>] = &[
    ("a key is made once, and signs the updates of a recipe that names it", Builds::signs),
    ("a result without the update that is asked for gets one", Builds::adds_an_update),
    ("a key that the recipe does not name signs nothing", Builds::other_key),
    ("a new machine runs from slot a, and slot b is empty", life::new_machine),
    ("it was told its cluster by two media, and keeps what the first says", identity::told),
    ("an update that is no newer is refused with the reason", life::no_newer),
    ("a newer one runs from slot b, is blessed, and the data is still there", life::good_update),
    ("who may log in is as the new version says, and as the machine added", life::accounts),
    ("a rollback with a reset that keeps the identity goes back to slot a", life::rollback),
    ("a version that is not healthy gives way to the one before", life::unhealthy),
    ("an update that breaks off on its way over the network is taken up", life::over_the_network),
    ("a version that panics gives way after three boots", others::panics),
    ("a version that hangs gives way by the watchdog", others::hangs),
    ("a version that shows nothing in time gives way by its deadline", others::late),
    ("by UEFI an update is blessed, and another gives way", others::by_uefi),
    ("so they are where the operator signed all that boots", others::sealed),
    ("systemd-dissect finds the root and its hashes", others::dissected),
    ("power may go at any write of an update that GRUB starts", cuts::of_an_update),
    ("power may go at any write of an update that systemd-boot starts", cuts::of_a_sealed_update),
    ("power may go at any write of the first boot", cuts::of_the_first_boot),
];

/// The updates lie on the machine's second disk.
pub(crate) const MOUNT: &str = "mountpoint -q /mnt || mount -o ro /dev/vdb /mnt";

/// Where the story plays.
pub(crate) struct Stage {
    /// Its folder.
    pub(crate) work: PathBuf,
    /// The machine of the first part.
    guest: RefCell<Option<Guest>>,
}

fn main() -> ExitCode {
    let work = folder("update");
    let stage = Stage { work, guest: RefCell::default() };
    let result = tell(STORY, &stage);
    stage.guest.take();
    result
}

impl Stage {
    fn guest(&self) -> Result<RefMut<'_, Guest>, String> {
        left(&self.guest, "machine")
    }
}

pub(crate) fn up(slot: &str, version: &str) -> Up {
    Up { slot: slot.into(), version: version.into() }
}

pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(found: &T, wanted: &T) -> Outcome {
    expect(found == wanted, || format!("{found:?}, where {wanted:?} was expected"))
}

pub(crate) fn says(text: &str, parts: &[&str]) -> Outcome {
    parts.iter().try_for_each(|part| {
        expect(text.contains(part), || format!("there is no {part:?} in:\n{text}"))
    })
}

pub(crate) fn status(guest: &mut Guest) -> Result<Value, String> {
    let said = guest.runs("coremax-node status --json")?;
    serde_json::from_str(&said).map_err(|e| format!("{said}: {e}"))
}

/// Takes an update from the second disk and restarts until the version with this number is up.
pub(crate) fn update(guest: &mut Guest, to: Version, until: &str) -> Result<Up, String> {
    guest.runs(MOUNT)?;
    let said = guest.runs(&format!("coremax-node update /mnt/{}", to.file()))?;
    println!("         {}", said.replace('\n', "; "));
    guest.restart_until(until)
}

/// What a node says to an update that it does not take.
pub(crate) fn refuses(guest: &mut Guest, file: &str, parts: &[&str]) -> Outcome {
    guest.runs(MOUNT)?;
    let did = guest.run(&format!("coremax-node update /mnt/{file}"))?;
    expect(!did.ok, || format!("it was taken: {}", did.said))?;
    says(&did.said, parts)?;
    says(&did.said, &["hint: "])
}

/// Waits until the version on trial is blessed.
pub(crate) fn blessed(guest: &mut Guest) -> Outcome {
    let wait = "until ! test -e /run/coremax/trial; do sleep 1; done";
    guest.runs(wait).map(drop)
}

/// The update is tried and given up, and version 1 is back.
pub(crate) fn falls_back(guest: &mut Guest, to: Version, wanted: &[&str]) -> Outcome {
    let before = guest.console_length();
    equal(&update(guest, to, "1")?, &up("a", "1"))?;
    let console = guest.console_after(before);
    says(&console, wanted)?;
    says(&console, &[&format!("node {} (", to.number), "slot b is on trial"])?;
    let state = serde_json::json!({"blessed": "a", "trial": {"slot": "b", "tries": 0}});
    equal(&status(guest)?["state"], &state)?;
    says(&guest.runs("coremax-node status")?, &["failed its trial"])
}
