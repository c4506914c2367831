//! Calls of deb-systemd-helper that change nothing, answered without starting Perl.
//!
//! Scripts call it three times a unit; see deb-systemd-helper(1p). The program itself does all that leaves a trace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_sandbox::Sandbox;

use super::stubs;
use crate::{Error, tree::Tree};

const PROGRAM: &str = "/usr/bin/deb-systemd-helper";
/// Where the program itself is in the sandbox.
const MOVED: &str = "/run/deb-systemd-helper";
const COVER: &str = include_str!("units.sh");

/// What is laid over the program, and the program itself, as files of the host.
pub(super) struct Units {
    cover: PathBuf,
    program: PathBuf,
}

impl Units {
    /// Writes both beside the log, if the tree has the program.
    pub(super) fn place(tree: &Tree, log: &Path) -> Result<Option<Self>, Error> {
        let program = stubs::relative(Path::new(PROGRAM));
        if !tree.exists(program)? {
            return Ok(None);
        }
        let cover = stubs::write(&log.with_extension("units"), COVER)?;
        let program = stubs::write(&log.with_extension("helper"), tree.read(program)?)?;
        Ok(Some(Self { cover, program }))
    }

    /// The sandbox with both in it.
    pub(super) fn cover(&self, sandbox: Sandbox) -> Sandbox {
        let moved = sandbox.bind_ro_at(&self.program, Path::new(MOVED));
        moved.bind_ro_at(&self.cover, Path::new(PROGRAM))
    }

    /// Removes both.
    pub(super) fn remove(&self) {
        for path in [&self.cover, &self.program] {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use coremax_sandbox::Cmd;

    use super::*;

    #[test]
    fn what_asks_for_something_is_asked_of_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let file = |name: &str| {
            let path = state.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let program = folder.path().join("program");
        stubs::write(&program, "#!/bin/sh\necho \"$*\"\nexit 7\n").unwrap();
        let cover = COVER.replace("/var/lib/systemd", state.to_str().unwrap());
        let cover = cover.replace(MOVED, program.to_str().unwrap());
        let cover = stubs::write(&folder.path().join("cover"), cover).unwrap();
        let reaches = |arguments: &[&str]| {
            let cover = Cmd::new(&cover, &Sandbox::host()).args(arguments).output().unwrap();
            let said = String::from_utf8(cover.stdout).unwrap();
            match cover.status.code() {
                Some(0) if said.is_empty() => false,
                Some(7) if said.trim_end() == arguments.join(" ") => true,
                _ => panic!("{arguments:?}: {} {said}", cover.status),
            }
        };
        let unmask = ["unmask", "a.service"];
        let was_enabled = ["--quiet", "was-enabled", "a.service"];
        assert!(!reaches(&unmask) && !reaches(&was_enabled));
        for others in [
            &["enable", "a.service"][..],
            &["was-enabled", "a.service"],
            &["--user", "unmask", "a.service"],
            &["--quiet", "was-enabled", "a.service", "b.service"],
            &["unmask"],
            &[],
        ] {
            assert!(reaches(others), "{others:?}");
        }
        file("deb-systemd-helper-enabled/b.service.dsh-also");
        assert!(!reaches(&was_enabled));
        file("deb-systemd-helper-enabled/a.service.dsh-also");
        assert!(reaches(&was_enabled));
        for masked in ["deb-systemd-helper-masked/b.service", "deb-systemd-user-helper-masked/x"] {
            file(masked);
            assert!(reaches(&unmask), "{masked}");
            fs::remove_dir_all(state.join(masked).parent().unwrap()).unwrap();
        }
    }
}
