//! Errors as people read them: the chain once, on one line where it fits, then what to do.

use std::io::IsTerminal as _;

use anyhow::Error;

/// Prints the error on standard error.
pub(crate) fn about(error: &Error) {
    if let Some(recipe) = error.downcast_ref::<coremax_recipe::Error>() {
        return about_recipe(recipe);
    }
    let (red, cyan, plain) = match std::io::stderr().is_terminal() {
        true => ("\x1b[1;31m", "\x1b[1;36m", "\x1b[0m"),
        false => ("", "", ""),
    };
    eprintln!("{red}error:{plain} {error:#}");
    if let Some(hint) = coremax_engine::hint(error) {
        eprintln!("{cyan}hint:{plain} {hint}");
    }
}

/// With file, line, column and the text underlined.
fn about_recipe(error: &coremax_recipe::Error) {
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new()
        .with_theme(match std::io::stderr().is_terminal() {
            true => miette::GraphicalTheme::unicode(),
            false => miette::GraphicalTheme::unicode_nocolor(),
        })
        .with_width(100);
    match handler.render_report(&mut text, error) {
        Ok(()) => eprint!("{text}"),
        Err(_) => eprintln!("error: {error}"),
    }
}
