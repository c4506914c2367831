//! What has become of the parts of a fingerprint, matched by what they are and not by where they stand.

use std::collections::BTreeMap;

use coremax_fetch::Digest;

use crate::{
    differences::differences,
    fingerprint::{Part, Value},
};

/// Names of a list that are told one by one, at most. Ours: half a screen.
const MOST: usize = 12;
/// What a build gives its image, and a plan does not have.
const OF_A_BUILD: [&str; 2] = ["version", "certificate"];
/// The list whose values are versions, which two files can have in common.
const PACKAGES: &str = "packages";

/// Which step made a value, if one did.
pub(super) type Maker<'a> = dyn Fn(&Value) -> Option<&'a str> + 'a;

/// A part that is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change<'a> {
    /// The step that made the value, if one did.
    pub(super) maker: Option<&'a str>,
    /// Nothing where the part has come.
    pub(super) was: Option<&'a Part>,
    /// Nothing where it has gone.
    pub(super) now: Option<&'a Part>,
}

/// A part's label and its maker; of several that are alike, which.
type Key<'a> = (&'a str, Option<&'a str>, usize);

/// What has come, gone or changed: in the order that the parts have now, and after them those that are no longer read.
pub(super) fn changes<'a>(
    was: (&'a [Part], &Maker<'a>),
    now: (&'a [Part], &Maker<'a>),
) -> Vec<Change<'a>> {
    let (was, now) = (keyed(was), keyed(now));
    let find = |parts: &[(Key<'a>, &'a Part)], key: &Key<'a>| {
        parts.iter().find(|(other, _)| other == key).map(|(_, part)| *part)
    };
    let here = now.iter().map(|(key, part)| (*key, find(&was, key), Some(*part)));
    let gone = was.iter().filter(|(key, _)| find(&now, key).is_none());
    let gone = gone.map(|(key, part)| (*key, Some(*part), None));
    let change = |((_, maker, _), was, now): (Key<'a>, _, _)| Change { maker, was, now };
    here.chain(gone).map(change).filter(|change| change.was != change.now).collect()
}

fn keyed<'a>((parts, maker): (&'a [Part], &Maker<'a>)) -> Vec<(Key<'a>, &'a Part)> {
    let mut alike = BTreeMap::new();
    let key = |part: &'a Part| {
        let (label, maker) = (part.label.as_str(), maker(&part.value));
        let before: &mut usize = alike.entry((label, maker)).or_default();
        *before += 1;
        ((label, maker, *before), part)
    };
    parts.iter().map(key).collect()
}

/// Whether a value is this fingerprint, as itself or in JSON.
pub(super) fn is_of(value: &Value, fingerprint: &Digest) -> bool {
    match value {
        Value::Digest(digest) => digest == fingerprint,
        Value::Text(text) => text.trim_matches('"') == fingerprint.to_string(),
        Value::List(_) => false,
    }
}

impl Change<'_> {
    /// Whether it is of what each build gives its image, which a plan does not have yet.
    pub(super) fn is_of_a_build(&self) -> bool {
        self.now.or(self.was).is_some_and(|part| OF_A_BUILD.contains(&part.label.as_str()))
    }

    /// In words, a line each.
    pub(super) fn told(&self) -> Vec<String> {
        let (was, now) = (self.was.map(|part| &part.value), self.now.map(|part| &part.value));
        let Some(part) = self.now.or(self.was) else { return Vec::new() };
        let label = &part.label;
        match (was, now) {
            _ if matches!(label.as_str(), "identity" | "salt") => {
                vec!["the UUIDs in it, which are made of the system's fingerprint".to_owned()]
            }
            (Some(Value::List(was)), Some(Value::List(now))) => listed(label, was, now),
            (Some(Value::Text(was)), Some(Value::Text(now))) => {
                vec![format!("the {label}: {was} -> {now}")]
            }
            (Some(_), Some(_)) => vec![format!("the {label}")],
            (None, _) => vec![format!("{}, which the last build did not have", self.named(part))],
            (_, None) => vec![format!("{}, which is read no longer", self.named(part))],
        }
    }

    /// A part that has come or gone.
    fn named(&self, part: &Part) -> String {
        match (self.maker, &part.value) {
            (Some(maker), _) => format!("what {maker} makes"),
            (None, Value::Text(text)) => format!("the {}: {text}", part.label),
            (None, _) => format!("the {}", part.label),
        }
    }
}

