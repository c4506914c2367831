//! The system and the site layer seen as one tree.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use coremax_sandbox::Overlay;
use rustix::fs::XattrFlags;

use super::{site, system};
use crate::run::Outputs;

/// Both layers as one read-only tree in `scratch`, until the overlay is dropped.
pub(crate) fn merged(needed: &Outputs, scratch: &Path) -> Result<Overlay> {
    let at = scratch.join("merged");
    fs::create_dir_all(&at)?;
    let layers = layers(needed);
    Ok(Overlay::stack(&[&layers[0], &layers[1]], &at)?)
}

/// The same with nothing in /var.
pub(crate) fn without_var(needed: &Outputs, scratch: &Path) -> Result<Overlay> {
    let [at, mask] = ["merged", "mask"].map(|name| scratch.join(name));
    let var = mask.join("var");
    for folder in [&at, &var] {
        fs::create_dir_all(folder)?;
    }
    // Hides what is below; an overlay in a user namespace keeps its marks in `user.` attributes.
    rustix::fs::setxattr(&var, "user.overlay.opaque", b"y", XattrFlags::empty())
        .context("hiding /var")?;
    let layers = layers(needed);
    // As old as what it hides, or the image would say when it was made.
    for (folder, hidden) in [(&var, layers[1].join("var")), (&mask, layers[1].clone())] {
        let time = fs::metadata(&hidden).and_then(|hidden| hidden.modified())?;
        fs::File::open(folder)?.set_modified(time)?;
    }
    Ok(Overlay::stack(&[&mask, &layers[0], &layers[1]], &at)?)
}

/// Both layers as one tree at `scratch/tree`, whose changes go to `scratch` and are lost with it.
pub(crate) fn scratch(needed: &Outputs, scratch: &Path) -> Result<Overlay> {
    let [upper, work, at] = ["upper", "work", "tree"].map(|name| scratch.join(name));
    for folder in [&upper, &work, &at] {
        fs::create_dir_all(folder)?;
    }
    let layers = layers(needed);
    Ok(Overlay::mount(&[&layers[0], &layers[1]], &upper, &work, &at)?)
}

/// The topmost first.
fn layers(needed: &Outputs) -> [PathBuf; 2] {
    [needed.path("site", site::LAYER), needed.path("system", system::TREE)]
}
