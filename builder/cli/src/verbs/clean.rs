//! `coremax clean`: gives disk space back.

use anyhow::Result;
use coremax_engine::Cleaning;

use crate::{
    args::{Clean, Global, Mirrors},
    progress,
};

pub(crate) fn run(global: &Global, clean: &Clean) -> Result<()> {
    let builder = super::open(global, Mirrors::default())?;
    let what = match clean.limit {
        Some(limit) => Cleaning::To(limit.get()),
        None if clean.all => Cleaning::All,
        None => Cleaning::Steps,
    };
    builder.clean(what, &*progress::show(global.progress))
}
