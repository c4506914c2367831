//! `coremax cluster seed-medium`: what tells blank machines their cluster.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use coremax_cluster::medium::{self, Medium};
use coremax_engine::key;
use coremax_node_api::{identity::Document, roster::Roster};

pub(super) fn make(
    path: &Path,
    identity: Option<&Path>,
    config_drive: bool,
    output: Option<&Path>,
) -> Result<String> {
    let roster = super::read(path)?;
    let file = identity.map_or_else(|| path.with_extension("identity.json"), Path::to_owned);
    let document = match read(&file)? {
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
    for_its_owner(&output)?;
    medium::make(&document, medium, &output)?;
    Ok(format!(
        "{}: key {} of cluster {}, and in {}; both are secret",
        output.display(),
        document.key_id,
        document.cluster,
        file.display()
    ))
}

fn read(file: &Path) -> Result<Option<Document>> {
    let failed = || format!("reading the key in {}", file.display());
    match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(failed),
        Ok(bytes) => Document::parse(&bytes).map(Some).with_context(failed),
    }
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

/// A file that nobody else reads, before there is anything in it.
fn for_its_owner(image: &Path) -> Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    let make = || {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(image)?;
        fs::set_permissions(image, mode)
    };
    make().with_context(|| format!("making {}", image.display()))
}
