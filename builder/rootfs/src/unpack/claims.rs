//! Which package a path belongs to.
//!
//! Threads unpack at once into the same folders, so every path is claimed before it is made, by the
//! identity of its folder and its name there (under merged /usr, /lib/x and /usr/lib/x are one).
//! The lock on a claim is held while the path is made, so that a package that lost a path cannot
//! overwrite it.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ffi::OsStr,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use super::Package;
use crate::{
    Error,
    tree::{Metadata, Tree},
};

/// How many locks there are: enough that threads seldom wait for each other.
const SHARDS: usize = 32;

/// All claims of an unpacking.
#[derive(Default)]
pub(super) struct Claims {
    shards: [Mutex<HashMap<Key, Claim>>; SHARDS],
}

/// A path, however it was written: its folder's device and inode, and its name there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) folder: (u64, u64),
    pub(super) name: Box<OsStr>,
}

/// Who asks for a path: a package by its place in the order, and how it writes the path.
#[derive(Clone, Copy)]
pub(super) struct Claimant<'a> {
    pub(super) packages: &'a [Package],
    pub(super) by: usize,
    pub(super) path: &'a Path,
}

/// A package that ships a path, and how it writes the path.
struct Shipper {
    by: usize,
    path: PathBuf,
}

/// What a path is.
enum Claim {
    /// Anything that belongs to one package, and those that ship it too and gave way.
    File { owner: Shipper, gave_way: Vec<Shipper> },
    /// A folder, with the metadata that the first package in the order gives it.
    Folder { by: usize, path: PathBuf, metadata: Metadata },
}

/// Whose a path is, as a package sees it that ships it.
pub(super) enum Owner {
    /// That package's own.
    Itself,
    /// A package's that took it; this is how the one that lost it writes it.
    Other { by: usize, lost: PathBuf },
}

/// What was found where a folder is to be.
pub(super) enum Made {
    /// The folder itself.
    Folder,
    /// A symbolic link to one, which keeps its own metadata.
    Link,
}

