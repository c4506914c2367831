//! The host's apt, shut off from the host: the stand-in is its only archive, and nothing is installed.

use std::{collections::BTreeSet, fs, path::Path};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{
    failed,
    standin::{SUITES, StandIn},
};

pub(crate) struct Apt {
    folder: tempfile::TempDir,
}

impl Apt {
    /// Has read the archive's indexes, which takes a signature that holds.
    pub(crate) fn of(archive: &StandIn, key: &Path) -> Result<Self, String> {
        let apt = Self { folder: tempfile::tempdir().map_err(|e| e.to_string())? };
        let line = |suite: &str| {
            let (key, root) = (key.display(), archive.root());
            format!("deb [signed-by={key}] file:{} {suite} main universe\n", root.display())
        };
        let sources: String = SUITES.iter().map(|(_, suite, _)| line(suite)).collect();
        let write = |name: &str, text: &str| {
            fs::write(apt.folder.path().join(name), text).map_err(|e| e.to_string())
        };
        write("sources.list", &sources)?;
        write("status", "")?;
        for folder in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(apt.folder.path().join(folder)).map_err(|e| e.to_string())?;
        }
        apt.run("apt-get", &["update", "--error-on=any"])?;
        Ok(apt)
    }

    /// What would be installed on a machine without any package, as `name version`.
    pub(crate) fn installs(&self, names: &[&str]) -> Result<BTreeSet<String>, String> {
        let said = self.run("apt-get", &[&["-s", "install"], names].concat())?;
        let installed =
            said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_once(" ("));
        let version = |rest: &str| rest.split(' ').next().unwrap_or_default().to_owned();
        Ok(installed.map(|(name, rest)| format!("{name} {}", version(rest))).collect())
    }

    /// The indexes that it has read, as `suite component`.
    pub(crate) fn indexes(&self) -> Result<BTreeSet<String>, String> {
        let format = ["--format", "$(RELEASE) $(COMPONENT)", "Created-By: Packages"];
        let said = self.run("apt-get", &[&["indextargets"], &format[..]].concat())?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// What its program says.
    pub(crate) fn run(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let options = [
            format!("Dir::State::status={}", at("status")),
            format!("Dir::State::extended_states={}", at("extended_states")),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("")),
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
        let command = Cmd::new(program, &Sandbox::host()).env("LC_ALL", "C");
        let output = command.args(options).args(words).run().map_err(|e| failed(&e, "apt"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
