//! Hosts that forbid what a build needs.

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, coremax, ran};

use crate::stage::{Stage, complained};

/// The setting counts for the namespace in which it is made and those below, so this forbids it to nobody else.
pub(crate) fn no_namespaces(stage: &Stage) -> Outcome {
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces || exit 77; exec \"$@\"";
    let ran = ran(Cmd::new("unshare", &Sandbox::host())
        .args(["--user", "--map-root-user", "sh", "-c", forbid, "sh"])
        .arg(coremax())
        .args(["plan", "tiny.toml", "--cache", "cache"])
        .current_dir(stage.folder.path()));
    if !ran.err.contains("error: ") {
        return Err(format!("skipped: the setting cannot be made here: {}", ran.err));
    }
    let wanted = ["entering a user namespace", "no more user namespaces"];
    complained(&ran, &wanted, "sudo sysctl user.max_user_namespaces=")
}