impl Claims {
    /// Claims a path that is no folder, and has it made. `None`: it belongs to a package that
    /// replaces this one. `make` is told whether something that was replaced is in the way.
    pub(super) fn file<T>(
        &self,
        key: Key,
        claimant: Claimant<'_>,
        make: impl FnOnce(bool) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut shard = self.shard(&key);
        let taken_over = match shard.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Claim::File { owner: claimant.shipper(), gave_way: Vec::new() });
                false
            }
            Entry::Occupied(mut entry) => {
                let Claim::File { owner, gave_way } = entry.get_mut() else {
                    return Err(claimant.conflict(entry.get().by()));
                };
                if owner.by != claimant.by {
                    if !claimant.wins(owner, gave_way)? {
                        gave_way.push(claimant.shipper());
                        return Ok(None);
                    }
                    gave_way.push(std::mem::replace(owner, claimant.shipper()));
                }
                true
            }
        };
        make(taken_over).map(Some)
    }

    /// Claims a folder, and has it made where it is new.
    pub(super) fn folder(
        &self,
        key: Key,
        claimant: Claimant<'_>,
        metadata: Metadata,
        make: impl FnOnce() -> Result<Made, Error>,
    ) -> Result<(), Error> {
        let mut shard = self.shard(&key);
        let claim = Claim::Folder { by: claimant.by, path: claimant.path.into(), metadata };
        match shard.entry(key) {
            Entry::Vacant(entry) => {
                if let Made::Folder = make()? {
                    entry.insert(claim);
                }
            }
            Entry::Occupied(mut entry) => match entry.get() {
                Claim::Folder { by: other, .. } if claimant.by < *other => {
                    entry.insert(claim);
                }
                Claim::Folder { .. } => {}
                // A link of base-files was there before all others, whatever the threads' timing.
                Claim::File { owner, .. } if claimant.is_settled(owner.by) => {
                    make()?;
                }
                Claim::File { owner, .. } => return Err(claimant.conflict(owner.by)),
            },
        }
        Ok(())
    }

    /// Whose a path is that this package ships, and is no folder. `None`: it does not ship it.
    pub(super) fn owner(&self, key: &Key, by: usize) -> Option<Owner> {
        let shard = self.shard(key);
        let Claim::File { owner, gave_way } = shard.get(key)? else { return None };
        if owner.by == by {
            return Some(Owner::Itself);
        }
        let lost = gave_way.iter().find(|shipper| shipper.by == by)?.path.clone();
        Some(Owner::Other { by: owner.by, lost })
    }

    /// Gives every folder its metadata, now that nothing is made in them any more.
    pub(super) fn settle_folders(&self, tree: &Tree, packages: &[Package]) -> Result<(), Error> {
        for shard in &self.shards {
            for claim in shard.lock().expect("no thread panicked").values() {
                let Claim::Folder { by, path, metadata } = claim else { continue };
                metadata.apply_below(tree, path).map_err(|source| Error::Unpack {
                    package: packages[*by].deb.name.clone(),
                    path: path.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// The packages' lists of paths without those that went to another package.
    pub(super) fn without_lost(
        &self,
        mut lists: Vec<Vec<u8>>,
        packages: &[Package],
    ) -> Vec<Vec<u8>> {
        let mut lost: HashMap<usize, HashSet<PathBuf>> = HashMap::new();
        for shard in &self.shards {
            for claim in shard.lock().expect("no thread panicked").values() {
                for (loser, path) in claim.lost(packages) {
                    lost.entry(loser).or_default().insert(path.to_owned());
                }
            }
        }
        for (loser, lost) in lost {
            let kept = lists[loser].split_inclusive(|&byte| byte == b'\n').filter(|line| {
                let path = line.strip_prefix(b"/").and_then(|line| line.strip_suffix(b"\n"));
                path.is_none_or(|path| !lost.contains(Path::new(OsStr::from_bytes(path))))
            });
            lists[loser] = kept.collect::<Vec<_>>().concat();
        }
        lists
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Claim>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let shard = hasher.finish() % SHARDS as u64;
        self.shards[usize::try_from(shard).unwrap_or(0)].lock().expect("no thread panicked")
    }
}

impl Claim {
    fn by(&self) -> usize {
        match self {
            Self::File { owner, .. } => owner.by,
            Self::Folder { by, .. } => *by,
        }
    }

    /// Who lost this path for good. One package for two architectures shares it instead.
    fn lost(&self, packages: &[Package]) -> impl Iterator<Item = (usize, &Path)> {
        let (owner, gave_way) = match self {
            Self::File { owner, gave_way } => (owner.by, gave_way.as_slice()),
            Self::Folder { by, .. } => (*by, &[][..]),
        };
        let owner = &packages[owner];
        let losers =
            gave_way.iter().filter(|loser| !packages[loser.by].is_other_architecture_of(owner));
        losers.map(|loser| (loser.by, loser.path.as_path()))
    }
}

impl Claimant<'_> {
    fn shipper(&self) -> Shipper {
        Shipper { by: self.by, path: self.path.into() }
    }

    /// Whether a file goes to this package and not to its owner so far. Every two that ship it must
    /// be clear about it, and so must all be together: else the threads' timing would decide.
    fn wins(&self, owner: &Shipper, gave_way: &[Shipper]) -> Result<bool, Error> {
        let mut winners = Vec::new();
        for other in gave_way.iter().chain([owner]) {
            winners.push(self.winner(other.by).ok_or_else(|| self.conflict(other.by))?);
        }
        let wins = winners.pop() == Some(self.by);
        match gave_way.iter().zip(winners).find(|(_, winner)| wins && *winner != self.by) {
            Some((stronger, _)) => Err(self.conflict(stronger.by)),
            None => Ok(wins),
        }
    }

    /// Which of this package and the other a file goes to: the one that replaces the other, and the
    /// later one where both do or where they are one package for two architectures.
    fn winner(&self, other: usize) -> Option<usize> {
        let (this, that) = (&self.packages[self.by], &self.packages[other]);
        let shared = this.is_other_architecture_of(that);
        match (shared || this.replaces(that), shared || that.replaces(this)) {
            (true, true) => Some(self.by.max(other)),
            (true, false) => Some(self.by),
            (false, true) => Some(other),
            (false, false) => None,
        }
    }

    /// Whether the other package was unpacked before any thread began with this one.
    fn is_settled(&self, other: usize) -> bool {
        other == self.by || self.packages[other].is_base()
    }

    fn conflict(&self, other: usize) -> Error {
        let (first, second) = (self.by.min(other), self.by.max(other));
        Error::Conflict {
            path: Path::new("/").join(self.path),
            first: self.packages[first].deb.name.clone(),
            second: self.packages[second].deb.name.clone(),
        }
    }
}
