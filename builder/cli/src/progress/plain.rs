//! Lines for a log: what began, what ended.

use coremax_engine::Event;

use super::{LINE, NAME, ended, warned};

/// Prints the event on standard error, if it is worth a line.
pub(super) fn show(event: Event) {
    match event {
        Event::Started { stage, what, .. } if !what.is_empty() => {
            eprintln!("  {stage:<NAME$}{what} ...");
        }
        Event::Ended { stage, summary, seconds } => {
            eprintln!("{}", ended(&stage, &summary, seconds, LINE));
        }
        Event::Warned { stage, message } => eprintln!("{}", warned(&stage, &message, usize::MAX)),
        Event::Made { path } => eprintln!("  {:<NAME$}{path}", "made"),
        Event::Started { .. } | Event::Progressed { .. } => {}
    }
}
