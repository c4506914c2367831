//! Signing a roster, beside the one that was signed before.
//!
//! Whoever has signed two rosters of one epoch, or one that does not follow from the other, has signed for two clusters.
//! A node cannot see that; here both are at hand.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use coremax_node_api::{
    roster::{Name, Roster, signed},
    update::key::SecretKey,
};

/// Why a roster is not signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node would take it.
    #[error("signing the roster")]
    Signing(#[source] signed::Error),
    /// What is there is no roster of this key.
    #[error("reading the roster that was signed before, {}", path.display())]
    Before {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: signed::Error,
    },
    /// What is there is of another cluster.
    #[error("{} is the roster of another cluster", .0.display())]
    OtherCluster(PathBuf),
    /// What is there is newer, or says something else in the same epoch.
    #[error(
        "a roster of epoch {signed} is signed already, and this one, of epoch {epoch}, is another"
    )]
    NotNewer {
        /// The new one's epoch.
        epoch: u64,
        /// The epoch of the one that is there.
        signed: u64,
    },
    /// It changes what never changes.
    #[error("the roster changes {name} otherwise than a new roster may")]
    Unfaithful {
        /// The row.
        name: Name,
    },
    /// The file cannot be read or written.
    #[error("writing {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl Error {
    /// What mends it, where that is known.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Before { .. } | Self::OtherCluster(_) => Some("name another file with --output"),
            Self::NotNewer { .. } => Some("raise the epoch"),
            Self::Unfaithful { .. } => Some(coremax_node_api::join::seed::FAITHFUL),
            Self::Signing(_) | Self::File { .. } => None,
        }
    }
}

/// Signs a roster into `path`, in place of the one that was there, whole or not at all. The same roster may be signed
/// again.
///
/// # Errors
/// See [`Error`]; nothing has changed then.
pub fn to_file(roster: &Roster, key: &SecretKey, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let signed = signed::sign(roster, key).map_err(Error::Signing)?;
    match fs::read(path) {
        Ok(before) => follows(roster, &before, key, path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    write(path, &signed).map_err(failed)
}

fn follows(roster: &Roster, before: &[u8], key: &SecretKey, path: &Path) -> Result<(), Error> {
    let before = signed::open(before, &[key.public()])
        .map_err(|source| Error::Before { path: path.to_owned(), source })?;
    if before.cluster != roster.cluster {
        return Err(Error::OtherCluster(path.to_owned()));
    }
    let is_same = before == *roster;
    if roster.epoch < before.epoch || (roster.epoch == before.epoch && !is_same) {
        return Err(Error::NotNewer { epoch: roster.epoch, signed: before.epoch });
    }
    match roster.unfaithful_to(&before) {
        Some(row) => Err(Error::Unfaithful { name: row.name.clone() }),
        None => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // What was signed last must be known after a power cut, too.
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{new::New, read};

    fn roster() -> Roster {
        let text = New::default().text([9; 16]).unwrap();
        let text = text.replace("00:00:5e:00:53:", "52:54:00:00:00:").replace("CHANGE-ME", "disk");
        Roster { epoch: 3, ..read("c.toml", &text).unwrap() }
    }

    #[test]
    fn a_roster_is_signed_if_it_follows_the_one_before() {
        type Change = fn(&mut Roster);
        let cases: &[(Change, Option<&str>)] = &[
            (|_| {}, None), // again
            (|r| r.minimum_workers = 0, None),
            (|r| r.vip = "10.0.0.99".parse().unwrap(), Some("epoch 3 is signed already")),
            (|r| r.epoch = 2, Some("epoch 3 is signed already")),
            (|r| (r.epoch, r.vip) = (4, "10.0.0.99".parse().unwrap()), None),
            (
                |r| (r.epoch, r.nodes[1].address) = (4, "10.0.0.99".parse().unwrap()),
                Some("changes control-2"),
            ),
            (
                |r| {
                    r.epoch = 4;
                    r.cluster = "3f0c9d7e-5b7b-4f6e-9a40-6d1f6a3c2b10".parse().unwrap();
                },
                Some("another cluster"),
            ),
            (|r| r.epoch = 0, Some("signing")),
        ];
        let key = SecretKey::from_seed([1; 32], "");
        for (number, (change, want)) in cases.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("c.coremax-roster");
            to_file(&roster(), &key, &path).unwrap();
            let before = fs::read(&path).unwrap();
            let mut changed = roster();
            change(&mut changed);
            let told = to_file(&changed, &key, &path).map_err(|error| error.to_string());
            let after = fs::read(&path).unwrap();
            match want {
                None => {
                    told.unwrap();
                    assert_eq!(signed::open(&after, &[key.public()]).unwrap(), changed);
                }
                Some(want) => {
                    let told = told.unwrap_err();
                    assert!(told.contains(want), "case {number}: {told}");
                    assert_eq!(after, before, "case {number}");
                }
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
        }
    }

    #[test]
    fn a_file_that_is_no_roster_of_this_key_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.coremax-roster");
        to_file(&roster(), &SecretKey::from_seed([2; 32], ""), &path).unwrap();
        let error = to_file(&roster(), &SecretKey::from_seed([1; 32], ""), &path).unwrap_err();
        assert!(matches!(error, Error::Before { .. }), "{error}");
    }
}
