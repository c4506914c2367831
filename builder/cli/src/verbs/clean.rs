//! `coremax clean`: gives disk space back.

use anyhow::Result;

use crate::args::{Clean, Global, Mirrors, Progress};

pub(crate) fn run(global: &Global, clean: &Clean) -> Result<()> {
    let builder = super::open(global, Mirrors::default())?;
    let freed = builder.clean(clean.all)?;
    if global.progress != Progress::None {
        println!("freed {} MB", freed / 1_000_000);
    }
    Ok(())
}
