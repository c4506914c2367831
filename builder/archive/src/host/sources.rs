//! Where the host's packages come from: sources.list in both of its forms.
//!
//! ```text
//! deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://mirror.example/debian bookworm main contrib
//! ```
//! ```text
//! Types: deb
//! URIs: http://mirror.example/debian
//! Suites: bookworm bookworm-updates
//! Components: main
//! Signed-By: /usr/share/keyrings/x.gpg
//! ```
//! See <https://manpages.debian.org/sources.list.5>.

use crate::deb822::{Reader, Token};

/// One suite of one archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The archive's root; may hold a login.
    pub uri: String,
    /// `bookworm-updates`; a path that ends in `/` for a flat archive.
    pub suite: String,
    /// `main`, `contrib`, ...
    pub components: Vec<String>,
    /// What its Release must be signed with: paths, fingerprints, or a key block.
    pub signed_by: Option<String>,
    /// Whether an expired Release is refused; `None` where the configuration decides.
    pub check_valid_until: Option<bool>,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SourcesError {
    /// From 1.
    pub line: usize,
    /// What was expected or found.
    pub what: &'static str,
}

/// Reads a file of the one-line form (`.list`). Source packages (`deb-src`) are left out.
///
/// # Errors
/// Names the line that is not of the form.
pub fn parse_list(text: &str) -> Result<Vec<Entry>, SourcesError> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let refuse = |what| SourcesError { line: number + 1, what };
            entries.extend(parse_line(line).map_err(refuse)?);
        }
    }
    Ok(entries)
}

fn parse_line(line: &str) -> Result<Option<Entry>, &'static str> {
    let (kind, rest) = line.split_once([' ', '\t']).ok_or("an archive and a suite are missing")?;
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("the options are not closed by ]")?,
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let uri = words.next().ok_or("an archive is missing")?;
    let suite = words.next().ok_or("a suite is missing")?;
    let mut entry = Entry {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        components: words.map(str::to_owned).collect(),
        ..Entry::default()
    };
    for (name, value) in options.split_ascii_whitespace().filter_map(|o| o.split_once('=')) {
        set_option(&mut entry, name, &value.replace(',', " "));
    }
    match kind {
        "deb" => Ok(Some(entry)),
        "deb-src" => Ok(None),
        _ => Err("neither deb nor deb-src"),
    }
}

/// Reads a file of the deb822 form (`.sources`). Disabled paragraphs and source packages are left out.
///
/// # Errors
/// Names the line that is not of the form.
pub fn parse_deb822(text: &str) -> Result<Vec<Entry>, SourcesError> {
    let mut reader = Reader::with_comments(text);
    let mut entries = Vec::new();
    let mut paragraph = Paragraph::default();
    loop {
        let token = reader.next().map_err(|malformed| SourcesError {
            line: malformed.line,
            what: "neither a field nor its continuation",
        })?;
        match token {
            Token::Field(field) => paragraph.set(field.name, field.value),
            Token::Paragraph => {
                let refuse = |what| SourcesError { line: reader.line(), what };
                entries.extend(std::mem::take(&mut paragraph).entries().map_err(refuse)?);
            }
            Token::End => return Ok(entries),
        }
    }
}

#[derive(Default)]
struct Paragraph {
    disabled: bool,
    types: Vec<String>,
    uris: Vec<String>,
    suites: Vec<String>,
    entry: Entry,
}

impl Paragraph {
    fn set(&mut self, name: &str, value: &str) {
        // Comments between the lines of a value are not part of it.
        let value = value.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
        let words = || value.iter().flat_map(|line| line.split_ascii_whitespace());
        let words = || words().map(str::to_owned).collect::<Vec<_>>();
        match name.to_ascii_lowercase().as_str() {
            "types" => self.types = words(),
            "uris" => self.uris = words(),
            "suites" => self.suites = words(),
            "components" => self.entry.components = words(),
            "enabled" => self.disabled = is_yes(&value.join("")) == Some(false),
            name => set_option(&mut self.entry, name, &value.join("\n")),
        }
    }

