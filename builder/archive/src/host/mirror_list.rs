//! The lists of mirrors that `mirror+file:` names, as the Debian images of clouds have them.
//!
//! ```text
//! https://mirror.example.org/debian  priority:1  arch:amd64
//! ```
//! See <https://manpages.debian.org/apt-transport-mirror.1>.

/// The mirrors for amd64 packages, those of the lowest priority number first.
pub(super) fn parse(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut mirrors: Vec<_> = lines.filter_map(mirror).collect();
    mirrors.sort_by_key(|(priority, _)| *priority);
    mirrors.into_iter().map(|(_, uri)| uri.to_owned()).collect()
}

/// Without a priority, a mirror comes last.
fn mirror(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let uri = words.next()?;
    let values = |name| words.clone().filter_map(move |word| word.strip_prefix(name)).peekable();
    let serves = |name, wanted| {
        let mut named = values(name);
        named.peek().is_none() || named.any(|value| value == wanted)
    };
    let priority = values("priority:").next().and_then(|number| number.parse().ok());
    let wanted = serves("arch:", "amd64") && serves("type:", "deb");
    wanted.then_some((priority.unwrap_or(u64::MAX), uri))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_mirror_comes_first() {
        let text = "# ours\nhttp://last.example/debian\n\nhttp://second.example/debian\tpriority:2\n\
                    http://arm.example/debian priority:1 arch:arm64\n\
                    http://sources.example/debian type:deb-src\n\
                    http://first.example/debian priority:1 arch:i386 arch:amd64 type:deb\n";
        let names = ["first", "second", "last"].map(|name| format!("http://{name}.example/debian"));
        assert_eq!(parse(text), names);
    }

    proptest! {
        #[test]
        fn never_panics(text in "((https?://m|priority:|arch:|type:|[0-9]{0,30}|#|é)[ \t\n]?){0,20}") {
            parse(&text).iter().for_each(|uri| assert!(text.contains(uri.as_str())));
        }
    }
}
