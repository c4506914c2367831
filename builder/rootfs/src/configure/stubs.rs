//! Programs that seem to succeed, laid over those that are not to run.
//!
//! Each is a bind mount in the sandbox, so that the tree's own file is never touched. Besides,
//! `policy-rc.d` refuses every start of a service (status 101); see invoke-rc.d(8).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use coremax_sandbox::Sandbox;

use crate::{Error, tree::Tree};

const SUCCEED: &str = "#!/bin/sh\nexit 0\n";
const DENY: &str = "#!/bin/sh\nexit 101\n";
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The stubs of one configuring.
pub(super) struct Stubs {
    covers: Vec<(PathBuf, PathBuf)>,
    /// Whether the mount point of the policy has to be made, and is to be removed.
    policy_is_ours: bool,
}

impl Stubs {
    /// Writes the stubs beside the log, for those programs that the tree has.
    pub(super) fn place(tree: &Tree, skip: &[PathBuf], log: &Path) -> Result<Self, Error> {
        let succeed = write(&log.with_extension("succeed"), SUCCEED)?;
        let deny = write(&log.with_extension("deny"), DENY)?;
        let mut covers = vec![(deny, PathBuf::from(POLICY))];
        for program in skip {
            if tree.exists(relative(program))? {
                covers.push((succeed.clone(), program.clone()));
            }
        }
        Ok(Self { covers, policy_is_ours: !tree.exists(relative(Path::new(POLICY)))? })
    }

    /// The sandbox with all of them in it.
    pub(super) fn cover(&self, sandbox: Sandbox) -> Sandbox {
        let covers = self.covers.iter();
        covers.fold(sandbox, |sandbox, (stub, program)| sandbox.bind_ro_at(stub, program))
    }

    /// Removes what they needed.
    pub(super) fn remove(&self, tree: &Tree) -> Result<(), Error> {
        if self.policy_is_ours {
            tree.remove(relative(Path::new(POLICY)))?;
        }
        for (stub, _) in &self.covers {
            // Another cover may have been of the same stub.
            let _ = fs::remove_file(stub);
        }
        Ok(())
    }
}

/// Writes a script that may be run.
pub(super) fn write(path: &Path, script: impl AsRef<[u8]>) -> Result<PathBuf, Error> {
    let written = fs::write(path, script)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    let failed = |source| Error::Host { operation: "writing", path: path.to_owned(), source };
    written.map(|()| path.to_owned()).map_err(failed)
}

/// The path from the tree's top.
pub(super) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
