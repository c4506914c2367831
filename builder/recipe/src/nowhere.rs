//! Places where what a recipe brings would never be seen, or would be every machine's.

use std::{fs, path::Path};

/// A running system mounts something over these or empties them at boot.
const HIDDEN: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];
/// What every machine must have of its own; see machine-id(5).
const IDENTITIES: [&str; 2] = ["etc/machine-id", "var/lib/dbus/machine-id"];

/// Why nothing may be at this absolute path of an image; none where something may.
pub(crate) fn objection(path: &str) -> Option<String> {
    let below = path.trim_start_matches('/');
    let top = below.split('/').next().unwrap_or_default();
    if HIDDEN.contains(&top) {
        return Some(format!("what is in /{top} of an image is gone when it runs"));
    }
    IDENTITIES
        .contains(&below)
        .then(|| format!("{path} is every machine's own, made at its first boot"))
}

/// The same for what is in a folder that is to be laid over an image.
pub(crate) fn objection_to_folder(folder: &Path) -> Option<String> {
    let in_hidden = HIDDEN.iter().filter_map(|top| {
        let entry = fs::read_dir(folder.join(top)).ok()?.next()?.ok()?;
        objection(&format!("/{top}/{}", entry.file_name().to_string_lossy()))
    });
    let identities = IDENTITIES.iter().filter(|path| folder.join(path).symlink_metadata().is_ok());
    in_hidden.chain(identities.filter_map(|path| objection(&format!("/{path}")))).next()
}
