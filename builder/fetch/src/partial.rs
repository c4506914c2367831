//! A file of the cache in the making: locked, resumed, checked, and put in its place.
//!
//! The lock (`flock(2)`) is on the open file and goes with the process, so a killed build never leaves one
//! behind. Who waits for the lock finds afterwards that the name has gone, since the other one renamed or
//! removed it, and looks again.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Seek, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{Cache, Digest, Error, Hasher, Input};

/// What [`Partial::open`] found.
pub(crate) enum Opened {
    /// Another build finished the file meanwhile.
    Finished(PathBuf),
    /// It is ours to fill.
    Ours(Partial),
}

/// The beginning of a file. While it lives, no one else writes to it.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Partial {
    /// Takes over what was fetched of `input` before, or begins anew. Waits while another build fetches it.
    pub(crate) fn open(cache: &Cache, input: &Input) -> Result<Opened, Error> {
        let path = cache.partial_path(&input.digest);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotFound => {
                Error::ReadOnly { name: input.name.clone(), dir: cache.dir().to_owned() }
            }
            _ => Error::writing(&path, error),
        };
        loop {
            let mut file = open_locked(&path).map_err(failed)?;
            if let Some(finished) = cache.verified(input)? {
                return Ok(Opened::Finished(finished));
            }
            if is_still_at(&file, &path) {
                // Under the lock, so that it is not one that another build puts there now.
                remove_damaged(&cache.path(&input.digest))?;
                let (hasher, length) = hash(&mut file).map_err(failed)?;
                let mut partial = Self { path, file, hasher, length };
                if length > input.size {
                    partial.restart()?;
                }
                return Ok(Opened::Ours(partial));
            }
        }
    }

    /// Bytes that are there.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| Error::writing(&self.path, error))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is there.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| Error::writing(&self.path, error))?;
        self.hasher = Hasher::default();
        self.length = 0;
        Ok(())
    }

    /// The digest of what is there.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.clone().finish().0
    }

    /// Puts the whole, checked file in its place in the cache.
    pub(crate) fn finish(self, cache: &Cache, digest: &Digest) -> Result<PathBuf, Error> {
        let path = cache.path(digest);
        let folder = path.parent().unwrap_or(&path);
        // Synced first: after a power cut a name must not stand for a file whose data never came.
        let placed = self
            .file
            .set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| self.file.sync_data())
            .and_then(|()| fs::create_dir_all(folder))
            .and_then(|()| fs::rename(&self.path, &path));
        placed.map_err(|error| Error::writing(&path, error))?;
        Ok(path)
    }

    /// Throws the file away.
    pub(crate) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_damaged(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Damaged { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn open_locked(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
    Ok(file)
}

fn is_still_at(file: &File, path: &Path) -> bool {
    let id = |metadata: io::Result<fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
    id(file.metadata()).is_some_and(|ours| id(fs::metadata(path)) == Some(ours))
}

/// Takes in what is there, and leaves the file at its end.
fn hash(file: &mut File) -> io::Result<(Hasher, u64)> {
    let mut hasher = Hasher::default();
    let length = io::copy(file, &mut hasher)?;
    Ok((hasher, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_removed_is_an_error_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        remove_damaged(&folder.path().join("missing")).unwrap();
        // Root may remove any file, so it is a folder that stays.
        let error = remove_damaged(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }) && error.hint().is_some(), "{error}");
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_finished() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let digest = Digest::of("good");
        let input = Input { name: "a".into(), url: String::new(), others: vec![], size: 4, digest };
        let path = cache.path(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "evil").unwrap();
        assert!(matches!(Partial::open(&cache, &input), Ok(Opened::Ours(_))) && !path.exists());
        fs::write(&path, "good").unwrap();
        assert!(matches!(Partial::open(&cache, &input), Ok(Opened::Finished(_))));
    }
}
