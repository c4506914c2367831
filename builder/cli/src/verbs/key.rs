//! `coremax key`: the keys that sign updates.

use anyhow::Result;
use coremax_engine::key;

use crate::args::{Global, Key, KeyVerb, Progress};

pub(crate) fn run(global: &Global, args: &Key) -> Result<()> {
    let KeyVerb::New { file } = &args.verb;
    let made = key::make(file)?;
    if global.progress != Progress::None {
        println!("{}: secret, for coremax build --sign-key", file.display());
        println!("{}: public, for [root] update-key (key {})", made.public.display(), made.id);
    }
    Ok(())
}
