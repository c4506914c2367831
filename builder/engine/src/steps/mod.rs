//! The steps of a build, one a file. Only here do the domain crates meet.
//!
//! ```text
//! sealed   system ─┬──────────> seal-system ─┐
//!                  ├> site ───> seal-site ───┴> root ─┬> image
//!                  └> initrd ─────────────────────────┤
//!          tools ──────────────> data ────────────────┘
//!
//! plain    system ──> site ─┬> root, data ──> image
//!                           └> initramfs ───────┘
//! ```

mod access;
mod disk;
mod filesystem;
pub(crate) mod image;
mod initramfs;
mod initrd;
pub(crate) mod kernel;
pub(crate) mod layer;
mod layers;
pub(crate) mod lean;
mod modules;
pub(crate) mod root;
pub(crate) mod site;
pub(crate) mod system;
pub(crate) mod tools;
mod unified;

pub(crate) use filesystem::{Filesystem, Part};
pub(crate) use image::{Image, Kind};
pub(crate) use initramfs::Initramfs;
pub(crate) use initrd::Initrd;
pub(crate) use layer::{Layer, Which};
pub(crate) use root::{Root, Sealed};
pub(crate) use site::Site;
pub(crate) use system::System;
pub(crate) use tools::Tools;
pub(crate) use unified::Signature;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use coremax_recipe::Recipe;

    /// A recipe with this added to the least that one says.
    pub(super) fn recipe(more: &str) -> Recipe {
        let text = format!(
            "name = \"a\"\nsummary = \"b\"\nbase = \"debian-12\"\n{more}\n[[output]]\nformat = \"raw\"\n"
        );
        let part = coremax_recipe::parse("a.toml", &text).unwrap();
        coremax_recipe::merge(&part, &[], Path::new(""), None).unwrap()
    }
}
