//! The initial RAM disk, made by the tree's own mkinitramfs(8), and the kernel it belongs to.
//!
//! It runs on a throw-away view of the layers: whatever it writes beside the file is lost.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use coremax_fetch::Digest;
use coremax_sandbox::{Cmd, Sandbox};

use super::layers;
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    run::{Outputs, Step},
};

/// Changes when the same layers make another file.
const REVISION: u32 = 1;
/// The files in the step's output.
pub(crate) const KERNEL: &str = "vmlinuz";
pub(crate) const INITRD: &str = "initrd.img";

/// The step that makes the initial RAM disk.
pub(crate) struct Initrd {
    /// Fingerprint of the site layer, and so of the system layer.
    pub(crate) site: Digest,
    /// The time that it carries, in seconds since 1970.
    pub(crate) epoch: u64,
}

impl Step for Initrd {
    fn id(&self) -> &'static str {
        "initrd"
    }

    fn description(&self) -> String {
        "making the initial RAM disk".to_owned()
    }

    fn fingerprint(&self) -> Digest {
        Fingerprint::new("initrd", REVISION).with("site", self.site.as_bytes()).finish()
    }

    fn needs(&self) -> &[&'static str] {
        &["system", "site"]
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("running mkinitramfs", None, Unit::Count);
        let scratch = out.join("scratch");
        let view = layers::scratch(needed, &scratch)?;
        let tree = view.path();
        let release = kernel_release(tree)?;
        fs::copy(tree.join(format!("boot/vmlinuz-{release}")), out.join(KERNEL))
            .with_context(|| format!("copying the kernel {release}"))?;
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

/// The release of the one kernel in the tree.
fn kernel_release(tree: &Path) -> Result<String> {
    let boot = tree.join("boot");
    let names = fs::read_dir(&boot).with_context(|| format!("listing {}", boot.display()))?;
    let mut releases: Vec<_> = names
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned()))
        .collect();
    releases.sort();
    match releases.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("there is no kernel in /boot; does the recipe install one?"),
        several => bail!("there are {} kernels in /boot: {}", several.len(), several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kernel_and_no_other_number() {
        let tree = tempfile::tempdir().unwrap();
        let boot = tree.path().join("boot");
        fs::create_dir(&boot).unwrap();
        assert!(kernel_release(tree.path()).unwrap_err().to_string().contains("no kernel"));
        fs::write(boot.join("vmlinuz-6.1.0-9-amd64"), "").unwrap();
        fs::write(boot.join("config-6.1.0-9-amd64"), "").unwrap();
        assert_eq!(kernel_release(tree.path()).unwrap(), "6.1.0-9-amd64");
        fs::write(boot.join("vmlinuz-6.2"), "").unwrap();
        assert!(kernel_release(tree.path()).unwrap_err().to_string().contains("2 kernels"));
    }
}
