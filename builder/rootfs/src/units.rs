//! systemd's units: enabled, disabled and masked by the tree's own systemctl.
//!
//! systemctl knows aliases, templates, `Also=` and SysV scripts, and works without a running
//! manager (`SYSTEMD_OFFLINE`); see systemctl(1).

use std::path::Path;

use coremax_sandbox::{Cmd, Sandbox};

use crate::Error;

/// What is to become of units, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// Started at boot.
    pub enable: Vec<String>,
    /// Not started at boot.
    pub disable: Vec<String>,
    /// Not started at all.
    pub mask: Vec<String>,
}

/// Applies all to a tree that has systemd.
///
/// # Errors
/// Where systemctl fails, as it does for a unit that is not there.
pub fn set_units(tree: &Path, units: &Units) -> Result<(), Error> {
    let sandbox = Sandbox::tree(tree);
    for (verb, names) in
        [("disable", &units.disable), ("mask", &units.mask), ("enable", &units.enable)]
    {
        if names.is_empty() {
            continue;
        }
        Cmd::new("systemctl", &sandbox)
            .env("SYSTEMD_OFFLINE", "1")
            .arg(verb)
            .arg("--")
            .args(names)
            .run()
            .map_err(|source| Error::Program { program: format!("systemctl {verb}"), source })?;
    }
    Ok(())
}
