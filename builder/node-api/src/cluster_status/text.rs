//! What others wrote, for a page of fixed width.

/// A text that moves no cursor and is as wide as it is long: a question mark for each character that is no printable ASCII.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// A text as [`plain`] has it, in lines of `width` at most, broken between words, and in a word only where it is longer. An
/// empty one is one line.
pub fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in plain(text).split_whitespace() {
        let pieces = word.as_bytes().chunks(width).map(String::from_utf8_lossy);
        for piece in pieces {
            let room = lines.last().map_or(0, |line| width - line.len());
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(&piece),
                Some(line) if piece.len() < room => *line += &format!(" {piece}"),
                _ => lines.push(piece.into_owned()),
            }
        }
    }
    lines
}

/// A text of ASCII, as a name is, cut to `width` where it is longer.
pub fn short(text: &str, width: usize) -> String {
    match text.len() > width {
        true => format!("{}..", &text[..width - 2]),
        false => text.to_owned(),
    }
}
