//! `coremax plan`: what a build would do.

use anyhow::Result;

use crate::{
    args::{Global, Plan},
    progress,
    text::say,
};

pub(crate) fn run(global: &Global, args: Plan) -> Result<()> {
    let builder = super::open_shelf(global, args.from.mirrors.clone(), &args.locking.shelf)?;
    let show = progress::show(global.progress);
    let plan = builder.plan(&super::request(args.from, &args.locking), &*show)?;
    if args.json {
        say(&serde_json::to_string_pretty(&builder.describe(&plan))?)
    } else if let Some(named) = args.why {
        let step = builder.why(&plan, &named);
        say(&step.map_or_else(|| plan.why(&named), Ok)?)
    } else {
        say(&builder.describe(&plan).to_string())
    }
}
