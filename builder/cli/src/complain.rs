//! Errors as people read them: the chain once, on one line where it fits, then what to do.

use anyhow::Error;
use console::{Term, colors_enabled_stderr, style};

/// Prints the error on standard error.
pub(crate) fn about(error: &Error) {
    if let Some(recipe) = error.downcast_ref::<coremax_recipe::Mistakes>() {
        recipe.iter().for_each(about_recipe);
        let count = recipe.iter().count();
        if count > 1 {
            eprintln!("{} {count} mistakes", style("error:").for_stderr().red().bold());
        }
        return;
    }
    eprintln!("{} {error:#}", style("error:").for_stderr().red().bold());
    if let Some(hint) = coremax_engine::hint(error) {
        eprintln!("{} {hint}", style("hint:").for_stderr().cyan().bold());
    }
}

/// With file, line, column and the text underlined.
fn about_recipe(error: &coremax_recipe::Error) {
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new()
        .with_theme(match colors_enabled_stderr() {
            true => miette::GraphicalTheme::unicode(),
            false => miette::GraphicalTheme::unicode_nocolor(),
        })
        .with_width(width());
    match handler.render_report(&mut text, error) {
        Ok(()) => eprint!("{text}"),
        Err(_) => eprintln!("error: {error}"),
    }
}

/// Columns of an error's text: the terminal's, as long as lines stay easy to read.
fn width() -> usize {
    const WIDEST: usize = 100;
    Term::stderr().size_checked().map_or(WIDEST, |(_, columns)| usize::from(columns).min(WIDEST))
}
