//! Artefacts and the proof that one boots.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use coremax_fetch::Digest;
use serde::{Deserialize, Serialize};

use crate::{BootReport, Error, error::file};

/// The digest of a file as it is now.
pub(crate) fn digest(path: &Path) -> Result<Digest, Error> {
    let source = File::open(path).map_err(file("opening", path))?;
    let (digest, _) = Digest::of_reader(source).map_err(file("reading", path))?;
    Ok(digest)
}

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's own.
    Qcow2,
    /// The disk's bytes as they are.
    Raw,
}

impl Format {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// A disk image as it was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    path: PathBuf,
    format: Format,
    digest: Digest,
}

impl Artefact {
    /// Reads the file once, for its digest.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(path: &Path, format: Format) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(file("opening", path))?;
        Ok(Self { digest: digest(&path)?, path, format })
    }

    /// The file, by its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its SHA-256 when it was opened.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Something that boot tests have proven. Only [`Verified::by`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T> {
    inner: T,
    reports: Vec<BootReport>,
}

/// Why an artefact is not verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Nothing was tested.
    #[error("no boot test was made")]
    Untested,
    /// A boot failed.
    #[error("booting by {scenario} failed in the stage {}: {what}", stage.name())]
    Failed {
        /// The scenario's name.
        scenario: String,
        /// Where the boot stood.
        stage: crate::Stage,
        /// What was wrong.
        what: String,
    },
    /// A report is about other bytes.
    #[error("the report on booting by {scenario} is about another artefact")]
    Other {
        /// The scenario's name.
        scenario: String,
    },
}

impl Verified<Artefact> {
    /// Accepts an artefact that passed every one of these tests, of which there is at least one.
    ///
    /// # Errors
    /// [`Unverified`], naming the first report that proves nothing.
    pub fn by(artefact: Artefact, reports: &[BootReport]) -> Result<Self, Unverified> {
        if reports.is_empty() {
            return Err(Unverified::Untested);
        }
        for report in reports {
            let scenario = report.scenario.clone();
            if let Some(fault) = report.fault() {
                let (stage, what) = (fault.stage, fault.what.clone());
                return Err(Unverified::Failed { scenario, stage, what });
            }
            if report.digest != artefact.digest {
                return Err(Unverified::Other { scenario });
            }
        }
        Ok(Self { inner: artefact, reports: reports.to_vec() })
    }
}

impl<T> Verified<T> {
    /// What was proven.
    pub fn get(&self) -> &T {
        &self.inner
    }

    /// What proves it: passed boots of these very bytes, one at least.
    pub fn reports(&self) -> &[BootReport] {
        &self.reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, boot::tests::report};

    #[test]
    fn a_digest_is_sha_256() {
        let empty = digest(Path::new("/dev/null")).unwrap().to_string();
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn only_passed_reports_on_the_same_bytes_verify() {
        let artefact = |content: &str| Artefact {
            path: "image.qcow2".into(),
            format: Format::Qcow2,
            digest: Digest::of(content),
        };
        let passed = report("UEFI", artefact("a").digest, Outcome::Passed);
        let mut failed = passed.clone();
        failed.outcome = Outcome::Failed(crate::Fault::default());

        assert_eq!(Verified::by(artefact("a"), &[]), Err(Unverified::Untested));
        let result = Verified::by(artefact("a"), &[passed.clone(), failed]);
        assert!(matches!(result, Err(Unverified::Failed { .. })));
        let result = Verified::by(artefact("b"), std::slice::from_ref(&passed));
        assert!(matches!(result, Err(Unverified::Other { .. })));
        let verified = Verified::by(artefact("a"), std::slice::from_ref(&passed)).unwrap();
        assert_eq!(verified.reports(), [passed]);
    }
}
