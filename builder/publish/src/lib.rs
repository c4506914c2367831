//! The result of a build: a folder that appears whole or not at all.
//!
//! ```text
//! images/node/                     one folder a recipe
//!     2026.11.22/                  one a version: what was booted, and nothing else
//!         node.qcow2               artefacts and reports, as the build left them
//!         manifest.json            [`Manifest`]: what is in it, and what proves it
//!         SHA256SUMS               for `sha256sum -c`
//!     2026.11.23.untested/         a build that was asked not to boot
//!     latest -> 2026.11.22         the last one that all boot tests prove
//! ```
//!
//! A build fills a [`Draft`], a hidden folder beside the versions. [`publish`] takes it with a [`Proven`]
//! build, whose boots are those of its artefacts and of nothing else, by the digest that each has on disk;
//! [`publish_untested`] is the only other way, and its result says so in its name and in its manifest. The draft is
//! synced, then renamed.

mod draft;
mod error;
mod manifest;
mod proven;
mod publish;
mod sums;

pub use draft::Draft;
pub use error::Error;
pub use manifest::{
    Artefact, Boot, Build, FileInput, MANIFEST, Manifest, Package, Proof, Stage, Update,
};
pub use proven::Proven;
pub use publish::{Existing, Receipt, point_latest, publish, publish_untested};
pub use sums::{SUMS, write_sums};
