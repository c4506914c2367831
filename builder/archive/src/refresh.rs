//! Getting a suite's Release: kept for a while, refreshed when it is old, never rolled back.
//!
//! The last Release of every suite is kept below the cache in `release/<digest of its address>.json`, as it was
//! signed, and its signature is checked again at every use. It is also what tells a mirror that falls behind,
//! or someone who replays an old state, from one that moves on. So the address is without a login, which may
//! change; of two builds that store at once the newer state stays; and it is on the disk before it counts.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use coremax_fetch::{Digest, Fetcher, Got, Validator};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Release, SignedRelease, Source, release::Expectation, signature::MAX_RELEASE,
    universe::without_login,
};

/// How new an archive's state must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// The present.
    pub now: Timestamp,
    /// A state that was asked for so long ago is used without asking again; zero asks always.
    pub max_age: Duration,
    /// Uses what is kept, however old, and never the network. It must still be valid.
    pub offline: bool,
}

impl Default for Freshness {
    /// An hour, from now.
    fn default() -> Self {
        Self { now: Timestamp::now(), max_age: Duration::from_secs(3600), offline: false }
    }
}

/// A Release as it was fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// For people who look into the file; without a login.
    url: String,
    /// When the mirror last said that this is its state, in seconds since 1970.
    asked: i64,
    validator: Validator,
    text: String,
    /// `Release.gpg`, where there is no `InRelease`.
    signature: Option<Vec<u8>>,
}

/// The Release of `source`: its signature holds, it is what was asked for, and it is valid now.
pub(crate) fn release(
    source: &Source,
    fetcher: &Fetcher,
    freshness: &Freshness,
) -> Result<Release, Error> {
    let place = place(fetcher.cache().dir(), source);
    let kept = Kept::load(&place);
    // What is kept counts only while its signature does.
    let seen = kept.and_then(|kept| Some((kept.verify(source, freshness).ok()?, kept)));
    if let Some((release, kept)) = &seen
        && (freshness.offline || kept.is_fresh(freshness))
        && (freshness.offline || check(source, release, freshness).is_ok())
    {
        check(source, release, freshness)?;
        return Ok(release.clone());
    }
    if freshness.offline {
        return Err(Error::Offline { name: source.to_string() });
    }
    let validator = seen.as_ref().map(|(_, kept)| &kept.validator);
    let mut new = match (fetch(source, fetcher, validator)?, seen.as_ref()) {
        (Some(new), _) => new,
        (None, Some((_, kept))) => kept.clone(),
        (None, None) => return Err(Error::Offline { name: source.to_string() }),
    };
    let release = new.verify(source, freshness)?;
    check(source, &release, freshness)?;
    refuse_rollback(source, &release, seen.as_ref().map(|(release, _)| release))?;
    new.asked = freshness.now.as_second();
    Ok(remember(&new, release, &place, source, freshness))
}

/// Keeps `new`, unless another build has kept something newer meanwhile: that is the state then.
fn remember(
    new: &Kept,
    release: Release,
    place: &Path,
    source: &Source,
    freshness: &Freshness,
) -> Release {
    // A read-only cache keeps nothing, and needs not; a file system without locks still keeps what came last.
    let _lock = lock(place).ok();
    let other = Kept::load(place).and_then(|kept| kept.verify(source, freshness).ok());
    let newer = other
        .filter(|other| other.date() > release.date() && check(source, other, freshness).is_ok());
    if newer.is_none() {
        let _ = new.store(place);
    }
    newer.unwrap_or(release)
}

/// Held while one build compares and stores. On the folder, so that no lock file is left behind.
fn lock(place: &Path) -> io::Result<File> {
    let folder = place.parent().unwrap_or(place);
    fs::create_dir_all(folder)?;
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

fn check(source: &Source, release: &Release, freshness: &Freshness) -> Result<(), Error> {
    release.check(&Expectation {
        suite: (!source.is_flat()).then_some(&source.suite),
        now: freshness.now,
        check_valid_until: source.check_valid_until,
    })
}

fn refuse_rollback(source: &Source, new: &Release, seen: Option<&Release>) -> Result<(), Error> {
    match seen.filter(|seen| new.date() < seen.date()) {
        None => Ok(()),
        Some(seen) => {
            Err(Error::Rollback { name: source.to_string(), date: new.date(), seen: seen.date() })
        }
    }
}

/// Asks the mirror; `None` where its state is the one kept.
fn fetch(
    source: &Source,
    fetcher: &Fetcher,
    validator: Option<&Validator>,
) -> Result<Option<Kept>, Error> {
    let failed = |error| Error::Fetch { what: source.to_string(), source: Box::new(error) };
    let url = |file| format!("{}{file}", source.base());
    let get = |file| fetcher.get(&url(file), MAX_RELEASE, validator);
    let (got, signature) = match get("InRelease") {
        Err(error) if error.is_gone() => {
            let got = get("Release").map_err(failed)?;
            let signature = fetcher.get(&url("Release.gpg"), MAX_RELEASE, None).map_err(failed)?;
            (got, Some(signature))
        }
        got => (got.map_err(failed)?, None),
    };
    let Got::File(text, validator) = got else { return Ok(None) };
    let signature = signature.and_then(|got| match got {
        Got::File(signature, _) => Some(signature),
        Got::Unchanged => None,
    });
    let not_text = |_| Error::Unsigned { name: source.to_string(), what: "it is not text".into() };
    let text = String::from_utf8(text).map_err(not_text)?;
    Ok(Some(Kept { url: source.to_string(), asked: 0, validator, text, signature }))
}

fn place(cache: &Path, source: &Source) -> PathBuf {
    let address = without_login(&source.base());
    cache.join("release").join(format!("{}.json", Digest::of(address)))
}

impl Kept {
    /// What is unreadable counts as not there: it is fetched again.
    fn load(place: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(place).ok()?).ok()
    }

    /// Written beside, synced and renamed, since another build may read it now and the power may fail.
    fn store(&self, place: &Path) -> io::Result<()> {
        let folder = place.parent().unwrap_or(place);
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.as_file().sync_all()?;
        file.persist(place)?;
        File::open(folder)?.sync_all()
    }

    fn verify(&self, source: &Source, freshness: &Freshness) -> Result<Release, Error> {
        let name = source.to_string();
        let signed = match &self.signature {
            None => SignedRelease::inline(self.text.as_bytes(), &name)?,
            Some(signature) => SignedRelease::detached(self.text.as_bytes(), signature, &name)?,
        };
        signed.verify(&source.keyring, freshness.now)
    }

    fn is_fresh(&self, freshness: &Freshness) -> bool {
        let age = freshness.now.as_second() - self.asked;
        u64::try_from(age).is_ok_and(|age| age < freshness.max_age.as_secs())
    }
}
