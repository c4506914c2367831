//! The kernel of a tree: which one it is, and its file for the loader.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

/// What kernel and initrd are called in the output of the step that makes the initrd, and in a slot.
pub(crate) use coremax_node_api::slot::{INITRD, KERNEL};

/// Bytes for a kernel and its initial RAM disk: packages with a kernel are mostly its modules, and these are compressed
/// there.
pub(crate) fn room(unpacked: u64) -> u64 {
    unpacked / 6
}

/// Copies the one kernel in the tree to `out` and returns its release, such as `6.1.0-30-amd64`.
pub(crate) fn copy(tree: &Path, out: &Path) -> Result<String> {
    let release = release(tree)?;
    fs::copy(tree.join(format!("boot/vmlinuz-{release}")), out.join(KERNEL))
        .with_context(|| format!("copying the kernel {release}"))?;
    Ok(release)
}

/// The release of the one kernel in the tree.
pub(super) fn release(tree: &Path) -> Result<String> {
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
        assert!(release(tree.path()).unwrap_err().to_string().contains("no kernel"));
        fs::write(boot.join("vmlinuz-6.1.0-9-amd64"), "").unwrap();
        fs::write(boot.join("config-6.1.0-9-amd64"), "").unwrap();
        assert_eq!(release(tree.path()).unwrap(), "6.1.0-9-amd64");
        fs::write(boot.join("vmlinuz-6.2"), "").unwrap();
        assert!(release(tree.path()).unwrap_err().to_string().contains("2 kernels"));
    }
}
