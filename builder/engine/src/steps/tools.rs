//! A tools tree: packages unpacked and not configured, for programs that run from it read-only.

use std::{fs, path::Path};

use anyhow::Result;
use coremax_fetch::Input;
use coremax_rootfs::{Unpack, unpack};

use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    packages::Packages,
    run::{Outputs, Step},
};

/// Changes when the same packages make another tree.
const REVISION: u32 = 1;
/// The tree's name in the step's output.
pub(crate) const TREE: &str = "tree";

/// The step that makes a tools tree.
pub(crate) struct Tools {
    /// The step's name.
    pub(crate) id: &'static str,
    /// What is in it.
    pub(crate) packages: Packages,
    /// Whether the distribution leaves it to its installer to merge /usr.
    pub(crate) merges_usr: bool,
}

impl Step for Tools {
    fn id(&self) -> &'static str {
        self.id
    }

    fn description(&self) -> String {
        format!("unpacking the {} tree", self.id)
    }

    fn reads(&self) -> Fingerprint {
        let print = Fingerprint::new("tools", REVISION)
            .with("packages", self.packages.digest().as_bytes())
            .listed(self.packages.versions());
        if self.merges_usr { print } else { print.with("merges usr", "no") }
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
        // Nothing will be configured here, so nothing is left for dpkg either.
        let options =
            Unpack { leave_diverting: false, merged_usr: self.merges_usr, ..Unpack::default() };
        unpack(&self.packages.debs, &tree, &options, &|bytes| stage.progressed(bytes))?;
        Ok(format!("{} packages unpacked", self.packages.debs.len()))
    }

    fn room(&self) -> u64 {
        self.packages.installed_bytes()
    }
}
