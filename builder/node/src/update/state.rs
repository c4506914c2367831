//! The state of the slots, read from and written to the ESP.

use anyhow::{Context, Result};
use coremax_node_api::{
    env,
    slot::{
        FOLDER, Slot, State,
        grub::{BLESSED, BLESSED_COPY, Blocks, Description, SLOT, TRIAL},
    },
};

use super::{Medium, Place};

/// The blocks as they are.
pub(crate) fn load(medium: &dyn Medium) -> Result<Blocks> {
    let block = |name| Ok::<_, anyhow::Error>(small(medium, &file(name))?.unwrap_or_default());
    Ok(Blocks { blessed: block(BLESSED)?, copy: block(BLESSED_COPY)?, trial: block(TRIAL)? })
}

/// Makes `to` the state, a block at a time.
pub(crate) fn save(medium: &mut dyn Medium, to: &State) -> Result<()> {
    for (path, content) in load(medium)?.changes(to) {
        write(medium, &path, &content).with_context(|| format!("writing {path} on the ESP"))?;
    }
    Ok(())
}

/// What a slot holds; none for a slot that is not whole.
pub(crate) fn description(medium: &dyn Medium, slot: Slot) -> Result<Option<Description>> {
    let block = small(medium, &format!("{FOLDER}/{slot}/{SLOT}"))?;
    Ok(block.and_then(|block| Description::parse(&block).ok()))
}

/// GRUB writes to where a file lies, so a block that is there is written over and not replaced.
fn write(medium: &mut dyn Medium, path: &str, content: &[u8]) -> std::io::Result<()> {
    let place = Place::File(path.to_owned());
    let is_new = medium.length(&place)? != Some(content.len() as u64);
    if is_new {
        medium.create(path)?;
    }
    medium.write_at(&place, 0, content)?;
    medium.sync(&place)?;
    if is_new { medium.sync_folder(FOLDER) } else { Ok(()) }
}

fn file(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// A file no longer than a block is; none where there is no such file.
fn small(medium: &dyn Medium, path: &str) -> Result<Option<Vec<u8>>> {
    let place = Place::File(path.to_owned());
    let read = || {
        let Some(length) = medium.length(&place)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(env::LONGEST).min(env::LONGEST)];
        medium.read_at(&place, 0, &mut bytes)?;
        Ok::<_, std::io::Error>(Some(bytes))
    };
    read().with_context(|| format!("reading {path} on the ESP"))
}
