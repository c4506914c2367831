//! The words of a kernel's command line: <https://docs.kernel.org/admin-guide/kernel-parameters.html>

/// Where the kernel has its own.
pub const FILE: &str = "/proc/cmdline";

/// The words for kernel and system: they stand between blanks, a value with blanks in double quotes, which are not part of
/// it. What follows `--` is for the init program alone, and left out.
pub fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => words.push(String::new()),
            c => words.iter_mut().next_back().into_iter().for_each(|word| word.push(c)),
        }
    }
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.truncate(end);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_what_is_quoted() {
        for (text, want) in [
            ("quiet  a.b=\"c d\" \"e f\"=g\n", &["quiet", "a.b=c d", "e f=g"][..]),
            ("a -- b", &["a"]),
            ("\"--\" b", &[]),
            ("a=\"b c", &["a=b c"]),
            (" \n", &[]),
        ] {
            assert_eq!(words(text), want, "{text}");
        }
    }
}
