//! `coremax key`: the keys that sign updates, and images for Secure Boot.

use anyhow::Result;
use coremax_engine::key;

use crate::{
    args::{Global, Key, KeyVerb, Progress},
    text::say,
};

pub(crate) fn run(global: &Global, args: &Key) -> Result<()> {
    let KeyVerb::New { file, secure_boot } = &args.verb;
    if *secure_boot {
        let certificate = key::make_secure_boot(file)?;
        if global.progress != Progress::None {
            say(&format!(
                "{}: secret, for coremax build --secure-boot-key\n\
                 {}: for --secure-boot-cert, and for the machines' firmware",
                file.display(),
                certificate.display()
            ))?;
        }
        return Ok(());
    }
    let made = key::make(file)?;
    if global.progress != Progress::None {
        say(&format!(
            "{}: secret, for coremax build --sign-key\n\
             {}: public, for [root] update-key (key {})",
            file.display(),
            made.public.display(),
            made.id
        ))?;
    }
    Ok(())
}
