//! Text from a console, made fit for people and for pages.

use std::{fs, path::Path};

/// How many bytes of a log's end are shown.
const TAIL_BYTES: usize = 4096;

/// A line as it looked on the screen: no escape sequences, no control characters.
pub(crate) fn printable(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => skip_escape(&mut characters),
            '\t' => shown.push(' '),
            c if c.is_control() => {}
            c => shown.push(c),
        }
    }
    shown.trim_end().to_owned()
}

/// `[`, parameters, one final letter (ECMA-48 5.4); or a single character.
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    if characters.next() == Some('[') {
        for character in characters.by_ref() {
            if ('@'..='~').contains(&character) {
                break;
            }
        }
    }
}

/// The end of a text file, in whole lines; empty where there is no such file.
pub(crate) fn tail_of(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let start = bytes.len().saturating_sub(TAIL_BYTES);
    let text = String::from_utf8_lossy(&bytes[start..]).into_owned();
    let whole = if start > 0 { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    whole.lines().map(printable).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_controls_are_gone() {
        let table = [
            ("\x1b[2J\x1b[01;01HBdsDxe: starting\r", "BdsDxe: starting"),
            ("[\x1b[0;32m  OK  \x1b[0m] Started", "[  OK  ] Started"),
            ("a\tb\x07", "a b"),
            ("\x1b[", ""),
            ("\x1bc", ""),
        ];
        for (line, want) in table {
            assert_eq!(printable(line), want);
        }
    }

    proptest! {
        #[test]
        fn nothing_unprintable_is_left(line in any::<String>()) {
            prop_assert!(!printable(&line).chars().any(char::is_control));
        }
    }
}
