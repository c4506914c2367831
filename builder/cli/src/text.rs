//! Text for people: in lines that fit, to readers that may have gone away.

use std::io::{self, ErrorKind, Write as _};

use anyhow::{Context as _, Result};
use console::Term;

/// Columns of a text to be read: no more, however wide the terminal.
pub(crate) const WIDEST: usize = 100;

/// Prints a text on standard output. A reader that has seen enough, such as head(1), is no error.
///
/// # Errors
/// Whatever else keeps it from being printed, such as a full disk.
pub(crate) fn say(text: &str) -> Result<()> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("printing"),
    }
}

/// Prints a text on standard error, if anybody still reads it.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}

/// Columns for a text on standard error, if that is a terminal.
pub(crate) fn columns() -> Option<usize> {
    let size = Term::stderr().size_checked();
    size.map(|(_, columns)| usize::from(columns).min(WIDEST))
}

/// The words of a text in lines of at most so many columns, where no word is longer.
pub(crate) fn lines(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text with its own lines, each broken where it is longer than `columns`; what is broken off stands two columns
/// further in. Blanks at the beginning of a line stay.
pub(crate) fn broken(text: &str, columns: usize) -> String {
    let line = |line: &str| {
        let own = line.len() - line.trim_start().len();
        let (first, rest) = (&line[..own], " ".repeat(own + 2));
        let room = columns.saturating_sub(own + 2).max(20);
        format!("{first}{}", lines(line, room).join(&format!("\n{rest}")))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(lines("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert_eq!(lines("unbreakable word", 4), ["unbreakable", "word"]);
        assert_eq!(lines("\u{1b}[31merror:\u{1b}[0m ab", 9), ["\u{1b}[31merror:\u{1b}[0m ab"]);
        assert!(lines(" ", 4).is_empty());
    }

    #[test]
    fn a_text_keeps_its_own_lines() {
        let text = "error: a failure of twenty-six\n  - with a problem of its own";
        let want = "error: a failure of\n  twenty-six\n  - with a problem of\n    its own";
        assert_eq!(broken(text, 24), want);
        assert_eq!(broken(text, 100), text);
        assert_eq!(broken("", 100), "");
    }
}
