//! What an image brings to the machine's state: the folders that it ships, laid into the data partition
//! the first time that image boots.
//!
//! Only what is missing there is copied, each missing thing as a whole: what a machine has of its own
//! stays as it is, and a new image's folders appear with their owners. All of it is on the disk before
//! any of it is in its place, so that a power cut leaves nothing half copied; `.seeded` then says for
//! which root it was done.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::syncfs;

use super::{copy, mounts};

/// Says which root's files were laid here last.
const SEEDED: &str = ".seeded";
/// Where copies stay until all are whole.
const UNFINISHED: &str = ".unfinished";

/// Something that the state lacks: its path in the image and in the state alike.
type Lacking = PathBuf;

/// Whether the root `hash` has brought its own to `data` before.
pub(crate) fn is_done(hash: &str, data: &Path) -> bool {
    fs::read_to_string(data.join(SEEDED)).is_ok_and(|done| done == hash)
}

/// Notes that it has.
pub(crate) fn done(hash: &str, data: &Path) -> Result<()> {
    let seeded = data.join(SEEDED);
    fs::write(&seeded, hash).with_context(|| format!("writing {}", seeded.display()))
}

/// Copies what is missing below each of `folders` from `image` to `data`. Of `bare` folders nothing but the
/// folder itself is taken.
pub(crate) fn lay(image: &Path, data: &Path, folders: &[&str], bare: &[&str]) -> Result<()> {
    let mut lacking = Vec::new();
    for folder in folders {
        find(image, data, Path::new(folder), bare, &mut lacking)?;
    }
    place(image, data, &lacking, bare).context("laying the image's folders into the data partition")
}

/// The topmost things at `path` and below that `data` has not.
fn find(
    image: &Path,
    data: &Path,
    path: &Path,
    bare: &[&str],
    lacking: &mut Vec<Lacking>,
) -> Result<()> {
    let theirs = image.join(path).symlink_metadata();
    if mounts::is_missing(&theirs) {
        return Ok(());
    }
    let ours = data.join(path).symlink_metadata();
    if mounts::is_missing(&ours) {
        lacking.push(path.to_owned());
        return Ok(());
    }
    let failed = || format!("comparing {}", path.display());
    let folders = theirs.with_context(failed)?.is_dir() && ours.with_context(failed)?.is_dir();
    if folders && !bare.iter().any(|bare| path == Path::new(bare)) {
        for entry in fs::read_dir(image.join(path)).with_context(failed)? {
            let name = entry.with_context(failed)?.file_name();
            find(image, data, &path.join(name), bare, lacking)?;
        }
    }
    Ok(())
}

/// Copies everything aside, brings it to the disk, and puts it in its place.
fn place(image: &Path, data: &Path, lacking: &[Lacking], bare: &[&str]) -> Result<()> {
    let aside = data.join(UNFINISHED);
    let cleared = fs::remove_dir_all(&aside);
    if !mounts::is_missing(&cleared) {
        cleared.context("removing what an earlier boot left unfinished")?;
    }
    fs::create_dir(&aside).context("making room")?;
    let is_bare = |path: &Path| {
        path.strip_prefix(image).is_ok_and(|path| bare.iter().any(|bare| path == Path::new(bare)))
    };
    for (number, path) in lacking.iter().enumerate() {
        copy::tree(&image.join(path), &aside.join(number.to_string()), &is_bare)?;
    }
    sync(data)?;
    for (number, path) in lacking.iter().enumerate() {
        fs::rename(aside.join(number.to_string()), data.join(path))
            .with_context(|| format!("placing {}", path.display()))?;
    }
    fs::remove_dir(&aside).context("tidying up")?;
    sync(data)
}

fn sync(data: &Path) -> Result<()> {
    let synced = File::open(data).and_then(|folder| Ok(syncfs(folder)?));
    synced.context("writing it to the disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_and_what_is_there_stays() {
        let place = tempfile::tempdir().unwrap();
        let (image, data) = (place.path().join("image"), place.path().join("data"));
        for path in ["var/lib/new/deep", "var/lib/dpkg/info", "var/log", "root/.ssh"] {
            fs::create_dir_all(image.join(path)).unwrap();
        }
        fs::write(image.join("var/log/x"), "the image's").unwrap();
        fs::write(image.join("root/.ssh/keys"), "k").unwrap();
        fs::create_dir_all(data.join("var/log")).unwrap();
        fs::write(data.join("var/log/x"), "the machine's").unwrap();
        let lay = || lay(&image, &data, &["var", "opt", "root"], &["var/lib/dpkg"]);
        assert!(!is_done("1", &data));
        lay().unwrap();
        assert!(data.join("var/lib/new/deep").is_dir());
        assert!(data.join("var/lib/dpkg").is_dir() && !data.join("var/lib/dpkg/info").exists());
        assert_eq!(fs::read_to_string(data.join("var/log/x")).unwrap(), "the machine's");
        assert_eq!(fs::read_to_string(data.join("root/.ssh/keys")).unwrap(), "k");
        assert!(!data.join("opt").exists() && !data.join(UNFINISHED).exists());

        done("1", &data).unwrap();
        assert!(is_done("1", &data) && !is_done("2", &data));
        fs::remove_dir_all(data.join("root")).unwrap();
        fs::create_dir_all(data.join(UNFINISHED).join("0/left")).unwrap();
        lay().unwrap();
        assert!(data.join("root/.ssh").is_dir() && !data.join(UNFINISHED).exists());
    }
}
