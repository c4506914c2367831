//! A build's story: one line a stage, live while it runs and still true when scrolled back to.

mod live;
mod plain;

use std::io::{IsTerminal as _, Write as _};

use coremax_engine::Event;

use crate::{args::Progress, text::lines};

/// Width of the column with a stage's name.
const NAME: usize = 12;
/// Where a line's seconds end, unless the terminal is narrower.
const LINE: usize = 78;

/// Something that shows events.
pub(crate) type Show = Box<dyn Fn(Event) + Sync>;

/// What shows events in the way that was asked for.
pub(crate) fn show(how: Progress) -> Show {
    match how {
        Progress::Auto if is_lively() => live::show(),
        Progress::Live => live::show(),
        Progress::Auto | Progress::Plain => Box::new(plain::show),
        Progress::Json => Box::new(|event| json(&event)),
        Progress::None => Box::new(|_| ()),
    }
}

/// Whether the terminal, if it is one, can move its cursor.
fn is_lively() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|name| name != "dumb")
}

fn json(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        // A reader that went away is no reason to stop a build.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// The line of a stage that ended.
fn ended(stage: &str, summary: &str, seconds: Option<f64>, width: usize) -> String {
    let Some(seconds) = seconds.filter(|s| *s >= 0.05) else {
        return format!("  {stage:<NAME$}{summary}");
    };
    let took = format!("{seconds:.1} s");
    let room = width.saturating_sub(3 + NAME + took.len());
    format!("  {stage:<NAME$}{summary:<room$} {took}")
}

/// The line of a warning; broken between words where it is longer than `columns`.
fn warned(stage: &str, message: &str, columns: usize) -> String {
    let word = console::style("warning:").for_stderr().yellow();
    let room = columns.saturating_sub(3 + NAME + "warning: ".len()).max(20);
    let indent = format!("\n{:1$}", "", 2 + NAME);
    format!("  {stage:<NAME$}{word} {}", lines(message, room).join(&indent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_stand_at_the_right() {
        assert_eq!(ended("read", "node, 2 parts", None, LINE), "  read        node, 2 parts");
        let line = ended("fetch", "147 packages", Some(2.71), 40);
        assert_eq!(line, "  fetch       147 packages         2.7 s");
        let long = "a summary that is longer than the line has room for";
        assert!(ended("root", long, Some(1.0), 20).ends_with("room for 1.0 s"));
    }
}
