//! `coremax cluster replace`: another machine for a row of a roster.

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use coremax_cluster::replace::{Error, difference, replace};
use coremax_node_api::roster::{Mac, Match, Name, signed};

pub(super) fn run(
    path: &Path,
    name: &Name,
    mac: Option<Mac>,
    serial: Option<&str>,
) -> Result<String> {
    let machine = mac.map(Match::Mac).or_else(|| serial.map(|serial| Match::Serial(serial.into())));
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let replaced = match replace(&path.to_string_lossy(), &text, name, machine.as_ref()) {
        Ok(replaced) => replaced,
        Err(Error::Roster(mistakes)) => return Err(mistakes.into()),
        Err(error) => return Err(error.into()),
    };
    write(path, &replaced.text).with_context(|| format!("writing {}", path.display()))?;
    let mut told = difference(&text, &replaced.text);
    let (generation, epoch) = (replaced.generation, replaced.roster.epoch);
    told +=
        &format!("{}: {name} has generation {generation} from epoch {epoch} on\n", path.display());
    for note in replaced.notes {
        told += &format!("note: {note}\n");
    }
    told += &format!("next: coremax cluster sign {} --key KEY\n", path.display());
    if replaced.roster.seed != *name {
        let signed = path.with_extension(signed::EXTENSION);
        told +=
            &format!("      coremax cluster put ADDRESS {} --identity FILE\n", signed.display());
    }
    Ok(told)
}

/// Whole or not at all, with the mode that the file has.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?; // a link stays one
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::metadata(&path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
