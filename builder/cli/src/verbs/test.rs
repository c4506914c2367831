//! `coremax test`: boots a result again.

use anyhow::Result;

use crate::{
    args::{Global, Progress, Test},
    progress,
};

pub(crate) fn run(global: &Global, test: Test) -> Result<()> {
    let builder = super::open(global, test.mirrors)?;
    let how = if test.json { Progress::Json } else { global.progress };
    let show = progress::show(how);
    let (image, settings) = (super::result(test.image)?, super::boot_settings(&test.boot));
    builder.test(&image, &settings, test.report.as_deref(), &*show)
}
