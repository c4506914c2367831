//! What the tests of this crate share: the host's programs as oracles.

use coremax_sandbox::{Cmd, Output, Sandbox};
use coremax_skip::skip;

/// The output of a program of the host, whatever its status; where it is not installed, a word
/// why the test is skipped, and nothing.
pub(crate) fn oracle<A: AsRef<std::ffi::OsStr>>(program: &str, arguments: &[A]) -> Option<Output> {
    match Cmd::new(program, &Sandbox::host()).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            skip(format_args!("{error} ({program} is not installed)"));
            None
        }
    }
}

/// Runs an oracle that must be content: status 0, and `phrase` in what it says.
#[allow(dead_code)] // not every test asks for a verdict alone
pub(crate) fn content<A: AsRef<std::ffi::OsStr>>(program: &str, arguments: &[A], phrase: &str) {
    let Some(output) = oracle(program, arguments) else { return };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains(phrase),
        "{program}: {}\n{said}",
        output.status
    );
}
