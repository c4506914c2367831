//! Tests that cannot be made here, for want of a program or a right: said and counted, never a pass.
//!
//! The harness knows of no test that finds out by itself that it cannot be made: it counts it as passed, and shows
//! nothing of what it printed. So a skip is written past the harness to standard error, and added to the file
//! that the environment variable `COREMAX_TEST_SKIPS` names. tests/tally makes that file and counts:
//!
//! ```text
//! program TAB test TAB reason        a line a skip
//! ```

use std::{
    env, fmt,
    fs::OpenOptions,
    io::{self, Write as _},
    path::Path,
    thread,
};

/// The variable that names the file.
pub const FILE: &str = "COREMAX_TEST_SKIPS";

/// Says that the test in whose thread this is called, or a part of it, is not made, and why.
pub fn skip(why: impl fmt::Display) {
    skip_test(thread::current().name().unwrap_or("?"), why);
}

/// Says that a test of this name is not made, and why.
///
/// # Panics
/// If the file of skips cannot be written: nobody would count it.
pub fn skip_test(test: &str, why: impl fmt::Display) {
    let (program, why) = (program(), on_one_line(&why.to_string()));
    // print!() and eprintln!() are what the harness catches.
    let _ = writeln!(io::stderr(), "skipped  {program}: {test}: {why}");
    if let Some(file) = env::var_os(FILE) {
        let line = format!("{program}\t{}\t{why}\n", on_one_line(test));
        add(Path::new(&file), &line)
            .unwrap_or_else(|error| panic!("adding a skip to {}: {error}", file.display()));
    }
}

/// One write, so that tests side by side do not tear each other's lines.
fn add(file: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(file)?.write_all(line.as_bytes())
}

/// The name of this test program, without the hash that cargo adds.
fn program() -> String {
    let path = env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit_once('-').map_or(name.clone(), |(name, _)| name.to_owned())
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one() {
        assert_eq!(on_one_line(" a\tb\n c "), "a b c");
        assert_eq!(program(), "coremax_skip");
    }
}
