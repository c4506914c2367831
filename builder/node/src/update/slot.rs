//! The content of a slot: two partitions, and a folder on the ESP.

use std::io::{self, Read};

use anyhow::{Context, Result, ensure};
use coremax_node_api::{
    slot::{FOLDER, INITRD, KERNEL, Slot, grub},
    squashfs::Superblock,
    update::{self, Kind, Manifest, Part, Reader, Room},
};

use super::{
    medium::{Medium, Place, Sink, Source},
    state,
};

/// What the description is called until all else is there.
const NEW: &str = "slot.new";

/// The room in a slot. What its folder holds now gives way to the new files.
pub(super) fn room(medium: &dyn Medium, slot: Slot) -> Result<Room> {
    let length = |place: &Place| Ok::<_, io::Error>(medium.length(place)?.unwrap_or(0));
    let measure = || {
        let mut boot = medium.free()?;
        for name in [KERNEL, INITRD] {
            boot = boot.saturating_add(length(&file(slot, name))?);
        }
        let (root, verity) = (length(&Place::Root(slot))?, length(&Place::Verity(slot))?);
        Ok::<_, io::Error>(Room { root, verity, boot })
    };
    measure().with_context(|| format!("measuring slot {slot}"))
}

/// Makes the slot none.
pub(super) fn clear(medium: &mut dyn Medium, slot: Slot) -> Result<()> {
    state::leave(medium, slot)?;
    medium
        .remove(&path(slot, grub::SLOT))
        .and_then(|()| medium.sync_folder(&folder(slot)))
        .with_context(|| format!("removing the description of slot {slot}"))
}

/// Writes all parts of an update. The slot remains none.
pub(super) fn write<R: Read>(
    medium: &mut dyn Medium,
    mut reader: Reader<R>,
    slot: Slot,
    running: Slot,
) -> Result<Manifest> {
    while let Some(part) = reader.next_part() {
        let (place, at) = target(reader.manifest(), part.kind, slot);
        if let Place::File(path) = &place {
            medium.create(path).with_context(|| format!("making {path} on the ESP"))?;
        }
        if part.carried {
            reader.copy(&mut Sink { medium, place: place.clone(), at })?;
        } else {
            copy_layer(medium, running, part, &place, at)?;
            reader.pass()?;
        }
        medium.sync(&place).with_context(|| format!("syncing the {}", part.kind))?;
    }
    medium.sync_folder(&folder(slot)).context("syncing the ESP")?;
    Ok(reader.finish()?)
}

/// Reads all parts again, from the disk.
///
/// # Errors
/// A part that is not what was written.
pub(super) fn read_back(medium: &dyn Medium, manifest: &Manifest, slot: Slot) -> Result<()> {
    for part in &manifest.parts {
        let (place, at) = target(manifest, part.kind, slot);
        part.copy(Source { medium, place, at }, &mut io::sink())
            .with_context(|| format!("reading back what was written to slot {slot}"))?;
    }
    Ok(())
}

/// Makes the slot one.
pub(super) fn finish(medium: &mut dyn Medium, slot: Slot) -> Result<()> {
    medium
        .rename(&path(slot, NEW), &path(slot, grub::SLOT))
        .and_then(|()| medium.sync_folder(&folder(slot)))
        .with_context(|| format!("naming the description of slot {slot}"))
}

/// Where a layer lies in the running slot that an update does not carry, in bytes.
///
/// # Errors
/// [`update::Error::Missing`].
pub(super) fn find_layer(medium: &dyn Medium, running: Slot, part: Part) -> Result<u64> {
    let place = Place::Root(running);
    let missing = || update::Error::Missing { part: part.kind };
    let system = layer_length(medium, &place).context("reading the running root")?;
    let at = if part.kind == Kind::System { 0 } else { system.ok_or_else(missing)? };
    let source = Source { medium, place, at };
    part.copy(source, &mut io::sink()).map_err(|error| match error {
        update::Error::Damaged { .. } | update::Error::Truncated { .. } => missing(),
        other => other,
    })?;
    Ok(at)
}

fn copy_layer(
    medium: &mut dyn Medium,
    running: Slot,
    part: Part,
    to: &Place,
    at: u64,
) -> Result<()> {
    let from = find_layer(medium, running, part)?;
    let mut buffer = vec![0; 128 << 10];
    let mut done = 0;
    while done < part.size {
        let left = usize::try_from(part.size - done).unwrap_or(buffer.len());
        let length = left.min(buffer.len());
        let chunk = &mut buffer[..length];
        medium
            .read_at(&Place::Root(running), from + done, chunk)
            .and_then(|()| medium.write_at(to, at + done, chunk))
            .with_context(|| format!("copying the {} of slot {running}", part.kind))?;
        done += chunk.len() as u64;
    }
    ensure!(done == part.size, "copying the {}", part.kind);
    Ok(())
}

/// The length of the squashfs at the beginning of a root, filled up to a whole block: where the
/// next layer begins.
fn layer_length(medium: &dyn Medium, place: &Place) -> io::Result<Option<u64>> {
    let mut bytes = [0; Superblock::LENGTH];
    medium.read_at(place, 0, &mut bytes)?;
    Ok(Superblock::parse(&bytes).ok().map(|superblock| superblock.layer_length()))
}

/// Where a part goes.
fn target(manifest: &Manifest, kind: Kind, slot: Slot) -> (Place, u64) {
    match kind {
        Kind::Kernel => (file(slot, KERNEL), 0),
        Kind::Initrd => (file(slot, INITRD), 0),
        Kind::Description => (file(slot, NEW), 0),
        Kind::System => (Place::Root(slot), 0),
        Kind::Site => (Place::Root(slot), manifest.part(Kind::System).size),
        Kind::Verity => (Place::Verity(slot), 0),
    }
}

fn folder(slot: Slot) -> String {
    format!("{FOLDER}/{slot}")
}

fn path(slot: Slot, name: &str) -> String {
    format!("{FOLDER}/{slot}/{name}")
}

fn file(slot: Slot, name: &str) -> Place {
    Place::File(path(slot, name))
}
