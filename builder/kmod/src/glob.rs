//! Patterns as fnmatch(3) has them without flags, which is what kmod matches aliases with.
//!
//! `*` is any run of bytes, `?` any byte, `[abc]`, `[a-z]` and `[!a]` one of a set, and `\` takes the
//! next byte as it is. `/` is a byte like others.

/// Whether the whole of `text` matches the pattern. Takes at most as many steps as both lengths
/// multiplied; never panics. A bracket that does not end matches itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on from when a byte does not match: behind the last star, one byte later.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if let Some(length) = text.get(t).and_then(|&byte| one(&pattern[p..], byte)) {
            p += length;
            t += 1;
        } else if p == pattern.len() && t == text.len() {
            return true;
        } else {
            match retry {
                Some((star, from)) if from < text.len() => {
                    (p, t) = (star, from + 1);
                    retry = Some((star, t));
                }
                _ => return false,
            }
        }
    }
}

/// The bytes of the pattern's first element, if it matches this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (literal == byte).then_some(2),
        [b'[', ref rest @ ..] => match set(rest, byte) {
            Some((length, holds)) => holds.then_some(1 + length),
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (literal == byte).then_some(1),
        [] => None,
    }
}

/// A bracket's content: its length with the closing bracket, and whether the byte is in it.
fn set(rest: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let (mut at, mut holds) = (start, false);
    loop {
        match *rest.get(at..)? {
            [b']', ..] if at > start => return Some((at + 1, holds != negated)),
            [low, b'-', high, ..] if high != b']' => {
                holds |= (low..=high).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                holds |= literal == byte;
                at += 1;
            }
            [] => return None,
        }
    }
}

/// The part before the pattern's first wildcard, which all it matches begin with.
pub(crate) fn literal_prefix(pattern: &str) -> &str {
    &pattern[..pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len())]
}

/// With `_` for `-` but in brackets, where `-` is a range: as kmod compares names and aliases.
pub(crate) fn normalised(pattern: &str) -> String {
    let mut inside = false;
    pattern
        .chars()
        .map(|c| {
            inside = (inside || c == '[') && c != ']';
            if c == '-' && !inside { '_' } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("a*b*c", "aXbYbZc", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[abc]", "b", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]", "d", true),
            ("[!a-c]", "a", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("kernel/drivers/nvme/*", "kernel/drivers/nvme/host/nvme.ko", true),
            (
                "pci:v00001AF4d*sv*sd*bc*sc*i*",
                "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00",
                true,
            ),
            ("usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*", "usb:v1d1ic08isc06ip62in00", false),
            (
                "cpu:type:x86,ven*fam*mod*:feature:*0094*",
                "cpu:type:x86,ven0fam6mod1:feature:,0094,",
                true,
            ),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn hyphens_are_underscores_but_in_brackets() {
        assert_eq!(normalised("crypto-crc32c[0-9]-x"), "crypto_crc32c[0-9]_x");
        assert_eq!(literal_prefix("pci:v0000*d"), "pci:v0000");
    }

    proptest! {
        #[test]
        fn anything_matches_itself_and_a_star(text in "[a-z:,/]*") {
            let (star, more) = (text.clone() + "*", text.clone() + "?");
            prop_assert!(matches(&text, &text) && matches("*", &text));
            prop_assert!(matches(&star, &text) && !matches(&more, &text));
        }

        #[test]
        fn foreign_patterns_never_panic(pattern in any::<String>(), text in any::<String>()) {
            matches(&pattern, &text);
            normalised(&pattern);
        }
    }
}
