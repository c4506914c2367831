//! Artefacts and the proof that one boots.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{BootReport, Error, error::file};

/// A SHA-256, shown and stored as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of a file as it is now.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let mut source = File::open(path).map_err(file("opening", path))?;
        digest(&mut source).map_err(file("reading", path))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn digest(source: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(Digest(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
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
        Ok(Self { digest: Digest::of(&path)?, path, format })
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    inner: T,
    proofs: Vec<String>,
}

/// Why an artefact is not verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Nothing was tested.
    #[error("no boot test was made")]
    Untested,
    /// A boot failed.
    #[error("booting by {scenario} failed: {what}")]
    Failed {
        /// The scenario's name.
        scenario: String,
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
                return Err(Unverified::Failed { scenario, what: fault.what.clone() });
            }
            if report.digest != artefact.digest {
                return Err(Unverified::Other { scenario });
            }
        }
        let proofs = reports.iter().map(|report| report.scenario.clone()).collect();
        Ok(Self { inner: artefact, proofs })
    }
}

impl<T> Verified<T> {
    /// What was proven.
    pub fn get(&self) -> &T {
        &self.inner
    }

    /// The names of the scenarios that prove it.
    pub fn proofs(&self) -> &[String] {
        &self.proofs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, boot::tests::report};

    #[test]
    fn a_digest_is_sha_256() {
        let empty = digest(&mut io::empty()).unwrap().to_string();
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn only_passed_reports_on_the_same_bytes_verify() {
        let artefact = |content: &str| Artefact {
            path: "image.qcow2".into(),
            format: Format::Qcow2,
            digest: digest(&mut content.as_bytes()).unwrap(),
        };
        let passed = report("UEFI", artefact("a").digest, Outcome::Passed);
        let mut failed = passed.clone();
        failed.outcome = Outcome::Failed(crate::Fault::default());

        assert_eq!(Verified::by(artefact("a"), &[]), Err(Unverified::Untested));
        let result = Verified::by(artefact("a"), &[passed.clone(), failed]);
        assert!(matches!(result, Err(Unverified::Failed { .. })));
        let result = Verified::by(artefact("b"), std::slice::from_ref(&passed));
        assert!(matches!(result, Err(Unverified::Other { .. })));
        let verified = Verified::by(artefact("a"), &[passed]).unwrap();
        assert_eq!(verified.proofs(), ["UEFI"]);
    }
}
