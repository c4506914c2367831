//! `coremax run`: a console in this terminal.

use anyhow::Result;
use coremax_engine::{Console, Firmware};

use crate::{
    args::{Global, Run},
    progress,
};

pub(crate) fn run(global: &Global, run: Run) -> Result<()> {
    let builder = super::open_shelf(global, run.mirrors, &run.shelf)?;
    let show = progress::show(global.progress);
    let console = Console {
        firmware: Firmware::named(&run.firmware).unwrap_or_default(),
        memory_mib: run.memory,
        ssh_port: run.ssh_port,
    };
    builder.console(&super::result(run.image)?, &console, &*show)
}
