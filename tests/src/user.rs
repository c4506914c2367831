//! An ordinary user of whom the host hears nothing, to build as.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};

use crate::{Outcome, expect, host};

/// A number that is nobody's.
const ID: &str = "61184";
/// Lays the user and a range of ids over the host's files, in a mount namespace of its own, and becomes that user.
const BECOME: &str = r#"
set -eu
home=$1 id=$2
shift 2
for file in passwd group subuid subgid; do cp "/etc/$file" "$home.$file"; done
echo "builder:x:$id:$id::$home:/bin/sh" >>"$home.passwd"
echo "builder:x:$id:" >>"$home.group"
for file in subuid subgid; do echo "builder:1879048192:65536" >"$home.$file"; done
for file in passwd group subuid subgid; do mount --bind "$home.$file" "/etc/$file"; done
umask 077
exec setpriv --reuid "$id" --regid "$id" --clear-groups --inh-caps=-all \
    env -i PATH=/usr/bin:/bin HOME="$home" "$@"
"#;

/// The user, with a home that nobody else may look into.
pub struct User {
    home: PathBuf,
}

impl User {
    /// Gives a folder to the user, with all that is in it. The files beside it that begin with its name are this one's.
    ///
    /// # Errors
    /// A skip where nobody can become an ordinary user here; whatever else stands in the way.
    pub fn at(home: &Path) -> Result<Self, String> {
        Self::possible()?;
        let text = home.to_string_lossy();
        host("chown", &["-R", &format!("{ID}:{ID}"), &text])?;
        host("chmod", &["-R", "go-rwx", &text])?;
        // The way there is root's own.
        host("chmod", &["755", &home.parent().unwrap_or(home).to_string_lossy()])?;
        Ok(Self { home: home.to_owned() })
    }

    /// Whether somebody can become an ordinary user here.
    ///
    /// # Errors
    /// A skip where not.
    pub fn possible() -> Outcome {
        expect(rustix::process::geteuid().is_root(), || {
            "skipped: only root can become an ordinary user".into()
        })?;
        let programs = ["newuidmap", "newgidmap", "setpriv", "unshare"];
        programs.iter().try_for_each(|program| is_here(program, "uidmap, util-linux"))
    }

    /// A program that the user starts in this folder, with an umask of 077 and this environment.
    pub fn command(&self, folder: &Path, environment: &[(&str, &str)], program: &str) -> Cmd {
        Cmd::new("unshare", &Sandbox::host())
            .args(["--mount", "sh", "-c", BECOME, "sh"])
            .arg(&self.home)
            .arg(ID)
            .args(environment.iter().map(|(name, value)| format!("{name}={value}")))
            .arg(program)
            .current_dir(folder)
    }

    /// Looks whose this is: a test that anybody else made it proves nothing.
    ///
    /// # Errors
    /// Where it is another's, or is not there.
    pub fn owns(&self, path: &Path) -> Outcome {
        let owner = fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.uid();
        expect(owner.to_string() == ID, || {
            format!("{} is {owner}'s: it was no ordinary user", path.display())
        })
    }
}

/// Whether a program is on every user's path.
///
/// # Errors
/// A skip that names the packages to install where it is not.
pub fn is_here(program: &str, packages: &str) -> Outcome {
    let found = ["/usr/bin", "/bin"].iter().any(|at| Path::new(at).join(program).exists());
    expect(found, || format!("skipped: {program} is not here (install {packages})"))
}
