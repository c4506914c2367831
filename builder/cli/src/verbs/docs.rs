//! What comes of the command's own definitions: schema, completions, man pages.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::{args::Args, text::say};

pub(crate) fn schema() -> Result<()> {
    say(&serde_json::to_string_pretty(&coremax_recipe::schema())?)
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "coremax", &mut script);
    say(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(folder: Option<&Path>) -> Result<()> {
    let command = Args::command();
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).context("making the man page")?;
        return say(&String::from_utf8_lossy(&page));
    };
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("writing man pages to {}", folder.display()))
}
