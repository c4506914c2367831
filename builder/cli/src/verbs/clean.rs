//! `coremax clean`: gives disk space back.

use anyhow::Result;

use crate::{
    args::{Clean, Global, Mirrors},
    progress,
};

pub(crate) fn run(global: &Global, clean: &Clean) -> Result<()> {
    let builder = super::open(global, Mirrors::default())?;
    builder.clean(clean.all, &*progress::show(global.progress))
}
