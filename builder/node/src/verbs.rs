//! The verbs of the slots: `update`, `status`, `bless`, `rollback`, `reset`.
//!
//! Here is where on a node things are; what is done with them is in [`crate::update`].

mod health;
mod lock;
mod shadowing;
mod table;
mod update;

use std::{fs, io, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use coremax_node_api::{
    early_boot::{self, TRIAL},
    reset::{self, Reset},
    slot::{self, FOLDER, Slot},
    status::Status,
    update::key::{self, PublicKey},
};
use thiserror::Error;

pub(crate) use self::update::update;
use self::{lock::Lock, table::Table};
use crate::{
    download, os_release,
    update::{self as slots, Files, Medium, Place, Running},
};

/// Links to `root-a`, `verity-a`, `root-b` and `verity-b` of the disk that was booted from.
const PARTITIONS: &str = "/run/coremax/partitions";
/// Where the ESP of that disk is mounted.
const ESP: &str = "/efi";
/// What the data partition lays over /etc, and what the image has there.
const ETC: &str = "/run/coremax/data/etc/upper";
const ETC_OF_IMAGE: [&str; 2] = ["/run/coremax/site/etc", "/run/coremax/system/etc"];

/// The image was built for nobody's updates.
#[derive(Debug, Error)]
#[error("this image has no key that an update could be verified with")]
struct NoKeys;

impl NoKeys {
    const HINT: &str =
        "install the node anew from a recipe with [root] update-key; `coremax key new` makes a key";
}

/// Says what is in the slots.
pub(crate) fn status(as_json: bool) -> Result<()> {
    let status = gather(&disk()?, running()?)?;
    if as_json {
        println!("{}", serde_json::to_string(&status).context("writing the status")?);
    } else {
        print!("{status}");
    }
    Ok(())
}

/// Keeps the running version.
pub(crate) fn bless() -> Result<()> {
    let _lock = Lock::wait()?;
    let running = running()?;
    slots::bless(&mut disk()?, running.slot)?;
    match fs::remove_file(TRIAL) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {TRIAL}"));
        }
        _ => {}
    }
    println!("{} {} in slot {} is blessed", running.recipe, running.version, running.slot);
    Ok(())
}

/// Keeps the running version once it has shown that it is healthy.
pub(crate) fn bless_when_healthy() -> Result<()> {
    health::wait().context("the running version is not blessed")?;
    bless()
}

/// Goes back at the next boot.
pub(crate) fn roll_back() -> Result<()> {
    let _lock = Lock::take("a rollback")?;
    let mut disk = disk()?;
    let running = running()?;
    let next = slots::roll_back(&mut disk, running.slot)?;
    let version = slots::description(&disk, next)?.map(|found| found.version).unwrap_or_default();
    match next == running.slot {
        true => println!("the update will not be tried; {version} stays"),
        false => println!("restart the node to go back to {version} in slot {next}"),
    }
    Ok(())
}

/// Marks the data partition to be cleared by early boot.
pub(crate) fn reset(what: Reset) -> Result<()> {
    mark(&mut disk()?, what).with_context(|| format!("writing {} on the ESP", reset::FILE))?;
    println!("restart the node to clear its data ({what})");
    Ok(())
}

/// What the user can do about an error, where its cause says so.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let update = || cause.downcast_ref::<coremax_node_api::update::Error>()?.hint();
        let slot = || cause.downcast_ref::<slot::Error>()?.hint();
        let key = || cause.downcast_ref::<key::NotAKey>()?.hint();
        let none = || cause.downcast_ref::<NoKeys>().map(|_| NoKeys::HINT.to_owned());
        // An error within one of I/O is no cause of its own.
        let within = || cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
        let fetching = || cause.downcast_ref::<download::Error>().or_else(within)?.hint();
        update().or_else(slot).or_else(key).or_else(none).or_else(fetching)
    })
}

fn gather(disk: &dyn Medium, running: Running) -> Result<Status> {
    let version = |slot| {
        let found = slots::description(disk, slot)?;
        Ok((slot, found.map(|found| found.version)))
    };
    Ok(Status {
        recipe: running.recipe,
        version: running.version.to_string(),
        running: running.slot,
        state: slots::load(disk)?,
        slots: Slot::BOTH.into_iter().map(version).collect::<Result<_>>()?,
        reset: marked(disk).context("reading the mark of a reset on the ESP")?,
        shadowing: shadowing::find(ETC.as_ref(), &ETC_OF_IMAGE.map(Path::new)),
    })
}

