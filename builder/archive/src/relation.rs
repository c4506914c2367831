//! Relations between packages: Depends and its kin, and Provides.
//!
//! A field is a list of clauses joined by commas, a clause a list of alternatives joined by `|`:
//! `libc6 (>= 2.36), python3:any | python, gcc [amd64 !i386] <!nocheck>`. Provides names packages,
//! each with `(= version)` at most. Everything borrows from the field: nothing is copied.
//! Specification: Debian Policy 7.1, <https://www.debian.org/doc/debian-policy/ch-relationships.html>

use std::cmp::Ordering;

use crate::version;

/// The longest field that is parsed; ours (the longest in Debian 12 has 74 KiB).
const FIELD_LIMIT: usize = 1 << 20;

/// One clause: satisfied if any of its alternatives is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause<'a> {
    /// The clause as written, without the blanks around it.
    pub text: &'a str,
    /// In the order written, never empty.
    pub alternatives: Vec<Relation<'a>>,
}

/// One alternative of a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Package name.
    pub name: &'a str,
    /// What follows the name's colon: `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    /// The version it asks for.
    pub constraint: Option<Constraint<'a>>,
    /// Content of `[...]`; never found in a binary index.
    pub architectures: Option<&'a str>,
    /// `<...>` groups as written; never found in a binary index.
    pub profiles: Option<&'a str>,
}

/// `>= 2.36`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constraint<'a> {
    /// How a version must stand to `version`.
    pub operator: Operator,
    /// Version as written.
    pub version: &'a str,
}

/// The relation of a version to that of a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`, and the obsolete `<`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the obsolete `>`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// An entry of a Provides field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provision<'a> {
    /// The name provided.
    pub name: &'a str,
    /// What follows the name's colon.
    pub qualifier: Option<&'a str>,
    /// The version provided; without one, no versioned relation is satisfied.
    pub version: Option<&'a str>,
}

/// A field breaks the syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a relation: expected {expected}")]
pub struct BadRelation {
    text: String,
    expected: &'static str,
}

/// The clauses of a Depends-like field, parsed as they are asked for; an empty field has none.
/// Those whose alternatives apply to no package at all are still yielded.
///
/// # Errors
/// Yields one for each clause that breaks the syntax.
pub fn clauses(field: &str) -> impl Iterator<Item = Result<Clause<'_>, BadRelation>> {
    entries(field).map(|entry| {
        let text = entry?;
        let alternatives = text.split('|').map(parse_relation).collect::<Result<_, _>>()?;
        Ok(Clause { text, alternatives })
    })
}

/// The entries of a Provides field, parsed as they are asked for.
///
/// # Errors
/// Yields one for each entry that breaks the syntax.
pub fn provisions(field: &str) -> impl Iterator<Item = Result<Provision<'_>, BadRelation>> {
    entries(field).map(|entry| {
        let text = entry?;
        let Relation { name, qualifier, constraint, .. } = parse_relation(text)?;
        match constraint {
            None => Ok(Provision { name, qualifier, version: None }),
            Some(Constraint { operator: Operator::Equal, version }) => {
                Ok(Provision { name, qualifier, version: Some(version) })
            }
            Some(_) => Err(BadRelation::new(text, "`=` before a provided version")),
        }
    })
}

impl Relation<'_> {
    /// Whether a package built for `architecture`, with no build profile, has this relation.
    pub fn applies(&self, architecture: &str) -> bool {
        self.architectures.is_none_or(|list| listed(list, architecture))
            && self.profiles.is_none_or(without_profiles)
    }

    /// Whether `version` (none: a name provided without one) satisfies the constraint.
    pub fn admits(&self, version: Option<&str>) -> bool {
        match (self.constraint, version) {
            (None, _) => true,
            (Some(constraint), Some(version)) => constraint.admits(version),
            (Some(_), None) => false,
        }
    }
}

impl Constraint<'_> {
    /// Whether `version` satisfies the constraint.
    pub fn admits(&self, version: &str) -> bool {
        let order = version::compare(version, self.version);
        match self.operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }
}