/// What of a list has come, gone or changed, as much of it as fits.
fn listed(
    label: &str,
    was: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut lines = differences(was, now);
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("and {more} more"));
    }
    match (lines.is_empty(), label) {
        (false, _) => lines,
        (true, PACKAGES) => vec!["packages of the same versions with other bytes".to_owned()],
        (true, _) => vec![format!("the {label}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn texts(text: &str) -> Vec<Part> {
        let part = |(label, value)| Part { label, value: Value::Text(value), digest: None };
        text.split_whitespace()
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(label, value)| part((label.to_owned(), value.to_owned())))
            .collect()
    }

    /// A value that begins with `@` is a step's: its name, and which of its outputs.
    fn made<'a>(value: &Value) -> Option<&'a str> {
        let Value::Text(text) = value else { return None };
        ["site", "system"].into_iter().find(|step| text.starts_with(&format!("@{step}")))
    }

    #[test]
    fn parts_are_matched_by_what_they_are() {
        for (was, now, want) in [
            ("a=1 b=2", "a=1 b=2", vec![]),
            ("a=1 b=2", "b=2 a=1", vec![]),
            ("a=1 b=2", "a=1 b=3", vec!["the b: 2 -> 3"]),
            ("b=2", "a=1 b=2", vec!["the a: 1, which the last build did not have"]),
            ("a=1 b=2", "b=2", vec!["the a: 1, which is read no longer"]),
            (
                "a=1 b=2 c=3",
                "d=4 c=5 b=2",
                vec![
                    "the d: 4, which the last build did not have",
                    "the c: 3 -> 5",
                    "the a: 1, which is read no longer",
                ],
            ),
            ("a=1 a=2", "a=1 a=3", vec!["the a: 2 -> 3"]),
            ("a=1 a=2", "a=1", vec!["the a: 2, which is read no longer"]),
            // One that a step made is that step's, whichever comes first.
            ("a=@system1 a=@site1", "a=@site1 a=@system1", vec![]),
            (
                "a=@system1 a=@site1",
                "a=@site2",
                vec!["the a: @site1 -> @site2", "what system makes, which is read no longer"],
            ),
            (
                "a=@site1",
                "a=@site1 a=@system1",
                vec!["what system makes, which the last build did not have"],
            ),
        ] {
            let (before, after) = (texts(was), texts(now));
            let changes = changes((&before, &made), (&after, &made));
            let told: Vec<_> = changes.iter().flat_map(Change::told).collect();
            assert_eq!(told, want, "{was} | {now}");
        }
    }

    #[test]
    fn a_change_is_told_in_words() {
        let (long, other) = ("f".repeat(64), Value::Digest(Digest::of("b")));
        for (label, was, now, want) in [
            (
                "packages",
                Value::List(list("a=1 b=1 c=1")),
                Value::List(list("a=2 b=1 d=1")),
                vec!["a 1 -> 2", "c 1 removed", "d 1 added"],
            ),
            (
                "packages",
                Value::List(list("a=1")),
                Value::List(list("a=1")),
                vec!["packages of the same versions with other bytes"],
            ),
            ("files", Value::List(list("a=1")), Value::List(list("a=1")), vec!["the files"]),
            (
                "brought along",
                Value::List(list("m=x")),
                Value::List([("m".to_owned(), long)].into()),
                vec!["m has changed"],
            ),
            (
                "command line",
                Value::Text("[\"quiet\"]".into()),
                Value::Text("[]".into()),
                vec!["the command line: [\"quiet\"] -> []"],
            ),
            (
                "node program",
                Value::Digest(Digest::of("a")),
                other.clone(),
                vec!["the node program"],
            ),
            ("ids", Value::Text("[]".into()), other, vec!["the ids"]),
        ] {
            let [was, now] =
                [was, now].map(|value| Part { label: label.to_owned(), value, digest: None });
            let change = Change { maker: None, was: Some(&was), now: Some(&now) };
            assert_eq!(change.told(), want, "{label}");
        }
        let many: BTreeMap<_, _> = (0..30).map(|n| (format!("p{n:02}"), String::new())).collect();
        let told = listed("packages", &BTreeMap::new(), &many);
        assert_eq!((told.len(), told.last().map(String::as_str)), (MOST + 1, Some("and 18 more")));
    }
}
