//! Updates on a running machine, as its operator makes them: a signed one is tried and kept, one that
//! does not hold gives way by itself to the version before, and what is not for this node is refused.
//!
//! One machine (BIOS, QEMU, its disk kept from boot to boot) for the whole story. `COREMAX_FULL=1` adds
//! versions that panic, hang and come to nothing, three boots each, and a cut of power at every write of an update.

mod builds;
mod cuts;
mod guest;

use std::{
    cell::{RefCell, RefMut},
    fs,
    path::PathBuf,
    process::ExitCode,
};

use coremax_tests::{Outcome, Sentence, coremax, expect, tell};
use serde_json::Value;

use builds::Builds;
use guest::{Disk, Guest, Up};

const STORY: &[Sentence<Stage>] = &[
    ("a key is made once, and signs the updates of a recipe that names it", Builds::of_all),
    ("a result without the update that is asked for gets one", Builds::adds_an_update),
    ("a key that the recipe does not name signs nothing", Builds::other_key),
    ("a new machine runs from slot a, and slot b is empty", new_machine),
    ("an update that is no newer is refused with the reason", no_newer),
    ("a newer one runs from slot b, is blessed, and the data is still there", good_update),
    ("a rollback with a reset that keeps the identity goes back to slot a", rollback),
    ("a version that is not healthy gives way to the one before", unhealthy),
    ("a version that panics gives way after three boots", panics),
    ("a version that hangs gives way by the watchdog", hangs),
    ("a version that shows nothing in time gives way by its deadline", late),
    ("power may go at any write of an update", cuts::of_an_update),
];

/// The updates lie on the machine's second disk.
pub(crate) const MOUNT: &str = "mountpoint -q /mnt || mount -o ro /dev/vdb /mnt";

/// Where the story plays.
pub(crate) struct Stage {
    /// Its folder.
    pub(crate) work: PathBuf,
    guest: RefCell<Option<Guest>>,
}

fn main() -> ExitCode {
    let work = coremax().with_file_name("update-tests");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).expect("a folder for the story");
    let stage = Stage { work, guest: RefCell::default() };
    let result = tell(STORY, &stage);
    stage.guest.take();
    result
}

impl Stage {
    fn guest(&self) -> Result<RefMut<'_, Guest>, String> {
        RefMut::filter_map(self.guest.borrow_mut(), Option::as_mut)
            .map_err(|_| "skipped: there is no machine".into())
    }
}

fn up(slot: &str, version: &str) -> Up {
    Up { slot: slot.into(), version: version.into() }
}

fn equal<T: PartialEq + std::fmt::Debug>(found: &T, wanted: &T) -> Outcome {
    expect(found == wanted, || format!("{found:?}, where {wanted:?} was expected"))
}

fn says(text: &str, parts: &[&str]) -> Outcome {
    parts.iter().try_for_each(|part| {
        expect(text.contains(part), || format!("there is no {part:?} in:\n{text}"))
    })
}

fn status(guest: &mut Guest) -> Result<Value, String> {
    let said = guest.runs("coremax-node status --json")?;
    serde_json::from_str(&said).map_err(|e| format!("{said}: {e}"))
}

/// Writes an update and restarts until `version` is up.
fn update(guest: &mut Guest, file: &str, version: &str) -> Result<Up, String> {
    guest.runs(MOUNT)?;
    let said = guest.runs(&format!("coremax-node update /mnt/{file}"))?;
    println!("         {}", said.replace('\n', "; "));
    guest.restart_until(version)
}

/// Waits until the version on trial is blessed.
fn blessed(guest: &mut Guest) -> Outcome {
    let wait = "until ! test -e /run/coremax/trial; do sleep 1; done";
    guest.runs(wait).map(drop)
}

fn new_machine(stage: &Stage) -> Outcome {
    let (disk, files) = (builds::disk(stage)?, builds::updates(stage)?);
    let mut guest = Guest::start(&Disk::Kept(&disk), &files, &stage.work)?;
    equal(&guest.up()?, &up("a", "1"))?;
    guest.runs(MOUNT)?;
    guest.runs("mkdir -p /var/lib/coremax")?;
    guest.runs("echo kept | tee /var/lib/own /var/lib/coremax/own")?;
    let said = guest.runs("coremax-node status")?;
    says(&said, &["node 1\n", "slot a  1                 running, blessed", "slot b  empty"])?;
    let trial = guest.run("test -e /run/coremax/trial")?;
    *stage.guest.borrow_mut() = Some(guest);
    expect(!trial.ok, || "a new machine is on trial".into())
}

fn no_newer(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    let did = guest.run("coremax-node update /mnt/1")?;
    expect(!did.ok, || format!("it was taken: {}", did.said))?;
    says(&did.said, &["is of version 1, and version 1, which runs, is no older", "hint: "])?;
    says(&guest.runs("coremax-node status")?, &["slot b  empty"])
}

fn good_update(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    equal(&update(&mut guest, "2", "2")?, &up("b", "2"))?;
    blessed(&mut guest)?;
    let status = status(&mut guest)?;
    equal(&status["state"], &serde_json::json!({"blessed": "b", "trial": null}))?;
    equal(&status["slots"], &serde_json::json!({"a": "1", "b": "2"}))?;
    equal(&guest.runs("cat /usr/lib/coremax-tests/version")?, &"2".into())?;
    equal(&guest.runs("cat /var/lib/own")?, &"kept".into())
}

fn rollback(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    let identity = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub /var/lib/coremax/own";
    let before = guest.runs(identity)?;
    says(&guest.runs("coremax-node rollback")?, &["to go back to 1 in slot a"])?;
    guest.runs("coremax-node reset --keep-identity")?;
    says(
        &guest.runs("coremax-node status")?,
        &["slot a  1", "on trial, 3 boots left, boots next"],
    )?;
    equal(&guest.restart_until("1")?, &up("a", "1"))?;
    blessed(&mut guest)?;
    equal(&guest.runs(identity)?, &before)?;
    let own = guest.run("test -e /var/lib/own")?;
    expect(!own.ok, || "the reset left data behind".into())?;
    let status = status(&mut guest)?;
    equal(&status["state"]["blessed"], &"a".into())?;
    equal(&status["reset"], &Value::Null)
}

fn unhealthy(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    falls_back(&mut guest, "3", &["sick.service", "to go back to 1 in slot a"])
}

fn panics(stage: &Stage) -> Outcome {
    builds::full()?;
    falls_back(&mut *stage.guest()?, "4", &["Kernel panic - not syncing: sysrq"])
}

fn hangs(stage: &Stage) -> Outcome {
    builds::full()?;
    falls_back(&mut *stage.guest()?, "5", &["Freezing execution"])
}

fn late(stage: &Stage) -> Outcome {
    builds::full()?;
    falls_back(&mut *stage.guest()?, "6", &["did not show its health in time"])
}

/// The update with this number is tried and given up, and version 1 is back.
fn falls_back(guest: &mut Guest, number: &str, wanted: &[&str]) -> Outcome {
    let before = guest.console().len();
    equal(&update(guest, number, "1")?, &up("a", "1"))?;
    let console = guest.console().split_off(before);
    says(&console, wanted)?;
    says(&console, &[&format!("node {number} ("), "slot b is on trial"])?;
    let status = status(guest)?;
    equal(
        &status["state"],
        &serde_json::json!({"blessed": "a", "trial": {"slot": "b", "tries": 0}}),
    )?;
    says(&guest.runs("coremax-node status")?, &["failed its trial"])
}
