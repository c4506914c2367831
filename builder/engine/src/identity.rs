//! The UUIDs of an image: made of its name and content, so that the same build makes the same.

use coremax_disk::Guid;
use serde::Serialize;

/// The namespace of all names below, drawn once for this project.
const NAMESPACE: [u8; 16] = [
    0x5e, 0x1b, 0x1f, 0x0c, 0x8d, 0x0f, 0x4c, 0x55, 0x9a, 0x3e, 0x77, 0x8e, 0x53, 0x0d, 0x2a, 0x61,
];

/// What an image's UUIDs are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Identity {
    image: Guid,
}

impl Identity {
    /// The identity of the recipe `name` on the system layer with this fingerprint.
    pub(crate) fn new(name: &str, system: &coremax_fetch::Digest) -> Self {
        let image = Guid::from_name(Guid::from_bytes(NAMESPACE), &format!("{name} {system}"));
        Self { image }
    }

    /// The UUID of one thing in the image, such as a partition.
    pub(crate) fn of(&self, thing: &str) -> Guid {
        Guid::from_name(self.image, thing)
    }
}
