//! All packages that a build can choose from: several suites of one archive or of several, verified.
//!
//! In two stages, since most builds find that nothing has changed: a [`Snapshot`] knows every Release and so
//! every index's digest; only [`Snapshot::load`] fetches and reads the indexes.

use std::{fmt, path::PathBuf, thread};

use coremax_fetch::{Digest, Fetcher, Hasher, Input};

use crate::{Error, Freshness, Keyring, Package, Release, index::Index, refresh};

/// One suite of one archive.
#[derive(Debug, Clone)]
pub struct Source {
    /// The archive's root. May hold a login, which no message shows.
    pub mirror: String,
    /// The suite; a path that ends in `/` for a flat archive.
    pub suite: String,
    /// The components, such as `main`; none for a flat archive.
    pub components: Vec<String>,
    /// `amd64`.
    pub architecture: String,
    /// Who may sign it.
    pub keyring: Keyring,
    /// The pin priority of its packages; `None` leaves it to the Release ([`Release::priority`]).
    pub pin: Option<i32>,
    /// Whether a Release that has expired, or is from the future, is refused.
    pub check_valid_until: bool,
}

impl Source {
    /// The address that a suite's files lie below.
    pub(crate) fn base(&self) -> String {
        let mirror = self.mirror.trim_end_matches('/');
        match self.is_flat() {
            true => format!("{mirror}/{}", self.suite.trim_start_matches(['.', '/'])),
            false => format!("{mirror}/dists/{}/", self.suite),
        }
    }

    pub(crate) fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }
}

impl fmt::Display for Source {
    /// The address and the suite, without a login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = without_login(self.mirror.trim_end_matches('/'));
        write!(f, "{shown} {}", self.suite)
    }
}

/// `url` as it may be shown and compared.
pub(crate) fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// The verified state of several sources, whose indexes were not read yet.
#[derive(Debug, Clone)]
pub struct Snapshot {
    sources: Vec<Source>,
    releases: Vec<Release>,
    indexes: Vec<(usize, Index)>,
}

impl Snapshot {
    /// Gets and verifies the Release of every source, all at once.
    ///
    /// # Errors
    /// The first source's that cannot be used.
    pub fn open(
        sources: &[Source],
        fetcher: &Fetcher,
        freshness: &Freshness,
    ) -> Result<Self, Error> {
        let releases = parallel(sources, |source| refresh::release(source, fetcher, freshness))?;
        let mut indexes = Vec::new();
        for (number, (source, release)) in sources.iter().zip(&releases).enumerate() {
            indexes.extend(Index::all(source, release)?.into_iter().map(|index| (number, index)));
        }
        Ok(Self { sources: sources.to_vec(), releases, indexes })
    }

    /// What identifies this state: the same for every mirror, and another one as soon as an index or a pin is.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        for (number, index) in &self.indexes {
            let pin = self.pin(*number);
            hasher.update(format!("{number} {} {pin}\n", index.digest()).as_bytes());
        }
        hasher.finish().0
    }

    /// The Release of every source, in their order.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The indexes, to know what loading will fetch.
    pub fn inputs(&self) -> Vec<Input> {
        self.indexes.iter().map(|(_, index)| index.input.clone()).collect()
    }

    /// Fetches the indexes that are not in the cache, and reads them all. `progress` is called with bytes.
    ///
    /// # Errors
    /// Where an index cannot be fetched, is not the one that its Release names, or is malformed.
    pub fn load(
        &self,
        fetcher: &Fetcher,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Universe, Error> {
        let paths = self.fetch(fetcher, progress)?;
        let jobs: Vec<_> = self.indexes.iter().zip(paths).collect();
        let offers = parallel(&jobs, |((number, index), path)| {
            index.load(path, *number, self.pin(*number))
        })?;
        let passed_over = self.indexes.iter().zip(&offers).filter_map(|((_, index), offer)| {
            let first = offer.first_passed_over.as_ref()?;
            let (name, count) = (&index.input.name, offer.passed_over);
            Some(format!("{name}: {count} unusable, the first in {first}"))
        });
        Ok(Universe {
            passed_over: passed_over.collect(),
            packages: offers.into_iter().flat_map(|offer| offer.packages).collect(),
            digest: self.digest(),
            releases: self.releases.clone(),
            mirrors: self.sources.iter().map(|source| source.mirror.clone()).collect(),
        })
    }

    fn pin(&self, source: usize) -> i32 {
        self.sources[source].pin.unwrap_or_else(|| self.releases[source].priority())
    }

    fn fetch(
        &self,
        fetcher: &Fetcher,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<PathBuf>, Error> {
        let fetched = match fetcher.fetch_all(&self.inputs(), progress) {
            // Some copies of archives leave by-hash out, and keep the Release that announces it.
            Err(error) if error.is_gone() => {
                let plain: Vec<_> = self.indexes.iter().map(|(_, i)| i.plain.clone()).collect();
                fetcher.fetch_all(&plain, progress)
            }
            fetched => fetched,
        };
        fetched.map_err(|error| Error::Fetch {
            what: "the package indexes".to_owned(),
            source: Box::new(error),
        })
    }
}

/// All packages of several sources.
#[derive(Debug, Clone)]
pub struct Universe {
    /// In the order of the sources; a package that several offer stands here several times.
    pub packages: Vec<Package>,
    /// For each index with packages that cannot be used, how many and why; they do not stand in `packages`.
    pub passed_over: Vec<String>,
    /// [`Snapshot::digest`].
    pub digest: Digest,
    /// The Release of every source, in their order.
    pub releases: Vec<Release>,
    mirrors: Vec<String>,
}

impl Universe {
    /// The root of the archive that offers `package`, which must be one of this universe's.
    pub fn mirror_of(&self, package: &Package) -> &str {
        self.mirrors.get(package.source).map_or("", String::as_str)
    }

    /// The .deb of `package` as an input.
    pub fn input(&self, package: &Package) -> Input {
        package.input(self.mirror_of(package))
    }
}

/// `work` on every item, each in a thread of its own; the first failure in the items' order.
fn parallel<I: Sync, O: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<O, Error> + Sync,
) -> Result<Vec<O>, Error> {
    thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}
