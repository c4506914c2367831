//! The system layer: the recipe's packages, unpacked, configured and cleaned, and nothing else.

use std::{fs, path::Path};

use anyhow::Result;
use coremax_fetch::Input;
use coremax_rootfs::{Configure, Ids, Unpack, clean, configure, pin_ids, unpack};

use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    packages::Packages,
    run::{Outputs, Step},
};

/// Changes when the same packages make another tree.
const REVISION: u32 = 4;
/// The step's name.
pub(crate) const ID: &str = "system";
/// The tree's name in the step's output.
pub(crate) const TREE: &str = "tree";
/// The log of the maintainer scripts, beside the tree.
const LOG: &str = "configure.log";

/// The step that makes the system layer.
pub(crate) struct System {
    /// What is in it.
    pub(crate) packages: Packages,
    /// The time, in seconds since 1970, that nothing in the tree is newer than.
    pub(crate) epoch: u64,
    /// The numbers that accounts must have.
    pub(crate) ids: Ids,
    /// Whether the distribution leaves it to its installer to merge /usr.
    pub(crate) merges_usr: bool,
}

impl Step for System {
    fn id(&self) -> &'static str {
        ID
    }

    fn description(&self) -> String {
        format!("making the system layer from {} packages", self.packages.debs.len())
    }

    fn reads(&self) -> Fingerprint {
        let print = Fingerprint::new("system", REVISION)
            .with("packages", self.packages.digest().as_bytes())
            .listed(self.packages.versions())
            .with("epoch", self.epoch.to_string());
        let print = if self.merges_usr { print } else { print.with("merges usr", "no") };
        match self.ids.is_empty() {
            true => print,
            false => print
                .with_json("ids", &(&self.ids.users, &self.ids.groups))
                .listed(self.ids.listed()),
        }
    }

    fn needs(&self) -> &[&'static str] {
        &[]
    }

    fn inputs(&self) -> &[Input] {
        &self.packages.inputs
    }

    fn run(&self, _: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        let tree = out.join(TREE);
        fs::create_dir(&tree)?;
        stage.started("unpacking", Some(self.packages.installed_bytes()), Unit::Bytes);
        let progress = |bytes| stage.progressed(bytes);
        let how = Unpack { merged_usr: self.merges_usr, ..Unpack::default() };
        let unpacked = unpack(&self.packages.debs, &tree, &how, &progress)?;
        let packages = self.packages.debs.len();
        stage.started("configuring", Some(packages as u64), Unit::Count);
        let options = Configure { epoch: self.epoch, left: unpacked.left, ..Configure::default() };
        configure(&tree, &options, &out.join(LOG), &|at| {
            stage.progressed(1);
            stage.busy_with(at.package);
        })?;
        pin_ids(&tree, &self.ids)?;
        clean(&tree, self.epoch, &[])?;
        Ok(format!("{packages} packages unpacked and configured"))
    }

    fn room(&self) -> u64 {
        self.packages.installed_bytes()
    }
}
