//! The host's apt-get, shut off from the host: an empty dpkg status, no preferences, and of the
//! host's sources only Debian's own.

use std::{collections::BTreeSet, fs, path::Path};

use coremax_sandbox::{Cmd, Output, Sandbox};
use tempfile::TempDir;

pub(crate) struct Apt {
    folder: TempDir,
    /// The text of each index, in the order in which apt reads them.
    pub(crate) indexes: Vec<String>,
}

impl Apt {
    /// Fails with the reason where the host has no apt, or no index of Debian.
    pub(crate) fn isolated() -> Result<Self, String> {
        let format = "$(CREATED_BY)|$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)|$(FILENAME)";
        let targets =
            run(Cmd::new("apt-get", &Sandbox::host()).args(["indextargets", "--format", format]))?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut apt = Self { folder, indexes: Vec::new() };
        let mut sources = String::new();
        for line in String::from_utf8_lossy(&targets.stdout).lines() {
            if let ["Packages", "Debian", site, suite, component, file] =
                line.split('|').collect::<Vec<_>>()[..]
            {
                sources += &format!("deb [trusted=yes] {site} {suite} {component}\n");
                apt.take_index(Path::new(file))?;
            }
        }
        if apt.indexes.is_empty() {
            return Err("this host has no Packages index of Debian".to_owned());
        }
        apt.write("sources.list", &sources)?;
        apt.write("status", "")?;
        apt.simulate(false, ["dpkg"].into_iter())?; // writes apt's cache, which the others share
        Ok(apt)
    }

    /// Uncompressed, so that apt need not do it again for every question.
    fn take_index(&mut self, file: &Path) -> Result<(), String> {
        let out =
            run(Cmd::new("/usr/lib/apt/apt-helper", &Sandbox::host()).arg("cat-file").arg(file))?;
        let text = String::from_utf8(out.stdout).map_err(|e| e.to_string())?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let plain = name.find("_Packages").map_or(&*name, |at| &name[..at + "_Packages".len()]);
        self.write(&format!("lists/{plain}"), &text)?;
        self.indexes.push(text);
        Ok(())
    }

    fn write(&self, name: &str, content: &str) -> Result<(), String> {
        let path = self.folder.path().join(name);
        let written = path
            .parent()
            .map_or(Ok(()), |folder| fs::create_dir_all(folder.join("partial")))
            .and_then(|()| fs::write(&path, content));
        written.map_err(|e| format!("{}: {e}", path.display()))
    }

    /// What would be installed, as `name version`, or apt's word that there is no solution.
    ///
    /// # Panics
    /// Where apt fails for any other reason: that is no answer.
    pub(crate) fn simulate<'a>(
        &self,
        recommends: bool,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<BTreeSet<String>, String> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let options = [
            format!("Dir::State::status={}", at("status")),
            format!("Dir::State::extended_states={}", at("extended_states")),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("")),
            "Dir::Cache::pkgcache=pkgcache.bin".to_owned(),
            "Dir::Cache::srcpkgcache=srcpkgcache.bin".to_owned(),
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            format!("APT::Install-Recommends={recommends}"),
        ];
        let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
        let out = run(Cmd::new("apt-get", &Sandbox::host())
            .env("LC_ALL", "C")
            .args(options)
            .args(["-s", "install"])
            .args(names))
        .map_err(|error| {
            assert!(is_refusal(&error), "apt gives no answer: {error}");
            error
        })?;
        let text = String::from_utf8_lossy(&out.stdout);
        let installed =
            text.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_once(" ("));
        Ok(installed
            .map(|(name, rest)| format!("{name} {}", rest.split(' ').next().unwrap_or_default()))
            .collect())
    }
}

/// Whether apt says that what is asked for cannot be had, and not that it failed.
pub(crate) fn is_refusal(error: &str) -> bool {
    let says = |start: &str, end: &str| error.starts_with(start) && error.ends_with(end);
    says("E: Unable to correct problems, you have held broken packages", "")
        || says("E: Error, pkgProblemResolver::Resolve generated breaks", "")
        || says("E: Unable to locate package ", "")
        || says("E: Version '", "' was not found")
        || says("E: Package '", "' has no installation candidate")
}

fn run(command: Cmd) -> Result<Output, String> {
    let out = command.output().map_err(|e| e.to_string())?;
    match out.status.success() {
        true => Ok(out),
        false => {
            Err(String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or_default().to_owned())
        }
    }
}
