//! Bars that move, one for each stage that runs; each leaves a line behind when it ends.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use coremax_engine::{Event, Unit};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{LINE, NAME, Show, ended};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// What shows events as bars on standard error.
pub(super) fn show() -> Show {
    let screen = Screen { bars: MultiProgress::new(), running: Mutex::default() };
    Box::new(move |event| screen.show(event))
}

struct Screen {
    bars: MultiProgress,
    running: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Screen {
    fn show(&self, event: Event) {
        let Ok(mut running) = self.running.lock() else { return };
        match event {
            Event::Started { stage, what, total, unit } => {
                let bar = self.bars.add(bar(&stage, &what, total, unit));
                bar.enable_steady_tick(TICK);
                if let Some(old) = running.insert(stage, bar) {
                    old.finish_and_clear();
                }
            }
            Event::Progressed { stage, by, what } => {
                let Some(bar) = running.get(&stage) else { return };
                bar.inc(by);
                if let Some(what) = what {
                    bar.set_message(what);
                }
            }
            Event::Ended { stage, summary, seconds } => {
                if let Some(bar) = running.remove(&stage) {
                    bar.finish_and_clear();
                }
                self.print(&ended(&stage, &summary, seconds, width()));
            }
            Event::Warned { stage, message } => {
                self.print(&format!("  {stage:<NAME$}\x1b[33mwarning:\x1b[0m {message}"));
            }
            Event::Made { path } => self.print(&format!("  {:<NAME$}{path}", "made")),
        }
    }

    fn print(&self, line: &str) {
        if self.bars.println(line).is_err() {
            eprintln!("{line}");
        }
    }
}

fn width() -> usize {
    let size = console::Term::stderr().size_checked();
    size.map_or(LINE, |(_, columns)| usize::from(columns).saturating_sub(2).min(LINE))
}

fn bar(stage: &str, what: &str, total: Option<u64>, unit: Unit) -> ProgressBar {
    let template = match (total, unit) {
        (Some(_), Unit::Bytes) => {
            "  {prefix:9}{bar:18.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left  \
             {wide_msg:.dim}"
        }
        (Some(_), Unit::Count) => "  {prefix:9}{bar:18.cyan/dim} {pos}/{len}  {wide_msg:.dim}",
        (None, _) => "  {prefix:9}{spinner:.cyan} {wide_msg:.dim} {elapsed:>5.dim}",
    };
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─");
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.set_style(style);
    bar.set_prefix(stage.to_owned());
    bar.set_message(what.to_owned());
    bar
}
