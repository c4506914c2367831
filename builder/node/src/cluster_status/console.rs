//! `coremax-node console`: the page on a console of its own, and a login for whoever stands there.
//!
//! What systemd and the kernel write goes to the same console. So all of it is written anew from time to time, and in
//! between just the lines that changed: a serial line is slow, and its log is kept.

use std::{
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use coremax_sandbox::exec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{STEP, over, page, show};
use crate::{clock, paths};

/// How often all of it is written, in milliseconds.
const WHOLE: u64 = 30_000;
/// What follows the page, without a line feed: it would move the page.
const LOGIN: &str = "  Enter: log in ";
/// For how long somebody may say who it is, in seconds.
const LOGIN_FOR: &str = "60";
/// Asks who it is: on its standard input, which stays as it is.
const GETTY: &str = "/sbin/agetty";

/// Shows the page until Enter is pressed, and lets that person log in then. Whoever started it starts it again.
///
/// # Errors
/// Where the console is gone, or nobody can log in here.
pub(crate) fn console() -> Result<()> {
    let mut console = Console::default();
    while !is_asked().context("waiting at the console")? {
        let now = clock::wall();
        show(&console.show(&page(Path::new(paths::STATUS), Some(now)), clock::real()))?;
    }
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
    // Whom nobody answers gives the page its place back.
    let words = ["--keep-baud", "--noissue", "--timeout", LOGIN_FOR, "-", &terminal];
    Err(exec(Path::new(GETTY), &words)).context("letting somebody log in")
}

/// Waits a step for Enter.
fn is_asked() -> io::Result<bool> {
    let input = io::stdin();
    let mut fds = [PollFd::new(&input, PollFlags::IN)];
    let step = Timespec::try_from(STEP).map_err(io::Error::other)?;
    if poll(&mut fds, Some(&step))? == 0 {
        return Ok(false);
    }
    // A console gives a line when it is whole.
    let mut line = [0; 256];
    match input.lock().read(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(true),
    }
}

/// What is on the screen.
#[derive(Debug, Default)]
struct Console {
    lines: Vec<String>,
    /// When all of it was written last, by the machine's clock.
    whole: Option<u64>,
}

impl Console {
    /// What brings this page onto the screen.
    fn show(&mut self, page: &str, now: u64) -> String {
        let lines: Vec<_> = page.lines().map(str::to_owned).collect();
        let is_due = self.whole.is_none_or(|at| now.saturating_sub(at) >= WHOLE);
        if is_due || lines.len() != self.lines.len() {
            self.whole = Some(now);
            self.lines = lines;
            return over(page) + LOGIN;
        }
        let is_new = |(_, (line, before)): &(usize, (&String, &String))| line != before;
        let changed = lines.iter().zip(&self.lines).enumerate().filter(is_new);
        let mut text: String =
            changed.map(|(at, (line, _))| format!("\x1b[{};1H{line}\x1b[K", at + 1)).collect();
        if !text.is_empty() {
            text += &format!("\x1b[{};{}H", lines.len() + 1, LOGIN.len() + 1);
        }
        self.lines = lines;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_written_and_all_of_it_from_time_to_time() {
        let mut console = Console::default();
        let whole = "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J  Enter: log in ";
        for (page, now, want) in [
            ("one\ntwo\n", 0, whole),
            ("one\ntwo\n", 1000, ""),
            ("one\nthree\n", 2000, "\x1b[2;1Hthree\x1b[K\x1b[3;17H"),
            ("one\ntwo\n", 30_000, whole),
            ("one\n", 31_000, "\x1b[Hone\x1b[K\n\x1b[J  Enter: log in "),
        ] {
            assert_eq!(console.show(page, now), want, "{page:?} at {now}");
        }
    }
}
