//! Debian and Ubuntu archives: signature, index, version, resolve.

mod deb822;
mod distribution;
mod error;
pub mod host;
mod index;
mod keyring;
mod package;
mod packages;
mod refresh;
pub mod relation;
mod release;
mod resolve;
mod signature;
mod universe;
pub mod version;

pub use coremax_distribution::{Distribution, Family, Key, Loaders, Side, distributions};
pub use distribution::{Mirrors, default_mirrors, distribution, keyring_of, sources_of};
pub use error::Error;
pub use keyring::Keyring;
pub use package::Package;
pub use packages::from_control;
pub use refresh::Freshness;
pub use release::Release;
pub use resolve::{
    Chain, Conflict, PackageSet, Reason, Request, Selected, Unsolvable, resolve, resolve_keeping,
};
pub use signature::SignedRelease;
pub use universe::{Snapshot, Source, Universe};
