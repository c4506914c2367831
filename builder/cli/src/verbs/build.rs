//! `coremax build`: from a recipe to a proven result.

use anyhow::Result;
use coremax_engine::{Output, SecureBootKey, Testing};

use crate::{
    args::{Build, Global},
    progress,
};

pub(crate) fn run(global: &Global, build: Build) -> Result<()> {
    let builder = super::open_shelf(global, build.from.mirrors.clone(), &build.locking.shelf)?;
    let show = progress::show(global.progress_or_json(build.json));
    let plan = builder.plan(&super::request(build.from, &build.locking), &*show)?;
    let testing = match build.no_test {
        true => Testing::Skipped,
        false => Testing::Boot(super::boot_settings(&build.boot)),
    };
    let output = Output {
        folder: build.output,
        version: build.image_version,
        testing,
        sign_key: build.sign_key,
        secure_boot: build
            .secure_boot_key
            .zip(build.secure_boot_cert)
            .map(|(key, certificate)| SecureBootKey { key, certificate }),
    };
    builder.build(plan, &output, &*show)?;
    Ok(())
}
