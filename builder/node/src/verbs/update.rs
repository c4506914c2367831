//! `update`: from a file, or from where one is served.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
};

use anyhow::{Context, Result};
use coremax_node_api::{
    slot::Slot,
    update::{self as file, Manifest, key::PublicKey},
};

use super::{disk, keys, lock::Lock, running, table::Table};
use crate::{
    download::{self, Download},
    update::{self, Files, Running},
};

/// Where a download is kept until it is written.
const DOWNLOADS: &str = "/var/cache/coremax/update";

/// What an update goes to.
struct Node {
    disk: Files<Table>,
    running: Running,
    keys: Vec<PublicKey>,
}

/// Writes the update at a path or a URL to the free slot. One that is damaged anywhere is refused
/// before the version in that slot is given up.
pub(crate) fn update(from: &str) -> Result<()> {
    let _lock = Lock::take("an update")?;
    let mut node = Node { disk: disk()?, running: running()?, keys: keys()? };
    node.disk.table = Table::of_this_disk()?;
    let (slot, manifest) = match from.contains("://") {
        true => node.take_from(from)?,
        false => node.take(Path::new(from))?,
    };
    println!("{} {} is in slot {slot}", manifest.recipe, manifest.version);
    println!(
        "restart the node to try it; {} comes back by itself if it fails",
        node.running.version
    );
    Ok(())
}

impl Node {
    fn take(&mut self, path: &Path) -> Result<(Slot, Manifest)> {
        let mut source =
            File::open(path).with_context(|| format!("opening the update {}", path.display()))?;
        self.check(&source)?;
        source.rewind().context("reading the update again")?;
        update::apply(&mut self.disk, &source, &self.keys, &self.running)
    }

    /// It is checked as it comes: what is refused by its head is not fetched any further.
    fn take_from(&mut self, url: &str) -> Result<(Slot, Manifest)> {
        let mut source =
            Download::open(url, Path::new(DOWNLOADS)).context("fetching the update")?;
        if let Some(bytes) = source.resumed() {
            println!("{bytes} bytes of it are here already");
        }
        let mut checked = self.check_to_the_end(&mut source);
        // What was here may be of another file, which had this URL once.
        if source.resumed().is_some() && checked.as_ref().is_err_and(is_of_the_file) {
            println!("what is here is no part of it: all of it is fetched");
            source.restart()?;
            checked = self.check_to_the_end(&mut source);
        }
        if let Err(error) = checked {
            if is_of_the_file(&error) {
                source.forget();
            }
            return Err(error);
        }
        source.rewind();
        let done = update::apply(&mut self.disk, &mut source, &self.keys, &self.running)?;
        source.forget();
        Ok(done)
    }

    /// Checks a download, and asks for more of one that ends too early as long as more comes.
    fn check_to_the_end(&self, source: &mut Download) -> Result<Manifest> {
        let mut checked = self.check(&mut *source);
        while checked.as_ref().is_err_and(is_cut_off) && source.go_on() {
            source.rewind();
            checked = self.check(&mut *source);
        }
        checked
    }

    fn check(&self, source: impl Read) -> Result<Manifest> {
        update::check(&self.disk, source, &self.keys, &self.running)
    }
}

/// Whether what was fetched ends too early.
fn is_cut_off(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(file::Error::Truncated { .. }))
}

/// Whether an error comes from what was fetched, and not from the way it came or from this node.
fn is_of_the_file(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(file::Error::Read { source, .. }) => {
            let fetching = source.get_ref().and_then(|source| source.downcast_ref());
            matches!(fetching, Some(download::Error::Range { .. }))
        }
        Some(_) => true,
        None => false,
    }
}
