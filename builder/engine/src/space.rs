//! Whether a build has the room it needs, known before it starts.

use std::{
    fs,
    io::{Error, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

/// What must stay free beside what is counted, for logs, locks and names.
const SPARE: u64 = 64 << 20;

/// Refuses to go on if the file system of `folder` has less than `needed` bytes free.
///
/// # Errors
/// Naming the folder, what is free and what is needed.
pub fn check(folder: &Path, needed: u64) -> Result<()> {
    let free = free(folder)?;
    if free < needed.saturating_add(SPARE) {
        let what = format!(
            "{} has {} MB free and the build needs {} MB there",
            folder.display(),
            free / 1_000_000,
            needed.saturating_add(SPARE).div_ceil(1_000_000)
        );
        // Of this kind, so that it carries the hint of a full disk.
        return Err(Error::new(ErrorKind::StorageFull, what).into());
    }
    Ok(())
}

/// Bytes of disk that everything below `folder` takes; nothing where it cannot be read.
pub fn used(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(kind) if kind.is_dir() => used(&entry.path()),
            Ok(kind) => kind.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Bytes that this user may still write.
fn free(folder: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking for the free space of {}", folder.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_is_said_with_figures() {
        let folder = std::env::temp_dir();
        check(&folder, 0).unwrap();
        let error = check(&folder, u64::MAX - SPARE).unwrap_err().to_string();
        assert!(error.contains("MB free") && error.contains("needs"), "{error}");
    }
}
