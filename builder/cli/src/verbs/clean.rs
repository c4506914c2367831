//! `coremax clean`: gives disk space back.

use anyhow::Result;

use crate::args::{Clean, Global, Mirrors, Progress};

pub(crate) fn run(global: &Global, clean: &Clean) -> Result<()> {
    let builder = super::open(global, Mirrors::default())?;
    let cleaned = builder.clean(clean.all)?;
    if global.progress != Progress::None {
        let said = match cleaned.busy {
            true => {
                "nothing removed: a running build uses the cache; clean again after it".to_owned()
            }
            false => format!("freed {} MB", cleaned.freed / 1_000_000),
        };
        println!("{said}");
    }
    Ok(())
}