/// A mark that is there is there for good; a torn one is none.
fn mark(disk: &mut dyn Medium, what: Reset) -> io::Result<()> {
    let place = Place::File(reset::FILE.to_owned());
    disk.create(reset::FILE)?;
    disk.write_at(&place, 0, what.mark().as_bytes())?;
    disk.sync(&place)?;
    disk.sync_folder(FOLDER)
}

fn marked(disk: &dyn Medium) -> io::Result<Option<Reset>> {
    let place = Place::File(reset::FILE.to_owned());
    let Some(length) = disk.length(&place)? else { return Ok(None) };
    let mut mark = vec![0; usize::try_from(length).unwrap_or(0).min(64)];
    disk.read_at(&place, 0, &mut mark)?;
    Ok(Reset::parse(&mark))
}

fn disk() -> Result<Files<Table>> {
    if !Path::new(ESP).join(FOLDER).is_dir() {
        bail!("there is no {ESP}/{FOLDER}: this machine does not run from an image with slots");
    }
    Ok(Files::new(PARTITIONS.into(), ESP.into(), Table(None)))
}

/// What early boot left.
fn state() -> Result<early_boot::State> {
    let parse = |line: String| Ok(serde_json::from_str(&line)?);
    read(early_boot::STATE)
        .and_then(parse)
        .with_context(|| format!("reading {}", early_boot::STATE))
}

fn running() -> Result<Running> {
    let line = read("/proc/cmdline")?;
    let named = || -> Option<Slot> { state().ok()?.slot?.parse().ok() };
    let slot = Slot::of_command_line(&line).or_else(named).ok_or_else(|| {
        anyhow!("neither the kernel's command line nor early boot says which slot runs")
    })?;
    let release = read(os_release::PATH)?;
    let version = slot::version_of_command_line(&line)
        .ok_or_else(|| anyhow!("the kernel's command line does not say which version runs"))?;
    let recipe = os_release::field(&release, "IMAGE_ID")
        .with_context(|| format!("{} does not say which recipe runs", os_release::PATH))?;
    Ok(Running { slot, recipe, version })
}

/// An image without keys takes no update.
fn keys() -> Result<Vec<PublicKey>> {
    if !Path::new(key::ON_NODE).exists() {
        return Err(NoKeys.into());
    }
    key::parse_public(&read(key::ON_NODE)?).with_context(|| format!("reading {}", key::ON_NODE))
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use coremax_node_api::slot::State;

    use super::*;

    #[test]
    fn a_mark_of_a_reset_on_real_files() {
        let folder = tempfile::tempdir().unwrap();
        let esp = folder.path().join("esp");
        let mut disk = Files::new(folder.path().join("none"), esp.clone(), Table(None));
        assert_eq!(marked(&disk).unwrap(), None);
        for what in [Reset::All, Reset::KeepIdentity] {
            mark(&mut disk, what).unwrap();
            assert_eq!(marked(&disk).unwrap(), Some(what));
        }
        assert_eq!(fs::read(esp.join("coremax/reset")).unwrap(), b"keep-identity\n");
    }

    #[test]
    fn status_of_a_disk_without_anything() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Files::new(folder.path().into(), folder.path().into(), Table(None));
        let running =
            Running { slot: Slot::A, recipe: "node".into(), version: "1".parse().unwrap() };
        let status = gather(&disk, running).unwrap();
        assert_eq!((status.state, status.next()), (State::NEW, Slot::A));
        assert!(status.slots.values().all(Option::is_none));
        let mut disk = disk;
        let error = slots::bless(&mut disk, Slot::A).unwrap_err();
        assert!(format!("{error:#}").contains("neither GRUB's blocks"), "{error:#}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
    }

    #[test]
    fn causes_give_their_hints() {
        let refused = coremax_node_api::update::Error::Unsigned;
        let error = anyhow::Error::from(refused).context("updating");
        assert!(hint(&error).unwrap().starts_with("sign it"));
        assert!(hint(&NoKeys.into()).unwrap().contains("update-key"));
        assert_eq!(hint(&anyhow!("x")), None);
    }
}
