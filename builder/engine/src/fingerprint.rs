//! Fingerprints: what a step reads, as one digest.
//!
//! Every value goes in under a label and with its length, so that no two different lists of
//! values make the same bytes.

use coremax_fetch::{Digest, Hasher};
use serde::Serialize;

/// A fingerprint in the making.
pub struct Fingerprint {
    hasher: Hasher,
}

impl Fingerprint {
    /// Begins the fingerprint of a step. `revision` changes whenever the step's own code makes
    /// something else of the same inputs.
    pub fn new(step: &str, revision: u32) -> Self {
        let hasher = Hasher::default();
        Self { hasher }.with("step", step).with("revision", revision.to_string())
    }

    /// Takes in a value.
    #[must_use]
    pub fn with(mut self, label: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [label.as_bytes(), value.as_ref()] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
        self
    }

    /// Takes in a value by its JSON form.
    #[must_use]
    pub fn with_json(self, label: &str, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.with(label, json)
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
}
