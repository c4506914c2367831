//! The steps of a build, one a file. Only here do the domain crates meet.
//!
//! ```text
//! tools  ─────────────┬──────────┐
//! system ──> site ──┬─┼> root ───┤
//!                   │ └> data ───┼──> image
//!                   └──> initrd ─┴──> (ESP inside image)
//! ```

mod filesystem;
mod image;
mod initrd;
mod layers;
mod site;
mod system;
pub(crate) mod tools;

pub(crate) use filesystem::{Filesystem, Part};
pub(crate) use image::Image;
pub(crate) use initrd::Initrd;
pub(crate) use site::Site;
pub(crate) use system::System;
pub(crate) use tools::Tools;
