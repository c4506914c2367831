//! `coremax plan`: what a build would do.

use anyhow::Result;

use crate::{
    args::{Global, Plan},
    progress,
    text::say,
};

pub(crate) fn run(global: &Global, args: Plan) -> Result<()> {
    let builder = super::open(global, args.from.mirrors.clone())?;
    let show = progress::show(global.progress);
    let plan = builder.plan(&super::request(args.from), &*show)?;
    if args.json {
        say(&serde_json::to_string_pretty(&builder.describe(&plan))?)
    } else if let Some(package) = args.why {
        say(&plan.why(&package)?)
    } else {
        say(&builder.describe(&plan).to_string())
    }
}
