//! `coremax cluster seed-medium`: what tells blank machines their cluster.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use coremax_cluster::medium::{self, Medium};
use coremax_engine::key;
use coremax_node_api::{
    identity::Document,
    roster::{Mode, Name, Roster, signed},
};

use crate::args::SeedMedium;

/// Makes one, and says what it has.
pub(super) fn make(wanted: &SeedMedium) -> Result<String> {
    let roster = super::read(&wanted.roster)?;
    let file = match &wanted.identity {
        Some(file) => file.clone(),
        None => wanted.roster.with_extension("identity.json"),
    };
    let document =
        kept_or(&roster, &file, || Ok(medium::document(&roster, key::random()?, key::random()?)))?;
    match &wanted.machine {
        Some(machine) => of_machine(wanted, &roster, (&document, &file), machine),
        None => of_cluster(wanted, &roster, &document, &file),
    }
}

/// With the cluster's key. In a pool whoever has the signed roster becomes the seed: it is laid onto the medium that is made for
/// that machine alone.
fn of_cluster(
    wanted: &SeedMedium,
    roster: &Roster,
    document: &Document,
    file: &Path,
) -> Result<String> {
    let (path, for_seed) = (&wanted.roster, wanted.for_seed);
    let of_one = for_seed && roster.mode == Mode::Pool;
    let output = wanted.output(if of_one { "for-seed.img" } else { "seed.img" });
    let signed_file = path.with_extension(signed::EXTENSION);
    let signed = match roster.mode {
        Mode::Pool if !for_seed => None,
        _ => signed_roster(&signed_file, roster)?,
    };
    ensure!(
        signed.is_some() || !for_seed,
        "there is no {}: sign the roster with coremax cluster sign",
        signed_file.display()
    );
    lay(document, signed.as_deref(), wanted.kind(), &output, &[path, file, &signed_file])?;
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
    Ok(told(&output, document, &with, file))
}

/// With a key of its own, which the seed knows by the cluster's.
fn of_machine(
    wanted: &SeedMedium,
    roster: &Roster,
    (cluster, whole): (&Document, &Path),
    machine: &Name,
) -> Result<String> {
    ensure!(roster.node(machine).is_some(), "{} has no row {machine}", wanted.roster.display());
    ensure!(
        *machine != roster.seed,
        "{machine} is the seed, which has to have the cluster's key: make its medium without --machine"
    );
    let file = wanted.roster.with_extension(format!("{machine}.identity.json"));
    let document = kept_or(roster, &file, || {
        let (key_id, key) = cluster.key.for_machine(key::random()?);
        Ok(Document::new(cluster.cluster, key_id, key, cluster.seeds.clone()))
    })?;
    ensure!(
        cluster.key.of_machine(document.key_id) == Some(document.key.clone()),
        "the key in {} does not come of the cluster's: move it away, and another one is made",
        file.display()
    );
    let output = wanted.output(&format!("{machine}.img"));
    let signed = wanted.roster.with_extension(signed::EXTENSION);
    lay(&document, None, wanted.kind(), &output, &[&wanted.roster, &file, whole, &signed])?;
    Ok(told(&output, &document, &format!("made for {machine}"), &file))
}

fn told(output: &Path, document: &Document, with: &str, file: &Path) -> String {
    format!(
        "{}: key {} of cluster {}, {with}\nThe key is in {} too; both files are secret: keep them out of version control.",
        output.display(),
        document.key_id,
        document.cluster,
        file.display()
    )
}

impl SeedMedium {
    const fn kind(&self) -> Medium {
        if self.config_drive { Medium::ConfigDrive } else { Medium::Seed }
    }

    fn output(&self, extension: &str) -> PathBuf {
        self.output.clone().unwrap_or_else(|| self.roster.with_extension(extension))
    }
}

/// The document in a file, of this cluster; made there where there is none.
fn kept_or(
    roster: &Roster,
    file: &Path,
    make: impl FnOnce() -> Result<Document>,
) -> Result<Document> {
    match kept(file)? {
        Some(kept) if kept.cluster == roster.cluster => Ok(kept),
        Some(kept) => {
            bail!(
                "{} is for cluster {}, and this is {}",
                file.display(),
                kept.cluster,
                roster.cluster
            )
        }
        None => {
            let document = make()?;
            new(&document, file)?;
            Ok(document)
        }
    }
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
fn new(document: &Document, file: &Path) -> Result<()> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let write = || {
        let mut file = open()?;
        file.write_all(document.to_text().as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("writing the key to {}", file.display()))
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
    use std::fs;

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

    fn wanted(roster: &Path) -> SeedMedium {
        SeedMedium {
            roster: roster.to_owned(),
            identity: None,
            config_drive: false,
            for_seed: false,
            machine: None,
            output: None,
        }
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
            let made = |for_seed| make(&SeedMedium { for_seed, ..wanted(&path) });
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

    #[test]
    fn a_machine_s_own_medium_has_its_own_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = roster(folder.path(), "c.toml", Mode::Static);
        let made = |name: &str| make(&SeedMedium { machine: name.parse().ok(), ..wanted(&path) });
        let said = made("control-2").unwrap();
        assert!(
            said.contains("c.control-2.img: key ") && said.contains("made for control-2"),
            "{said}"
        );
        let document = |file: &str| super::super::ask::identity(&folder.path().join(file)).unwrap();
        let (cluster, own) = (document("c.identity.json"), document("c.control-2.identity.json"));
        assert_eq!(cluster.key.of_machine(own.key_id), Some(own.key.clone()));
        assert_eq!((own.cluster, &own.seeds), (cluster.cluster, &cluster.seeds));
        let image = folder.path().join("c.control-2.img");
        assert!(has(&image, own.to_text().as_bytes()));
        assert!(
            !has(&image, &cluster.to_text().as_bytes()[60..]),
            "the cluster's key is not on it"
        );
        // Again it has the same, and another machine's has another.
        made("control-2").unwrap();
        made("control-3").unwrap();
        assert_eq!(document("c.control-2.identity.json"), own);
        assert_ne!(document("c.control-3.identity.json").key, own.key);
        for (name, want) in [("control-1", "is the seed"), ("control-9", "has no row control-9")] {
            let error = made(name).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        let kept = folder.path().join("c.identity.json");
        let over = SeedMedium {
            output: Some(kept.clone()),
            machine: "control-2".parse().ok(),
            ..wanted(&path)
        };
        let error = make(&over).unwrap_err().to_string();
        assert!(error.contains("is what the volume is made from"), "{error}");
        fs::remove_file(kept).unwrap();
        let error = made("control-2").unwrap_err().to_string();
        assert!(error.contains("does not come of the cluster's"), "{error}");
    }
}
