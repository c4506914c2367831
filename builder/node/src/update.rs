//! `update`, `bless`, `rollback`: from one version of the image to the next and back.
//!
//! [`apply`] is the order of things; every step is on the disk before the next begins, and the
//! loader learns of the new version by the last write of all, one sector. Whatever power does, the
//! slot that boots is whole:
//!
//! 1. no trial is pending, so that the loader stays away from the slot;
//! 2. the slot's description goes: without it the slot is none;
//! 3. kernel, initrd, layers and verity tree are written, synced, and read back from the disk;
//! 4. the partitions get their ids from the root hash, by which early boot finds them;
//! 5. the description comes, under another name first;
//! 6. the trial begins.

mod files;
mod medium;
mod slot;
mod state;

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod recorder;

use std::io::Read;

use anyhow::{Context, Result};
use coremax_node_api::{
    slot::Slot,
    update::{Manifest, Node, Reader, Version, key::PublicKey},
};

pub(crate) use self::{
    files::{Files, SetPartitionIds},
    medium::{Medium, PartitionIds, Place},
    state::{description, load, save},
};

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) slot: Slot,
    pub(crate) recipe: String,
    pub(crate) version: Version,
}

/// Reads an update to its end and says whether this node can take it. Nothing is written.
///
/// # Errors
/// Each refusal of [`coremax_node_api::update::Error`], and of [`coremax_node_api::slot::Error`].
pub(crate) fn check(
    medium: &dyn Medium,
    source: impl Read,
    keys: &[PublicKey],
    running: &Running,
) -> Result<Manifest> {
    let slot = load(medium)?.free_slot(running.slot)?;
    let mut reader = open(medium, source, keys, running, slot)?;
    while let Some(part) = reader.next_part() {
        if part.carried {
            reader.copy(&mut std::io::sink())?;
        } else {
            slot::find_layer(medium, running.slot, part)?;
            reader.pass()?;
        }
    }
    Ok(reader.finish()?)
}

/// Writes an update to the free slot and puts it on trial from the next boot on.
///
/// # Errors
/// As [`check`], and failing I/O. The running slot is what boots then.
pub(crate) fn apply(
    medium: &mut dyn Medium,
    source: impl Read,
    keys: &[PublicKey],
    running: &Running,
) -> Result<(Slot, Manifest)> {
    let state = load(medium)?;
    let slot = state.free_slot(running.slot)?;
    let reader = open(medium, source, keys, running, slot)?;
    save(medium, &state.end_trial())?;
    slot::clear(medium, slot)?;
    let manifest = slot::write(medium, reader, slot, running.slot)?;
    slot::read_back(medium, &manifest, slot)?;
    medium
        .set_ids(slot, PartitionIds::of(&manifest.root_hash))
        .with_context(|| format!("giving the partitions of slot {slot} their ids"))?;
    slot::finish(medium, slot)?;
    save(medium, &state.begin_trial(slot)?)?;
    Ok((slot, manifest))
}

/// The running slot is healthy: it is what boots from now on.
///
/// # Errors
/// Failing I/O.
pub(crate) fn bless(medium: &mut dyn Medium, running: Slot) -> Result<()> {
    let state = load(medium)?;
    save(medium, &state.bless(running))
}

/// Away from what runs, or from an update that has not booted yet. Says which slot the next boot
/// takes.
///
/// # Errors
/// A slot to go back to that holds nothing, and failing I/O.
pub(crate) fn roll_back(medium: &mut dyn Medium, running: Slot) -> Result<Slot> {
    let to = load(medium)?.roll_back(running);
    let (next, _) = coremax_node_api::slot::choose(&to);
    description(medium, next)?
        .with_context(|| format!("slot {next} holds no version to go back to"))?;
    save(medium, &to)?;
    Ok(next)
}

/// An update whose signature holds and that this node can take.
fn open<R: Read>(
    medium: &dyn Medium,
    source: R,
    keys: &[PublicKey],
    running: &Running,
    slot: Slot,
) -> Result<Reader<R>> {
    let reader = Reader::open(source, keys)?;
    let (recipe, version) = (running.recipe.clone(), running.version.clone());
    let (loader, room) = (state::loader(medium)?, slot::room(medium, slot)?);
    reader.manifest().check(&Node { recipe, version, loader, room })?;
    Ok(reader)
}
