//! Errors as people read them: the chain once, on one line where it fits, then what to do.

use anyhow::Error;
use console::{colors_enabled_stderr, style};
use coremax_cluster::{machine, seed, sign};

use crate::text::{self, WIDEST, tell};

/// Prints the error on standard error.
pub(crate) fn about(error: &Error) {
    if let Some(recipe) = error.downcast_ref::<coremax_recipe::Mistakes>() {
        return about_text(recipe.iter().map(|mistake| mistake as &dyn miette::Diagnostic));
    }
    if let Some(roster) = error.downcast_ref::<coremax_cluster::Mistakes>() {
        return about_text(roster.iter().map(|mistake| mistake as &dyn miette::Diagnostic));
    }
    let error_word = style("error:").for_stderr().red().bold();
    fitted(&format!("{error_word} {error:#}"));
    if let Some(hint) = of_cluster(error).or_else(|| coremax_engine::hint(error)) {
        fitted(&format!("{} {hint}", style("hint:").for_stderr().cyan().bold()));
    }
}

/// What mends it, where it is a cluster's.
fn of_cluster(error: &Error) -> Option<String> {
    let hint = |cause: &(dyn std::error::Error + 'static)| {
        None.or_else(|| cause.downcast_ref::<sign::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<seed::Error>()?.hint())
            .or_else(|| Some(cause.downcast_ref::<machine::NotFound>()?.hint()))
            .map(str::to_owned)
    };
    error.chain().find_map(hint)
}

/// Broken to a terminal's lines; a log gets it as it is, so that it can be searched.
fn fitted(text: &str) {
    match text::columns() {
        Some(columns) => tell(&text::broken(text, columns)),
        None => tell(text),
    }
}

/// Each with file, line, column and the text underlined, and their number.
fn about_text<'a>(mistakes: impl Iterator<Item = &'a dyn miette::Diagnostic>) {
    let count = mistakes.inspect(|mistake| about_place(*mistake)).count();
    if count > 1 {
        tell(&format!("{} {count} mistakes", style("error:").for_stderr().red().bold()));
    }
}

fn about_place(error: &dyn miette::Diagnostic) {
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new()
        .with_theme(match colors_enabled_stderr() {
            true => miette::GraphicalTheme::unicode(),
            false => miette::GraphicalTheme::unicode_nocolor(),
        })
        .with_width(text::columns().unwrap_or(WIDEST));
    match handler.render_report(&mut text, error) {
        Ok(()) => tell(&text),
        Err(_) => tell(&format!("error: {error}")),
    }
}