    fn entries(self) -> Result<Vec<Entry>, &'static str> {
        if self.disabled {
            return Ok(Vec::new());
        }
        let wanted = self.types.iter().any(|kind| kind == "deb");
        if self.types.is_empty() || self.uris.is_empty() || self.suites.is_empty() {
            return Err("the paragraph lacks Types, URIs or Suites");
        }
        let of = |uri: &String, suite: &String| Entry {
            uri: uri.clone(),
            suite: suite.clone(),
            ..self.entry.clone()
        };
        let pairs = self.uris.iter().flat_map(|uri| self.suites.iter().map(move |s| of(uri, s)));
        Ok(if wanted { pairs.collect() } else { Vec::new() })
    }
}

/// What both forms have under one name; other options do not matter here.
fn set_option(entry: &mut Entry, name: &str, value: &str) {
    match name.to_ascii_lowercase().as_str() {
        "signed-by" => entry.signed_by = Some(unfold(value)),
        "check-valid-until" => entry.check_valid_until = is_yes(value),
        // Without dates to trust there is no expiry either: sources.list(5), Check-Date.
        "check-date" if is_yes(value) == Some(false) => entry.check_valid_until = Some(false),
        _ => {}
    }
}

/// A value over several lines, where a lone `.` stands for an empty line.
fn unfold(value: &str) -> String {
    let lines = value.lines().map(|line| match line.trim() {
        "." => "",
        line => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_yes(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" | "with" | "enable" => Some(true),
        "no" | "false" | "off" | "0" | "without" | "disable" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(uri: &str, suite: &str, components: &[&str]) -> Entry {
        Entry {
            uri: uri.into(),
            suite: suite.into(),
            components: components.iter().map(ToString::to_string).collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn one_line_form() {
        let text = "# comment\n\
            deb http://m.example/debian bookworm main contrib # why\n\
            deb-src http://m.example/debian bookworm main\n\
            deb [ arch=amd64,arm64 signed-by=/k.gpg check-date=no ]\thttps://m.example/flat ./\n";
        let flat = Entry {
            signed_by: Some("/k.gpg".into()),
            check_valid_until: Some(false),
            ..entry("https://m.example/flat", "./", &[])
        };
        let wanted = vec![entry("http://m.example/debian", "bookworm", &["main", "contrib"]), flat];
        assert_eq!(parse_list(text), Ok(wanted));
        for (text, line) in
            [("\ndeb http://m.example", 2), ("rpm x y", 1), ("deb [a=b http://m x", 1)]
        {
            assert_eq!(parse_list(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn deb822_form() {
        let text = "# head\nTypes: deb deb-src\nURIs: http://a.example http://b.example\n\
            suites: x\n# between\n y\nComponents: main\nEnabled: yes\nSigned-By:\n -----BEGIN\n .\n abc\n\n\
            Types: deb\nURIs: http://off.example\nEnabled: no\n\n\
            Types: deb-src\nURIs: http://src.example\nSuites: x\n";
        let entries = parse_deb822(text).unwrap();
        let pairs: Vec<_> = entries.iter().map(|e| (e.uri.as_str(), e.suite.as_str())).collect();
        let (a, b) = ("http://a.example", "http://b.example");
        assert_eq!(pairs, [(a, "x"), (a, "y"), (b, "x"), (b, "y")]);
        assert_eq!(entries[0].signed_by.as_deref(), Some("-----BEGIN\n\nabc"));
        assert_eq!(parse_deb822("Types: deb\n\nx").unwrap_err().line, 2);
    }

    proptest! {
        #[test]
        fn never_panics(text in "((deb|Types: |URIs: |Suites: |[\\[\\]=#a:é])[ \n\t]?){0,20}") {
            let _ = (parse_list(&text), parse_deb822(&text));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = (parse_list(&text), parse_deb822(&text));
        }

        #[test]
        fn reads_what_is_written(
            uri in "https?://[a-z]{1,8}\\.example/[a-z/]{0,8}",
            suite in "[a-z][a-z/-]{0,10}",
            components in prop::collection::vec("[a-z-]{1,8}", 0..3),
        ) {
            let names: Vec<&str> = components.iter().map(String::as_str).collect();
            let wanted = vec![entry(&uri, &suite, &names)];
            let list = format!("deb {uri} {suite} {}\n", components.join(" "));
            prop_assert_eq!(parse_list(&list), Ok(wanted.clone()));
            let deb822 = format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {}\n", components.join(" "));
            prop_assert_eq!(parse_deb822(&deb822), Ok(wanted));
        }
    }
}
