//! `coremax vendor`: what locked builds read, in one folder.

use anyhow::Result;
use coremax_engine::Request;

use crate::{
    args::{Global, Vendor},
    progress,
};

pub(crate) fn run(global: &Global, args: Vendor) -> Result<()> {
    let builder = super::open(global, args.mirrors)?;
    let base = args.base;
    let locked =
        |recipe| Request { recipe, base: base.clone(), locked: true, ..Request::default() };
    let requests: Vec<_> = args.recipes.into_iter().map(locked).collect();
    builder.vendor(&requests, &args.folder, &*progress::show(global.progress))
}
