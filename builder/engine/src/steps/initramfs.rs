//! The initial RAM disk of a plain image, made by the tree's own mkinitramfs(8), and the kernel it
//! belongs to.
//!
//! It runs on a throw-away view of the layers: whatever it writes beside the file is lost.

use std::{fs, path::Path};

use anyhow::Result;
use coremax_fetch::Digest;
use coremax_sandbox::{Cmd, Sandbox};

use super::{
    kernel::{self, INITRD},
    layers,
};
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    run::{Outputs, Step},
};

/// Changes when the same layers make another file.
const REVISION: u32 = 1;

/// The step that makes the initial RAM disk by the distribution's own means.
pub(crate) struct Initramfs {
    /// Fingerprint of the site layer, and so of the system layer.
    pub(crate) site: Digest,
    /// The time that it carries, in seconds since 1970.
    pub(crate) epoch: u64,
    /// Bytes that the packages take unpacked.
    pub(crate) unpacked: u64,
}

impl Step for Initramfs {
    fn id(&self) -> &'static str {
        "initrd"
    }

    fn description(&self) -> String {
        "making the initial RAM disk".to_owned()
    }

    fn reads(&self) -> Fingerprint {
        Fingerprint::new("initramfs", REVISION).with_digest("site", &self.site)
    }

    fn needs(&self) -> &[&'static str] {
        &["system", "site"]
    }

    fn room(&self) -> u64 {
        kernel::room(self.unpacked)
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("running mkinitramfs", None, Unit::Count);
        let scratch = out.join("scratch");
        let view = layers::scratch(needed, &scratch)?;
        let tree = view.path();
        let release = kernel::copy(tree, out)?;
        let sandbox = Sandbox::tree(tree).bind_at(out, Path::new("/mnt"));
        Cmd::new("mkinitramfs", &sandbox)
            .args(["-o", &format!("/mnt/{INITRD}"), &release])
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .run()?;
        drop(view);
        crate::store::remove(&scratch)?;
        let size = fs::metadata(out.join(INITRD))?.len();
        Ok(format!("Linux {release}, initrd {} MiB", size >> 20))
    }
}
