//! What dpkg says while it works: lines on the descriptor of `--status-fd`, and the log.
//!
//! `processing: configure: PACKAGE` announces an action; `status: PACKAGE : error : MESSAGE` says
//! that one failed. See dpkg(1), `--status-fd`.

/// The most lines of a script's output that an error quotes.
const QUOTED_LINES: usize = 20;

/// A line of dpkg's that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report<'a> {
    /// A package is being configured.
    Configuring(&'a str),
    /// A package's script failed.
    Failed { package: &'a str, message: &'a str },
}

/// Reads one line.
pub(super) fn parse(line: &str) -> Option<Report<'_>> {
    if let Some(package) = line.strip_prefix("processing: configure: ") {
        return Some(Report::Configuring(package.trim()));
    }
    let (package, message) = line.strip_prefix("status: ")?.split_once(" : error : ")?;
    Some(Report::Failed { package: package.trim(), message: message.trim() })
}

/// The last lines of what a script said: of a log from the last line on that begins with `begin`, to
/// where dpkg begins to comment on it.
pub(super) fn last_lines(log: &str, begin: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let start = lines.iter().rposition(|line| line.starts_with(begin.trim_end())).unwrap_or(0);
    let lines = &lines[start..];
    let end = lines.iter().position(|line| line.starts_with("dpkg: error processing"));
    let lines = &lines[..end.unwrap_or(lines.len())];
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_understood() {
        for (line, expected) in [
            ("processing: configure: libc6:amd64", Some(Report::Configuring("libc6:amd64"))),
            ("processing: trigproc: libc-bin", None),
            ("status: libc6:amd64: half-configured", None),
            (
                "status: x : error : installed x package post-installation script subprocess \
                 returned error exit status 1",
                Some(Report::Failed {
                    package: "x",
                    message: "installed x package post-installation script subprocess returned \
                              error exit status 1",
                }),
            ),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn a_script_is_quoted_from_its_beginning() {
        assert_eq!(
            last_lines("Setting up a\nx\nSetting up b\ny\nz\n", "Setting up b"),
            "Setting up b\ny\nz"
        );
        assert_eq!(last_lines(&"l\n".repeat(100), "none").lines().count(), QUOTED_LINES);
        let log = "Setting up a\nwhy\ndpkg: error processing package a (--configure):\n more\n";
        assert_eq!(last_lines(log, "Setting up a"), "Setting up a\nwhy");
        assert_eq!(last_lines("", "x"), "");
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "\\PC*", log in "(\\PC|\n)*") {
            let _ = parse(&line);
            let _ = last_lines(&log, &line);
        }
    }
}
