//! Which package may take over which other's files: the field `Replaces`.
//!
//! `Replaces: name, name (<< version)`: a comma-separated list of packages, each perhaps with a
//! relation (`<<`, `<=`, `=`, `>=`, `>>`) to a version, and with an architecture after a colon.
//!
//! See Debian Policy 7.6, <https://www.debian.org/doc/debian-policy/ch-relationships.html>.

use std::cmp::Ordering;

use debversion::Version;

/// One package that is replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replaces {
    name: String,
    versions: Option<(Relation, Version)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Replaces {
    /// Whether this covers that package in that version.
    pub(crate) fn covers(&self, name: &str, version: &Version) -> bool {
        let Some((relation, bound)) = &self.versions else { return self.name == name };
        let order = version.cmp(bound);
        self.name == name
            && match relation {
                Relation::Earlier => order == Ordering::Less,
                Relation::EarlierOrEqual => order != Ordering::Greater,
                Relation::Equal => order == Ordering::Equal,
                Relation::LaterOrEqual => order != Ordering::Less,
                Relation::Later => order == Ordering::Greater,
            }
    }
}

/// Reads the field's value; the part that is wrong is the error.
pub(crate) fn parse(value: &str) -> Result<Vec<Replaces>, String> {
    let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| parse_one(part).ok_or_else(|| part.to_owned())).collect()
}

fn parse_one(part: &str) -> Option<Replaces> {
    let (name, versions) = match part.split_once('(') {
        None => (part, None),
        Some((name, rest)) => (name, Some(bound(rest.strip_suffix(')')?)?)),
    };
    let name = name.trim().split(':').next().filter(|name| !name.is_empty())?;
    Some(Replaces { name: name.to_owned(), versions })
}

fn bound(text: &str) -> Option<(Relation, Version)> {
    let at = text.find(|c: char| !"<>= ".contains(c))?;
    let relation = match text[..at].trim() {
        "<<" => Relation::Earlier,
        // dpkg still reads the single signs of old, and as these.
        "<=" | "<" => Relation::EarlierOrEqual,
        "=" => Relation::Equal,
        ">=" | ">" => Relation::LaterOrEqual,
        ">>" => Relation::Later,
        _ => return None,
    };
    Some((relation, text[at..].trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_hold() {
        for (field, name, version, expected) in [
            ("a", "a", "1", true),
            ("a", "b", "1", false),
            ("a, b (<< 2~)", "b", "1.9", true),
            ("b (<< 2~)", "b", "2", false),
            ("b(<=2)", "b", "2", true),
            ("b:any (>= 1:0)", "b", "2", false),
            ("b (= 2-1)", "b", "2-1", true),
            ("b (>> 2-1)", "b", "2-1", false),
            ("", "b", "1", false),
        ] {
            let found = parse(field).unwrap();
            let version = version.parse().unwrap();
            assert_eq!(found.iter().any(|r| r.covers(name, &version)), expected, "{field}");
        }
        for wrong in ["a (<< 2", "(= 1)", "a (! 1)", "a (=)"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|[a-c(),<=> 0-9:~|]*") {
            let _ = parse(&text);
        }
    }
}
