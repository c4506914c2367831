//! A root file system from packages: unpack, configure, overlay, clean.
//!
//! [`unpack`] puts packages into a tree as dpkg would, in parallel and without running anything.
//! That is a tools tree. To become a root file system it is configured by its own dpkg in a sandbox,
//! overlaid with what is not in packages, and cleaned of what must not be in an image.
//!
//! All of it works as root of a user namespace, on a tree that belongs to nobody else meanwhile.

mod accounts;
mod at_boot;
mod clean;
mod configure;
mod database;
mod deb;
mod error;
mod ids;
mod overlay;
mod replaces;
mod settings;
mod stanza;
mod tree;
mod units;
mod unpack;

pub use accounts::{Group, SERVICES, USERS, User, add_accounts};
pub use at_boot::read_at_boot;
pub use clean::clean;
pub use configure::{Configure, Configuring, SKIPPED, configure};
pub use deb::{Control, ControlFile, Deb};
pub use error::Error;
pub use ids::{Ids, are_pinned, pin_ids};
pub use overlay::{Placed, link, overlay, place};
pub use settings::{Settings, apply_settings};
pub use stanza::Stanza;
pub use units::{Units, set_units};
pub use unpack::{Unpack, Unpacked, unpack};
