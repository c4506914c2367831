//! A build and its proof, as one thing.

use crate::{
    Error,
    manifest::{Artefact, Boot, Build, Manifest, Proof},
};

/// A build whose every artefact was booted in the very form it has, and the boots that prove it. Neither can be
/// exchanged for another's: only [`Proven::new`] makes one, and it opens for publishing alone.
#[derive(Debug)]
pub struct Proven {
    build: Build,
    boots: Vec<Boot>,
}

impl Proven {
    /// Puts a build and its passed boots together. That they passed is the caller's word: make each from a report of
    /// a verified artefact.
    ///
    /// # Errors
    /// An artefact that was not booted as it is, or a boot of anything else; a build without artefacts proves
    /// nothing either.
    pub fn new(build: Build, boots: Vec<Boot>) -> Result<Self, Error> {
        let booted = |artefact: &Artefact| boots.iter().any(|boot| boot.is_of(artefact));
        let made = |boot: &Boot| build.artefacts.iter().any(|artefact| boot.is_of(artefact));
        if let Some(artefact) = build.artefacts.iter().find(|artefact| !booted(artefact)) {
            return Err(Error::Unproven { artefact: artefact.name.clone() });
        }
        if let Some(boot) = boots.iter().find(|boot| !made(boot)) {
            let (artefact, firmware) = (boot.artefact.clone(), boot.firmware.clone());
            return Err(Error::Stray { artefact, firmware });
        }
        if build.artefacts.is_empty() {
            return Err(Error::Unproven { artefact: build.recipe });
        }
        Ok(Self { build, boots })
    }

    /// What its manifest says.
    pub(crate) fn into_manifest(self) -> Manifest {
        Manifest { build: self.build, verified: Some(Proof { boots: self.boots }) }
    }
}

#[cfg(test)]
mod tests {
    use coremax_fetch::Digest;

    use super::*;

    fn artefact(name: &str, content: &str) -> Artefact {
        let (name, format) = (name.to_owned(), "qcow2".to_owned());
        Artefact { name, format, size: 1, sha256: Digest::of(content), virtual_size: 1 }
    }

    fn boot(artefact: &str, content: &str) -> Boot {
        Boot {
            artefact: artefact.to_owned(),
            sha256: Digest::of(content),
            firmware: "UEFI".to_owned(),
            accelerator: "tcg".to_owned(),
            seconds: 1.0,
            checks: Vec::new(),
        }
    }

    #[test]
    fn the_proof_is_of_all_artefacts_and_of_nothing_else() {
        let (a, b) = (artefact("a", "1"), artefact("b", "2"));
        let unproven = "was not booted as it is";
        let stray = "proves nothing that was built";
        for (artefacts, boots, want) in [
            (vec![&a], vec![boot("a", "1")], None),
            (vec![&a, &b], vec![boot("b", "2"), boot("a", "1"), boot("a", "1")], None),
            (vec![&a, &b], vec![boot("a", "1")], Some(unproven)),
            (vec![&a], vec![], Some(unproven)),
            (vec![], vec![], Some(unproven)),
            (vec![&a], vec![boot("a", "2")], Some(unproven)),
            (vec![&a], vec![boot("b", "1")], Some(unproven)),
            (vec![&a], vec![boot("a", "1"), boot("a", "2")], Some(stray)),
            (vec![&a], vec![boot("a", "1"), boot("b", "2")], Some(stray)),
            (vec![], vec![boot("a", "1")], Some(stray)),
        ] {
            let build = Build {
                artefacts: artefacts.into_iter().cloned().collect(),
                ..crate::publish::tests::build("1")
            };
            let found = Proven::new(build, boots).err().map(|error| error.to_string());
            assert_eq!(found.is_some(), want.is_some(), "{found:?}");
            assert!(found.is_none_or(|text| text.contains(want.unwrap_or_default())));
        }
    }
}
