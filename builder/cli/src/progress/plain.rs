//! Lines for a log: what began, what ended.

use std::io::{self, Write as _};

use coremax_engine::Event;

use super::{LINE, NAME, ended, warned};

/// Prints the event on standard error, if it is worth a line. A reader that went away is no reason to stop a build.
pub(super) fn show(event: Event) {
    if let Some(line) = line(event) {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

fn line(event: Event) -> Option<String> {
    Some(match event {
        Event::Started { stage, what, .. } if !what.is_empty() => {
            format!("  {stage:<NAME$}{what} ...")
        }
        Event::Ended { stage, summary, seconds } => ended(&stage, &summary, seconds, LINE),
        Event::Warned { stage, message } => warned(&stage, &message, usize::MAX),
        Event::Made { path } => format!("  {:<NAME$}{path}", "made"),
        Event::Started { .. } | Event::Progressed { .. } => return None,
    })
}
