//! Bars that move, one for each stage that runs; each leaves a line behind when it ends.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io::{self, Write as _},
    sync::Mutex,
    time::Duration,
};

use coremax_engine::{Event, Unit};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{LINE, NAME, Show, ended, warned};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);
/// Columns that the figures of a bar take: `1234 of 5678 MB, 120 MB/s, 59 s left`, most are shorter.
const FIGURES: usize = 34;
/// Columns of the time that a stage has run.
const ELAPSED: usize = 5;

/// What shows events as bars on standard error.
pub(super) fn show() -> Show {
    let screen = Screen { bars: MultiProgress::new(), running: Mutex::default() };
    Box::new(move |event| screen.show(event))
}

struct Screen {
    bars: MultiProgress,
    running: Mutex<BTreeMap<String, Running>>,
}

/// A stage on the screen.
struct Running {
    bar: ProgressBar,
    /// Columns that what it is busy with may take.
    room: usize,
}

impl Screen {
    fn show(&self, event: Event) {
        let Ok(mut running) = self.running.lock() else { return };
        match event {
            Event::Started { stage, what, total, unit } => {
                if let Some(old) = running.remove(&stage) {
                    old.bar.finish_and_clear();
                }
                let started = Running::new(&stage, &what, total, unit);
                self.bars.add(started.bar.clone()).enable_steady_tick(TICK);
                running.insert(stage, started);
            }
            Event::Progressed { stage, by, what } => {
                let Some(stage) = running.get(&stage) else { return };
                stage.bar.inc(by);
                if let Some(what) = what {
                    stage.busy_with(&what);
                }
            }
            Event::Ended { stage, summary, seconds } => {
                if let Some(stage) = running.remove(&stage) {
                    stage.bar.finish_and_clear();
                }
                self.print(&ended(&stage, &summary, seconds, width()));
            }
            Event::Warned { stage, message } => self.print(&warned(&stage, &message, columns())),
            Event::Made { path } => self.print(&format!("  {:<NAME$}{path}", "made")),
        }
    }

    fn print(&self, line: &str) {
        if self.bars.println(line).is_err() {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

impl Running {
    /// Drawn by whoever it is added to, and not before: a bar that draws itself leaves a line behind.
    fn new(stage: &str, what: &str, total: Option<u64>, unit: Unit) -> Self {
        let columns = columns();
        let bar_width = if columns < 100 { 10 } else { 24 };
        let (template, room) = if total.is_some() {
            let figures = format!("{{bar:{bar_width}.cyan/dim}} {{figures:{FIGURES}}}");
            let taken = 2 + NAME + bar_width + 1 + FIGURES + 1;
            (format!("{figures} {{wide_msg:.dim}}"), columns.saturating_sub(taken))
        } else {
            // The time ends where it will stand when the stage has ended.
            let room = width().saturating_sub(2 + NAME + 2 + 1 + ELAPSED);
            (format!("{{spinner:.cyan}} {{msg:{room}.dim}} {{elapsed:>{ELAPSED}.dim}}"), room)
        };
        let template = format!("  {{prefix:{NAME}}}{template}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("figures", move |state: &ProgressState, to: &mut dyn Write| {
                let _ = to.write_str(&figures(state.pos(), state.len(), unit, state.per_sec()));
            })
            .progress_chars("━━─");
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden())
            .with_style(style)
            .with_prefix(stage.to_owned());
        let running = Self { bar, room };
        running.busy_with(what);
        running
    }

    fn busy_with(&self, what: &str) {
        self.bar.set_message(console::truncate_str(what, self.room, "…").into_owned());
    }
}

/// How much is done, how fast (things or bytes a second, of late), and how long it will take at that rate.
fn figures(done: u64, total: Option<u64>, unit: Unit, rate: f64) -> String {
    let total = total.unwrap_or(done).max(done);
    let mega = |bytes: u64| bytes / 1_000_000;
    let mut text = match unit {
        Unit::Bytes => format!("{} of {} MB", mega(done), mega(total)),
        Unit::Count => format!("{done} of {total}"),
    };
    let _ = match rate {
        _ if unit == Unit::Count => Ok(()),
        rate if rate >= 1e6 => write!(text, ", {:.0} MB/s", rate / 1e6),
        rate => write!(text, ", {:.0} kB/s", rate.max(0.0) / 1e3),
    };
    let left = (total - done) as f64 / rate;
    let _ = match left {
        // Stalled, or just begun.
        left if !left.is_finite() || left > 86400.0 => Ok(()),
        left if left < 120.0 => write!(text, ", {left:.0} s left"),
        left => write!(text, ", {:.0} min left", left / 60.0),
    };
    text
}

/// Where a line's seconds end.
fn width() -> usize {
    columns().saturating_sub(2).min(LINE)
}

fn columns() -> usize {
    let size = console::Term::stderr().size_checked();
    size.map_or(LINE + 2, |(_, columns)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_amount_rate_and_time_left() {
        let total = Some(500_000_000);
        for (done, total, unit, rate, want) in [
            (0, total, Unit::Bytes, 0.0, "0 of 500 MB, 0 kB/s"),
            (50_000_000, total, Unit::Bytes, 25e6, "50 of 500 MB, 25 MB/s, 18 s left"),
            (50_000_000, total, Unit::Bytes, 1e6, "50 of 500 MB, 1 MB/s, 8 min left"),
            (499_000_000, total, Unit::Bytes, 2e4, "499 of 500 MB, 20 kB/s, 50 s left"),
            (600_000_000, total, Unit::Bytes, 3e8, "600 of 600 MB, 300 MB/s, 0 s left"),
            (49, Some(147), Unit::Count, 12.25, "49 of 147, 8 s left"),
        ] {
            let got = figures(done, total, unit, rate);
            assert_eq!(got, want);
            assert!(got.len() <= FIGURES);
        }
    }
}
