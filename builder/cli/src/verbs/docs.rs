//! What comes of the command's own definitions: schema, completions, man pages.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::args::Args;

pub(crate) fn schema() -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&coremax_recipe::schema())?);
    Ok(())
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<()> {
    clap_complete::generate(shell, &mut Args::command(), "coremax", &mut io::stdout());
    Ok(())
}

pub(crate) fn man(folder: Option<&Path>) -> Result<()> {
    let command = Args::command();
    let Some(folder) = folder else {
        return clap_mangen::Man::new(command).render(&mut io::stdout()).context("printing");
    };
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("writing man pages to {}", folder.display()))
}
