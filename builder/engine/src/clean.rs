//! Giving disk space back: after a build what is over the limit, at the user's word what he names.

use std::time::Instant;

use anyhow::Result;

use crate::{
    builder::Builder,
    event::{Observer, Stage, Unit},
    space::Removed,
    store::Collected,
    verify, why,
};

/// What [`Builder::clean`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleaning {
    /// Finished steps that were not used for longest, until those left take this many bytes.
    To(u64),
    /// All finished steps, what builds left behind, and what the archives last said.
    Steps,
    /// All that, and downloads.
    All,
}

impl Builder {
    /// Removes finished steps, and more if `what` says so; nothing that a running build uses. Since nobody knows which
    /// downloads another process will still read, those stay as long as there is one.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn clean(&self, what: Cleaning, observer: Observer<'_>) -> Result<()> {
        let stage = Stage::new("clean", observer);
        let begin = Instant::now();
        stage.started("removing finished steps", None, Unit::Count);
        let limit = if let Cleaning::To(bytes) = what { bytes } else { 0 };
        let steps = self.store.collect(limit)?;
        let others = self.clean_others(what, &stage)?;
        let freed = steps.removed.bytes + others.freed;
        let mut summary = format!("{} finished steps", steps.removed.entries);
        if let Some(downloads) = others.downloads {
            summary += &format!(", {downloads} downloads");
        }
        summary += &format!(", {} MB freed; {}", freed / 1_000_000, self.left(&steps));
        stage.ended(summary, Some(begin.elapsed().as_secs_f64()));
        Ok(())
    }

    /// What a build leaves is brought below the limit. Its result is there already, and stays if that fails.
    pub(crate) fn collect(&self, observer: Observer<'_>) {
        let stage = Stage::new("clean", observer);
        match self.store.collect(self.limit) {
            Err(error) => stage.warned(format!("{error:#}")),
            Ok(collected) if collected.removed.entries == 0 => {}
            Ok(Collected { removed, left, .. }) => {
                let (freed, left) = (removed.bytes / 1_000_000, left.bytes / 1_000_000);
                let steps = removed.entries;
                stage.ended(
                    format!("{steps} steps long unused, {freed} MB freed, {left} MB left"),
                    None,
                );
            }
        }
    }

    /// What lies beside the finished steps.
    fn clean_others(&self, what: Cleaning, stage: &Stage<'_>) -> Result<Others> {
        let mut others = Others::default();
        if matches!(what, Cleaning::To(_)) {
            return Ok(others);
        }
        if !self.store.is_alone() {
            let stays = if what == Cleaning::All { ", and all downloads, stay" } else { " stays" };
            stage.warned(format!(
                "a running build uses the cache: what it uses{stays}; clean again after it"
            ));
            return Ok(others);
        }
        for folder in ["resolved", verify::WORK, why::LAST] {
            others.freed += Removed::all_of(&self.cache.join(folder))?.bytes;
        }
        if what == Cleaning::All {
            stage.busy_with("removing downloads");
            let inputs = Removed::all_of(self.inputs.dir())?;
            others.freed += inputs.bytes;
            others.downloads = Some(inputs.entries);
        }
        Ok(others)
    }

    fn left(&self, steps: &Collected) -> String {
        let Removed { entries, bytes } = steps.left;
        let in_use = match steps.in_use {
            0 => String::new(),
            count => format!(", {count} of them in use"),
        };
        let downloads = Removed::seen(self.inputs.dir());
        format!(
            "left: {entries} steps of {} MB{in_use}, {} downloads of {} MB",
            bytes / 1_000_000,
            downloads.entries,
            downloads.bytes / 1_000_000
        )
    }
}

/// What went beside the finished steps.
#[derive(Default)]
struct Others {
    freed: u64,
    /// How many, if they were to go and could.
    downloads: Option<usize>,
}