impl BadRelation {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

/// The parts between commas; empty ones are passed over, as dpkg does with a trailing comma.
fn entries(field: &str) -> impl Iterator<Item = Result<&str, BadRelation>> {
    let (field, too_long) = if field.len() > FIELD_LIMIT {
        ("", Some(BadRelation::new(field, "at most 1 MiB")))
    } else {
        (field, None)
    };
    let parts = field.split(',').map(str::trim).filter(|part| !part.is_empty());
    too_long.into_iter().map(Err).chain(parts.map(Ok))
}

fn parse_relation(text: &str) -> Result<Relation<'_>, BadRelation> {
    let refuse = |expected| BadRelation::new(text, expected);
    let (name, rest) = split_name(text.trim());
    let (qualifier, rest) = match rest.strip_prefix(':').map(split_name) {
        Some((qualifier, rest)) => (Some(qualifier), rest),
        None => (None, rest),
    };
    if name.is_empty() || qualifier == Some("") {
        return Err(refuse("a package name"));
    }
    let (constraint, rest) = enclosed(rest, '(', ')').ok_or_else(|| refuse("`)`"))?;
    let (architectures, rest) = enclosed(rest, '[', ']').ok_or_else(|| refuse("`]`"))?;
    let profiles = Some(rest).filter(|rest| !rest.is_empty());
    if profiles.is_some_and(|groups| !groups.starts_with('<') || !groups.ends_with('>')) {
        return Err(refuse("the end of the alternative"));
    }
    let constraint = constraint
        .map(|inner| parse_constraint(inner).ok_or_else(|| refuse("an operator and a version")))
        .transpose()?;
    Ok(Relation { name, qualifier, constraint, architectures, profiles })
}

fn parse_constraint(text: &str) -> Option<Constraint<'_>> {
    let end = text.find(|c| !matches!(c, '<' | '=' | '>'))?;
    let operator = match &text[..end] {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return None,
    };
    let version = text[end..].trim_start();
    let sound = !version.is_empty() && !version.contains(|c: char| c.is_whitespace() || c == '(');
    sound.then_some(Constraint { operator, version })
}

