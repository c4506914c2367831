//! `coremax cluster seed-medium`: what tells blank machines their cluster.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use coremax_cluster::medium::{self, Medium};
use coremax_engine::key;
use coremax_node_api::{
    identity::Document,
    roster::{Mode, Roster, signed},
};

pub(super) fn make(
    path: &Path,
    identity: Option<&Path>,
    config_drive: bool,
    output: Option<&Path>,
) -> Result<String> {
    let roster = super::read(path)?;
    let file = identity.map_or_else(|| path.with_extension("identity.json"), Path::to_owned);
    let document = match kept(&file)? {
        Some(kept) if kept.cluster == roster.cluster => kept,
        Some(kept) => {
            bail!(
                "{} is for cluster {}, and this is {}",
                file.display(),
                kept.cluster,
                roster.cluster
            )
        }
        None => new(&roster, &file)?,
    };
    let output = output.map_or_else(|| path.with_extension("seed.img"), Path::to_owned);
    let medium = if config_drive { Medium::ConfigDrive } else { Medium::Seed };
    let signed_file = path.with_extension(signed::EXTENSION);
    // In a pool it would make each machine the seed: the operator gives it to one.
    let signed = match roster.mode {
        Mode::Static => signed_roster(&signed_file, &roster)?,
        Mode::Pool => None,
    };
    lay(&document, signed.as_deref(), medium, &output, &[path, &file, &signed_file])?;
    let with = match signed {
        Some(_) => format!("with the signed roster of epoch {}", roster.epoch),
        None if roster.mode == Mode::Pool => {
            "without a roster: put that on one of the pool".to_owned()
        }
        None => format!("without a roster: there is no {}", signed_file.display()),
    };
    Ok(format!(
        "{}: key {} of cluster {}, {with}\nThe key is in {} too; both files are secret: keep them out of version control.",
        output.display(),
        document.key_id,
        document.cluster,
        file.display()
    ))
}

/// The roster as `cluster sign` left it beside its text, if that is done, and of this text.
fn signed_roster(file: &Path, roster: &Roster) -> Result<Option<Vec<u8>>> {
    let bytes = match File::open(file).and_then(signed::read) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("reading the signed roster in {}", file.display()))?,
    };
    ensure!(
        signed::holds(&bytes, roster),
        "{} is not this roster: sign it again with coremax cluster sign",
        file.display()
    );
    Ok(Some(bytes))
}

fn kept(file: &Path) -> Result<Option<Document>> {
    match super::ask::identity(file) {
        Err(error) if is_missing(&error) => Ok(None),
        read => read.map(Some),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Never over one that is there: machines that know its key would know no other.
fn new(roster: &Roster, file: &Path) -> Result<Document> {
    let document = medium::document(roster, key::random()?, key::random()?);
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let write = || {
        let mut file = open()?;
        file.write_all(document.to_text().as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("writing the key to {}", file.display()))?;
    Ok(document)
}

/// Writes the volume for its owner alone, whole or not at all, and over neither of these.
fn lay(
    document: &Document,
    signed: Option<&[u8]>,
    medium: Medium,
    output: &Path,
    spare: &[&Path],
) -> Result<()> {
    let failed = || format!("making {}", output.display());
    let is_same = |other: &&&Path| match (output.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(two)) => one == two,
        _ => output == **other,
    };
    if let Some(other) = spare.iter().find(is_same) {
        bail!(
            "{} is what the volume is made from: name another file with --output",
            other.display()
        );
    }
    let folder = output.parent().filter(|folder| *folder != Path::new(""));
    // Nobody else may read a file that tempfile makes.
    let image =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(failed)?;
    medium::make(document, signed, medium, image.path())?;
    image.as_file().sync_all().with_context(failed)?;
    image.persist(output).with_context(failed)?;
    Ok(())
}
