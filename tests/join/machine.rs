//! A machine: a namespace, a folder, and the daemon that runs there.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use coremax_node_api::cluster_status::ClusterStatus;
use coremax_sandbox::{Child, Cmd, Sandbox};
use coremax_tests::{Outcome, coremax_node, files};

/// How many of the join's own seconds are one of the clock's. `COREMAX_FASTER=1` has it as it is on machines, for measuring.
pub(crate) fn pace() -> u32 {
    let told = std::env::var("COREMAX_FASTER").ok();
    told.map_or(10, |told| told.parse().expect("COREMAX_FASTER is a number"))
}

/// One, on or off.
pub(crate) struct Machine {
    namespace: String,
    folder: PathBuf,
    hears_beacons: bool,
    child: Option<Child>,
}

impl Machine {
    /// A blank one, whose medium and firmware are in this folder.
    pub(crate) fn new(namespace: String, folder: PathBuf) -> Self {
        Self { namespace, folder, hears_beacons: true, child: None }
    }

    /// From its next start on it listens on a card that is not there.
    pub(crate) fn hears_no_beacon(&mut self) {
        self.hears_beacons = false;
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn start(&mut self) -> Outcome {
        let folder = &self.folder;
        let out = || -> Result<File, String> {
            let path = folder.join("out");
            let file = OpenOptions::new().append(true).create(true).open(&path);
            file.map_err(|error| format!("{}: {error}", path.display()))
        };
        let flags = [
            ("--state", "state"),
            ("--identity", "medium.identity.json"),
            ("--keys", "keys"),
            ("--operators", "operators"),
            ("--roster", "roster"),
            ("--status", "join.json"),
            ("--socket", "status.sock"),
            ("--root", "root"),
            ("--dmi", "dmi"),
            ("--tpm", "tpm"), // there is none: that of this host would be everyone's
            ("--leases", "leases"),
            ("--cmdline", "cmdline"),
        ];
        let command = Cmd::new("ip", &Sandbox::host())
            .args(["netns", "exec", &self.namespace])
            .arg(coremax_node())
            .args(["join", "--leave-clock", "--faster", &pace().to_string()]);
        let only = if self.hears_beacons { &[][..] } else { &["--interface", "nowhere"] };
        let command = flags
            .iter()
            .fold(command.args(only), |command, (flag, name)| {
                command.arg(flag).arg(folder.join(name))
            })
            .stdout_file(out()?)
            .stderr_file(out()?);
        self.child = Some(command.spawn().map_err(|error| error.to_string())?);
        Ok(())
    }

    /// As a power cut does it: SIGKILL.
    pub(crate) fn kill(&mut self) -> Outcome {
        match self.child.take() {
            Some(mut child) => child.kill().map_err(|error| error.to_string()),
            None => Err("it is off".into()),
        }
    }

    /// Why it is off, if it ended by itself.
    pub(crate) fn is_on(&mut self) -> Outcome {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        match ended {
            Some(status) => Err(format!("the daemon ended with {status}: {}", self.read("out"))),
            None => Ok(()),
        }
    }

    /// Where its network is.
    pub(crate) fn network(&self) -> String {
        format!("/run/netns/{}", self.namespace)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file's text; nothing where there is none yet.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> Option<ClusterStatus> {
        serde_json::from_str(&self.read("join.json")).ok()
    }

    /// The most memory that its daemon had since it was started, in KiB.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        let text = fs::read_to_string(self.process()?.join("status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| format!("no VmHWM in {text}"))
    }

    /// How many files and connections its daemon has open.
    pub(crate) fn descriptors(&self) -> Result<usize, String> {
        let open = fs::read_dir(self.process()?.join("fd")).map_err(|error| error.to_string())?;
        Ok(open.count())
    }

    /// What the kernel shows of its daemon.
    fn process(&self) -> Result<PathBuf, String> {
        let state = self.path("state").display().to_string();
        let processes = fs::read_dir("/proc").map_err(|error| error.to_string())?;
        let is_it = |path: &PathBuf| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == state.as_bytes())
        };
        let found = processes.flatten().map(|process| process.path()).find(is_it);
        found.ok_or_else(|| format!("no process has {state}"))
    }
}

pub(crate) fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}

/// Copies a folder of files.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    let copy = || {
        fs::create_dir_all(to)?;
        fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name())).map(drop)
        })
    };
    copy().map_err(|error| format!("copying {}: {error}", from.display()))
}

/// Where a machine has secrets of its own.
pub(crate) const SECRETS: [&str; 3] = ["/state/secret", "/tls/node.key", "/authority/keys"];

/// All machines' own secrets, as their files have them.
pub(crate) fn secrets(folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut secrets = Vec::new();
    for path in files(folder) {
        if SECRETS.iter().any(|name| path.display().to_string().ends_with(name)) {
            let text = fs::read_to_string(&path).map_err(|e| e.to_string())?;
            // Keys are the longest words in their files: hex digits, or base64.
            let words = text.split_whitespace().filter(|word| word.len() >= 60);
            secrets.extend(words.map(|word| word.as_bytes().to_vec()));
        }
    }
    Ok(secrets)
}
