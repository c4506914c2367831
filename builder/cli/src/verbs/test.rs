//! `coremax test`: boots a result again.

use anyhow::Result;

use crate::{
    args::{Global, Test},
    progress,
};

pub(crate) fn run(global: &Global, test: Test) -> Result<()> {
    let builder = super::open_shelf(global, test.mirrors, &test.shelf)?;
    let show = progress::show(global.progress_or_json(test.json));
    let (image, settings) = (super::result(test.image)?, super::boot_settings(&test.boot));
    builder.test(&image, &settings, test.report.as_deref(), &*show)
}
