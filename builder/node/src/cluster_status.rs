//! `coremax-node status --watch` and the verbs of the phases, and the file that they show.

pub(crate) mod console;
pub(crate) mod phases;

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use coremax_node_api::{
    cluster_status::{ClusterStatus, LENGTH_MAX, Wait, screen},
    join::Now,
};

use crate::{clock, durable::replace_quickly, paths};

pub(crate) use coremax_node_api::cluster_status::word;

/// How soon a change is seen, and how often the wait is counted down.
const STEP: Duration = Duration::from_secs(1);
/// To a terminal's first place, and the end of a line and of a page clear: ECMA-48, 8.3.21, 8.3.41 and 8.3.39. What stays
/// the same is written over itself, so that nothing flickers.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_REST: &str = "\x1b[J";

/// Puts the status where anybody may read it, whole.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn publish(path: &Path, status: &ClusterStatus) -> Result<()> {
    replace_quickly(path, status.to_text().as_bytes(), 0o644)
        .with_context(|| format!("writing {}", path.display()))
}

/// Shows the status as it changes, until it is interrupted. On no terminal each page follows the one before, and none
/// is shown for a wait that is counted down.
///
/// # Errors
/// Where nobody reads on.
pub(crate) fn watch() -> Result<()> {
    let is_terminal = io::stdout().is_terminal();
    let mut before = String::new();
    loop {
        let page = page(Path::new(paths::STATUS), is_terminal.then(clock::wall));
        if page != before {
            show(&if is_terminal { over(&page) } else { page.clone() })?;
            before = page;
        }
        thread::sleep(STEP);
    }
}

fn show(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("showing the status")
}

/// A page over the one before it.
fn over(page: &str) -> String {
    format!("{HOME}{}{CLEAR_REST}", page.replace('\n', CLEAR_LINE))
}

/// The page for what is in the file, at a time; at its own without one. A file that is not there yet is a machine that
/// has just been started.
fn page(path: &Path, now: Option<i64>) -> String {
    let status = match read(path) {
        Ok(status) => status,
        Err(error) => {
            let wall = now.unwrap_or_default();
            let problem = format!("coremax-node has not said how far it is: {error:#}");
            let blank = ClusterStatus::blank(Now { mono: 0, wall }, Some(problem));
            ClusterStatus { waits: Wait::Nothing, ..blank }
        }
    };
    screen(&status, now.unwrap_or(status.written))
}

fn read(path: &Path) -> Result<ClusterStatus> {
    let mut text = Vec::new();
    let about = || format!("reading {}", path.display());
    let file = fs::File::open(path).with_context(about)?;
    file.take(LENGTH_MAX as u64 + 1).read_to_end(&mut text).with_context(about)?;
    ClusterStatus::parse(&text).with_context(about)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_page_is_written_over_the_one_before() {
        assert_eq!(over("one\n\ntwo\n"), "\x1b[Hone\x1b[K\n\x1b[K\ntwo\x1b[K\n\x1b[J");
    }

    #[test]
    fn what_is_published_is_shown_and_anybody_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coremax/status.json");
        let page = |path: &Path, now| {
            let page = page(path, now);
            page.split_whitespace().collect::<Vec<_>>().join(" ") // where it is broken is not told here
        };
        assert!(page(&path, Some(0)).contains("has not said"));
        let told = Now { mono: 0, wall: 5000 };
        let mut status = ClusterStatus::blank(told, Some("nobody told it".into()));
        publish(&path, &status).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert!(page(&path, None).contains("nobody told it"));
        status.next_try = Some(9000);
        publish(&path, &status).unwrap();
        assert!(page(&path, None).contains("in 4 s") && page(&path, Some(6000)).contains("in 3 s"));
        fs::write(&path, status.to_text().replace("\"format\":1", "\"format\":9")).unwrap();
        assert!(page(&path, None).contains("of format 9"));
        fs::write(&path, "x".repeat(LENGTH_MAX + 1)).unwrap();
        assert!(page(&path, None).contains("longer than"));
    }
}
