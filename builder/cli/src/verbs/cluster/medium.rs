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

/// Makes one, and says what it has. In a pool whoever has the signed roster becomes the seed: it is laid onto the medium that is
/// made for that machine alone.
pub(super) fn make(
    path: &Path,
    identity: Option<&Path>,
    medium: Medium,
    for_seed: bool,
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
    let of_one = for_seed && roster.mode == Mode::Pool;
    let extension = if of_one { "for-seed.img" } else { "seed.img" };
    let output = output.map_or_else(|| path.with_extension(extension), Path::to_owned);
    let signed_file = path.with_extension(signed::EXTENSION);
    let signed = match roster.mode {
        Mode::Pool if !for_seed => None,
        _ => signed_roster(&signed_file, &roster)?,
    };
    ensure!(
        signed.is_some() || !for_seed,
        "there is no {}: sign the roster with coremax cluster sign",
        signed_file.display()
    );
    lay(&document, signed.as_deref(), medium, &output, &[path, &file, &signed_file])?;
    let epoch = roster.epoch;
    let with = match signed {
        Some(_) if of_one => format!(
            "with the signed roster of epoch {epoch}: for one machine of the pool, which becomes its seed"
        ),
        Some(_) => format!("with the signed roster of epoch {epoch}"),
        None if roster.mode == Mode::Pool => {
            "without a roster: for all machines of the pool but one, and --for-seed makes that one's".to_owned()
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

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use coremax_cluster::{
        new::{New, Preset},
        sign,
    };

    use super::*;

    /// A roster as an operator has filled it in.
    fn roster(folder: &Path, name: &str, mode: Mode) -> PathBuf {
        let path = folder.join(name);
        let new = New { preset: Preset::ALL[0], mode, ..New::default() };
        let text = new.text([9; 16]).unwrap().replace("00:00:5e:00:53:", "52:54:00:00:00:");
        fs::write(&path, text.replace("CHANGE-ME", "disk")).unwrap();
        path
    }

    fn has(image: &Path, bytes: &[u8]) -> bool {
        fs::read(image).unwrap().windows(bytes.len()).any(|window| window == bytes)
    }

    #[test]
    fn in_a_pool_one_medium_has_the_roster() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("operator.key");
        key::make(&file).unwrap();
        let secret = key::read(&file).unwrap();
        for (name, mode, on_all, of_seed) in [
            ("pool.toml", Mode::Pool, false, "pool.for-seed.img"),
            ("named.toml", Mode::Static, true, "named.seed.img"),
        ] {
            let path = roster(folder.path(), name, mode);
            let made = |for_seed| make(&path, None, Medium::Seed, for_seed, None);
            let error = made(true).unwrap_err().to_string();
            assert!(error.contains("sign the roster with coremax cluster sign"), "{error}");
            let signed = path.with_extension(signed::EXTENSION);
            sign::to_file(&super::super::read(&path).unwrap(), &secret, &signed).unwrap();
            let signed = fs::read(signed).unwrap();
            let said = made(false).unwrap();
            assert_eq!(has(&path.with_extension("seed.img"), &signed), on_all, "{said}");
            assert_eq!(said.contains("--for-seed makes that one's"), !on_all, "{said}");
            let said = made(true).unwrap();
            assert!(said.contains(of_seed) && said.contains("signed roster of epoch 1"), "{said}");
            assert!(has(&folder.path().join(of_seed), &signed), "{said}");
            // One key for all.
            let key = fs::read(path.with_extension("identity.json")).unwrap();
            for image in [path.with_extension("seed.img"), folder.path().join(of_seed)] {
                assert!(has(&image, &key), "{}", image.display());
            }
        }
    }
}
