//! What a guest found out about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Request;

/// A guest's answer to one [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's nonce, as text: what is compared is what was sent.
    pub nonce: String,
    /// One check an expectation, and those a guest always makes.
    pub checks: Vec<Check>,
    /// What the guest says about itself, for people to read.
    pub facts: Facts,
}

impl Answer {
    /// Everything that keeps this answer from being a pass: empty means passed.
    ///
    /// A wrong nonce, a check that does not hold, and an expectation without a check.
    pub fn problems(&self, request: &Request) -> Vec<String> {
        let mut problems = Vec::new();
        if self.nonce != request.nonce.to_string() {
            problems.push("the answer carries another nonce: it is not about this boot".to_owned());
        }
        for check in self.checks.iter().filter(|check| !check.ok) {
            problems.push(format!("{} {}: {}", check.kind.noun(), check.name, check.detail));
        }
        for (kind, name) in request.expect.unanswered(self) {
            problems.push(format!("{} {name}: the guest did not check it", kind.noun()));
        }
        if !self.checks.iter().any(|check| check.kind == Kind::System) {
            problems.push("the guest did not say whether systemd finished booting".to_owned());
        }
        problems
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at, in the request's words.
    pub name: String,
    /// What kind of thing that is.
    pub kind: Kind,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, for people.
    pub detail: String,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// systemd as a whole: it finished booting.
    System,
    /// A unit that failed, though nobody may have asked for it.
    FailedUnit,
    /// A unit that was to be active.
    Unit,
    /// A package that was to be installed.
    Package,
    /// A file that was to exist.
    File,
    /// A port that something was to listen on.
    Listen,
    /// Something this version has no name for.
    #[serde(other)]
    Other,
}

impl Kind {
    /// The word for people.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::FailedUnit => "failed unit",
            Self::Unit => "unit",
            Self::Package => "package",
            Self::File => "file",
            Self::Listen => "port",
            Self::Other => "check",
        }
    }
}

/// What a guest is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// As `uname -r` prints it.
    pub kernel_release: String,
    /// os-release(5): `ID`, `VERSION_ID`, `PRETTY_NAME` and the rest.
    pub os_release: BTreeMap<String, String>,
    /// How it was booted.
    pub firmware: Firmware,
    /// Whether Secure Boot is on; none where there is no such thing.
    pub secure_boot: Option<bool>,
    /// Whether /etc/machine-id holds an id.
    pub machine_id: bool,
    /// Memory the kernel has, in bytes.
    pub memory: u64,
    /// Packages that are installed.
    pub packages: u64,
    /// The root file system.
    pub root: Root,
    /// Where the time went, as systemd measured it.
    pub times: Times,
}

/// What started the loader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// No EFI was found.
    #[default]
    Bios,
    /// The kernel was started by EFI.
    Efi,
}

/// A root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// The device or what stands for it.
    pub source: String,
    /// Such as `ext4`.
    pub kind: String,
    /// Whether it was mounted read-only.
    pub read_only: bool,
    /// Bytes in all.
    pub size: u64,
    /// Bytes that are free to root.
    pub free: u64,
}

/// Durations in microseconds; none where systemd has no figure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// From power-on to the loader, as EFI tells.
    pub firmware_us: Option<u64>,
    /// In the boot loader, as EFI tells.
    pub loader_us: Option<u64>,
    /// In the kernel, before any program; with an initrd that systemd does not run, that one too.
    pub kernel_us: Option<u64>,
    /// In an initrd that systemd runs.
    pub initrd_us: Option<u64>,
    /// From systemd's start to the end of booting.
    pub userspace_us: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Expect, Nonce, PROTOCOL},
        *,
    };

    fn check(kind: Kind, name: &str, ok: bool) -> Check {
        Check { name: name.into(), kind, ok, detail: "as found".into() }
    }

    #[test]
    fn what_keeps_an_answer_from_being_a_pass() {
        let request = Request {
            protocol: PROTOCOL,
            nonce: Nonce::from_bytes([1; 16]),
            expect: Expect { units: vec!["ssh.service".into()], ..Expect::default() },
        };
        let nonce = request.nonce.to_string();
        let system = check(Kind::System, "running", true);
        let unit = |ok| check(Kind::Unit, "ssh.service", ok);
        let table = [
            (nonce.as_str(), vec![system.clone(), unit(true)], vec![]),
            (&nonce, vec![system.clone(), unit(false)], vec!["unit ssh.service: as found"]),
            (&nonce, vec![system.clone()], vec!["unit ssh.service: the guest did not check it"]),
            (&nonce, vec![unit(true)], vec!["systemd finished"]),
            ("00", vec![system.clone(), unit(true)], vec!["another nonce"]),
            (
                &nonce,
                vec![system, unit(true), check(Kind::FailedUnit, "a.service", false)],
                vec!["failed unit a.service"],
            ),
        ];
        for (nonce, checks, want) in table {
            let answer = Answer { nonce: nonce.into(), checks, facts: Facts::default() };
            let problems = answer.problems(&request);
            assert_eq!(problems.len(), want.len(), "{problems:?}");
            for (problem, want) in problems.iter().zip(want) {
                assert!(problem.contains(want), "{problem} has no {want}");
            }
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_readable() {
        assert_eq!(serde_json::from_str::<Kind>("\"payload\"").unwrap(), Kind::Other);
    }
}
