//! The UUIDs of an image: made of its name and content, so that the same build makes the same.

use anyhow::Result;
use coremax_disk::{Guid, verity::Salt};
use serde::Serialize;

/// The namespace of all names below, drawn once for this project.
const NAMESPACE: [u8; 16] = [
    0x5e, 0x1b, 0x1f, 0x0c, 0x8d, 0x0f, 0x4c, 0x55, 0x9a, 0x3e, 0x77, 0x8e, 0x53, 0x0d, 0x2a, 0x61,
];

/// What an image's UUIDs are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Identity {
    /// Changes with the packages.
    image: Guid,
    /// Does not.
    recipe: Guid,
}

impl Identity {
    /// The identity of the recipe `name` on the system layer with this fingerprint.
    pub(crate) fn new(name: &str, system: &coremax_fetch::Digest) -> Self {
        let recipe = Guid::from_name(Guid::from_bytes(NAMESPACE), name);
        let image = Guid::from_name(Guid::from_bytes(NAMESPACE), &format!("{name} {system}"));
        Self { image, recipe }
    }

    /// The UUID of one thing in the image, such as a partition.
    pub(crate) fn of(&self, thing: &str) -> Guid {
        Guid::from_name(self.image, thing)
    }

    /// What the hashes of the root's blocks begin with: one salt a recipe, so that those of an
    /// unchanged layer need not be computed again.
    pub(crate) fn salt(&self) -> Result<Salt> {
        Ok(Salt::new(*self.recipe.as_bytes())?)
    }
}