fn split_name(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Takes `open ... close` off the front of `text`, if it is there: the content and what follows,
/// both trimmed. None where it is not closed.
fn enclosed(text: &str, open: char, close: char) -> Option<(Option<&str>, &str)> {
    let text = text.trim();
    match text.strip_prefix(open) {
        None => Some((None, text)),
        Some(inner) => {
            inner.split_once(close).map(|(inside, rest)| (Some(inside.trim()), rest.trim()))
        }
    }
}

/// `amd64 i386` lists what it applies to, `!amd64 !i386` what it does not.
fn listed(list: &str, architecture: &str) -> bool {
    let matches = |pattern: &str| matches!(pattern, "any" | "linux-any") || pattern == architecture;
    if list.contains('!') {
        return !list.split_whitespace().filter_map(|item| item.strip_prefix('!')).any(matches);
    }
    list.split_whitespace().any(matches)
}

/// `<!nocheck> <cross !stage1>`: holds if any group does, a group if all its terms do; with no
/// profile active, a term does if it is negated.
fn without_profiles(groups: &str) -> bool {
    groups
        .split(['<', '>'])
        .map(str::trim)
        .filter(|group| !group.is_empty())
        .any(|group| group.split_whitespace().all(|term| term.starts_with('!')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(field: &str) -> String {
        let relation = |r: &Relation<'_>| {
            let qualifier = r.qualifier.map(|q| format!(":{q}")).unwrap_or_default();
            let constraint = r
                .constraint
                .map(|c| format!(" {:?} {}", c.operator, c.version))
                .unwrap_or_default();
            let applies = if r.applies("amd64") { "" } else { " off" };
            format!("{}{qualifier}{constraint}{applies}", r.name)
        };
        let clause = |c: Result<Clause<'_>, BadRelation>| match c {
            Ok(c) => c.alternatives.iter().map(relation).collect::<Vec<_>>().join(" or "),
            Err(e) => format!("error: expected {}", e.expected),
        };
        clauses(field).map(clause).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn fields() {
        let table = [
            ("", ""),
            ("a", "a"),
            ("a, b,\n c ,", "a; b; c"),
            ("a (>= 1) | b:any, c [amd64] <!nocheck>", "a LaterOrEqual 1 or b:any; c"),
            ("a(<<1:2~),b ( = 3 )|c( > 4)", "a Earlier 1:2~; b Equal 3 or c LaterOrEqual 4"),
            ("a [i386], b [!i386], c [!amd64 !i386], d [linux-any]", "a off; b; c off; d"),
            ("a <cross>, b <!cross !x>, c <!cross x> <!y>", "a off; b; c"),
            ("a | , b", "error: expected a package name; b"),
            ("${misc:Depends}", "error: expected a package name"),
            ("a (>= 1", "error: expected `)`"),
            ("a (~ 1)", "error: expected an operator and a version"),
            ("a (>=)", "error: expected an operator and a version"),
            ("a (>= 1 2)", "error: expected an operator and a version"),
            ("a b", "error: expected the end of the alternative"),
            ("a [amd64", "error: expected `]`"),
            ("a:", "error: expected a package name"),
        ];
        for (field, expected) in table {
            assert_eq!(show(field), expected, "{field:?}");
        }
        assert_eq!(show(&"a".repeat(FIELD_LIMIT + 1)), "error: expected at most 1 MiB");
    }

    #[test]
    fn clause_keeps_its_text() {
        let texts: Vec<_> = clauses(" a (>= 1) | b:any , c").map(|c| c.unwrap().text).collect();
        assert_eq!(texts, ["a (>= 1) | b:any", "c"]);
    }

    #[test]
    fn provided() {
        let show = |field| {
            provisions(field)
                .map(|p| p.map_or("error".to_owned(), |p| format!("{} {:?}", p.name, p.version)))
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(
            show("mail-transport-agent, foo (= 1.2)"),
            "mail-transport-agent None; foo Some(\"1.2\")"
        );
        assert_eq!(show("foo (>= 1.2), a | b"), "error; error");
    }

    #[test]
    fn constraints() {
        let table = [("<<", "tff"), ("<=", "ttf"), ("=", "ftf"), (">=", "ftt"), (">>", "fft")];
        for (operator, expected) in table {
            let text = format!("{operator} 2");
            let constraint = parse_constraint(&text).unwrap();
            let got: String = ["1", "2", "3"]
                .iter()
                .map(|v| if constraint.admits(v) { 't' } else { 'f' })
                .collect();
            assert_eq!(got, expected, "{operator}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(field in ".{0,60}") {
            clauses(&field).for_each(drop);
            provisions(&field).for_each(drop);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let field = String::from_utf8_lossy(&bytes);
            clauses(&field).for_each(drop);
            provisions(&field).for_each(drop);
        }

        #[test]
        fn reads_what_is_written(
            name in "[a-z0-9][a-z0-9+._-]{0,9}", qualifier in prop::option::of("any|native|amd64"),
            constraint in prop::option::of(("<<|<=|=|>=|>>", "[0-9][0-9a-z.+~:-]{0,9}")), others in 0_usize..3,
        ) {
            let qualified = qualifier.as_ref().map_or(name.clone(), |q| format!("{name}:{q}"));
            let version = constraint.as_ref().map(|(operator, version)| format!(" ({operator} {version})"));
            let text = qualified + &version.unwrap_or_default() + &" | x".repeat(others);
            let read: Vec<_> = clauses(&text).map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!((read[0].text, read[0].alternatives.len()), (&*text, 1 + others));
            let first = read[0].alternatives[0];
            prop_assert_eq!((first.name, first.qualifier), (&*name, qualifier.as_deref()));
            prop_assert_eq!(first.constraint.map(|c| c.version), constraint.as_ref().map(|(_, v)| &**v));
        }

        #[test]
        fn near_misses_never_panic(field in "[ab,|:()\\[\\]<>=!~1 é\n]{0,40}") {
            for clause in clauses(&field).flatten() {
                prop_assert!(!clause.alternatives.is_empty());
                clause.alternatives.iter().for_each(|r| { r.applies("amd64"); r.admits(Some("1")); });
            }
            provisions(&field).for_each(drop);
        }
    }
}
