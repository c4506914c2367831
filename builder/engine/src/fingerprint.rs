//! Fingerprints: what a step reads, as one digest.
//!
//! Every value goes in under a label and with its length, so that no two different lists of
//! values make the same bytes. What went in is remembered beside, as far as people can read it: it tells why
//! another fingerprint is another (see `why`), and is no part of the digest.

use std::collections::BTreeMap;

use coremax_fetch::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// Bytes of a value that is remembered as it is, at most. Ours: a line or two of a screen.
const MAX_TEXT: usize = 200;

/// A fingerprint in the making.
#[derive(Clone)]
pub struct Fingerprint {
    hasher: Hasher,
    parts: Vec<Part>,
}

/// One value that went into a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is called.
    pub label: String,
    /// The value, as far as it can be shown.
    pub value: Value,
    /// Of the value that went in, where a list is shown in its place: that may say less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A value as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Short enough to be shown.
    Text(String),
    /// Things by name: packages with their versions, files with what they hold.
    List(BTreeMap<String, String>),
    /// A digest, or the digest of a value that is none of the others.
    Digest(Digest),
}

impl Fingerprint {
    /// Begins the fingerprint of a step. `revision` changes whenever the step's own code makes
    /// something else of the same inputs.
    pub fn new(step: &str, revision: u32) -> Self {
        let start = Self { hasher: Hasher::default(), parts: Vec::new() };
        start.with("step", step).with("revision", revision.to_string())
    }

    /// Takes in a value.
    #[must_use]
    pub fn with(mut self, label: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [label.as_bytes(), value.as_ref()] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
        let value = value.as_ref();
        let text = std::str::from_utf8(value).ok();
        let value = match text.filter(|text| value.len() <= MAX_TEXT && !text.contains('\n')) {
            Some(text) => Value::Text(text.to_owned()),
            None => Value::Digest(Digest::of(value)),
        };
        self.parts.push(Part { label: label.to_owned(), value, digest: None });
        self
    }

    /// Takes in a digest, such as another step's fingerprint.
    #[must_use]
    pub fn with_digest(self, label: &str, digest: &Digest) -> Self {
        self.with(label, digest.as_bytes()).remembered(Value::Digest(*digest))
    }

    /// Takes in a value by its JSON form.
    #[must_use]
    pub fn with_json(self, label: &str, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.with(label, json)
    }

    /// Remembers the value that went in last as a list of things by name, which says what of it people can read.
    #[must_use]
    pub fn listed(mut self, list: BTreeMap<String, String>) -> Self {
        if let Some(last) = self.parts.last_mut() {
            last.digest = match &last.value {
                Value::Text(text) => Some(Digest::of(text)),
                Value::Digest(digest) => Some(*digest),
                Value::List(_) => last.digest,
            };
        }
        self.remembered(Value::List(list))
    }

    fn remembered(mut self, value: Value) -> Self {
        if let Some(last) = self.parts.last_mut() {
            last.value = value;
        }
        self
    }

    /// What went in, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The fingerprint.
    pub fn finish(self) -> Digest {
        self.hasher.finish().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_lengths_count() {
        let one = |a: &str, b: &str| Fingerprint::new("s", 1).with(a, b).finish();
        assert_eq!(one("a", "bc"), one("a", "bc"));
        assert_ne!(one("a", "bc"), one("ab", "c"));
        assert_ne!(one("a", "b"), Fingerprint::new("s", 2).with("a", "b").finish());
    }

    /// Whoever remembers more makes nothing again.
    #[test]
    fn what_is_remembered_does_not_count() {
        let (digest, list) = (Digest::of("x"), [("a".to_owned(), "1".to_owned())].into());
        let plain = Fingerprint::new("s", 1).with("a", digest.as_bytes()).with("b", "c");
        let told = Fingerprint::new("s", 1).with_digest("a", &digest).with("b", "c").listed(list);
        assert_ne!(plain.parts(), told.parts());
        assert_eq!(plain.finish(), told.finish());
    }
}
