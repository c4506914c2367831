//! Where the story plays: a mirror, a key, a recipe, and what a run must have said.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{
    Outcome, Ran, coremax, expect,
    mirror::{Archive, Dates, Server},
    ran,
};

/// The mirror and the recipe; caches are made for each sentence anew.
pub(crate) struct Stage {
    pub(crate) archive: Archive,
    pub(crate) server: Server,
    pub(crate) folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Archive::new();
        let server = Server::start(archive.files(Dates::SOUND));
        let recipe = "name = \"tiny\"\nbase = \"debian-12\"\n[packages]\ninstall = [\"hello\"]\n\
                      [[output]]\nformat = \"raw\"\n";
        fs::write(folder.path().join("tiny.toml"), recipe).expect("a recipe");
        fs::write(folder.path().join("key.asc"), archive.key()).expect("a key");
        Self { archive, server, folder }
    }

    /// The mirror as it should be, and an empty cache.
    pub(crate) fn sound(&self) -> tempfile::TempDir {
        self.server.serve(self.archive.files(Dates::SOUND));
        tempfile::tempdir_in(self.folder.path()).expect("a cache")
    }

    pub(crate) fn plan(&self, cache: &Path, more: &[&str]) -> Ran {
        ran(self.command("plan", cache).args(more))
    }

    /// Fetches all and unpacks the tools, and then ends for want of dpkg.
    pub(crate) fn build(&self, cache: &Path) -> Ran {
        ran(self.command("build", cache).args(["--no-test", "-o"]).arg(self.path("images")))
    }

    /// The verb on the tiny recipe and this mirror, with nothing from the environment that leads elsewhere.
    pub(crate) fn command(&self, verb: &str, cache: &Path) -> Cmd {
        let command = Cmd::new(coremax(), &Sandbox::host());
        ["http_proxy", "https_proxy", "all_proxy"]
            .into_iter()
            .fold(command, |command, proxy| command.env(proxy, ""))
            .env("no_proxy", "127.0.0.1")
            .args([verb, "tiny.toml", "--mirror", &self.server.url, "--key", "key.asc", "--cache"])
            .arg(cache)
            .current_dir(self.folder.path())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How often the mirror was asked for paths with this end.
    pub(crate) fn asked(&self, end: &str) -> usize {
        let requests = self.server.requests();
        requests.iter().filter(|r| r.split(' ').next().is_some_and(|p| p.ends_with(end))).count()
    }
}

/// It failed with a message that has all `parts`, and with a hint that has `hint`.
pub(crate) fn complained(ran: &Ran, parts: &[&str], hint: &str) -> Outcome {
    if std::env::var_os("COREMAX_SHOW").is_some() {
        print!("{}", ran.err);
    }
    expect(!ran.ok, || format!("it succeeded:\n{}", ran.err))?;
    let complaint = ran.err.split_once("error: ").map_or("", |(_, complaint)| complaint);
    let (error, said) = complaint.split_once("\nhint: ").unwrap_or((complaint, ""));
    for part in parts {
        expect(error.contains(part), || format!("no {part:?} in:\n{}", ran.err))?;
    }
    expect(said.contains(hint), || format!("no hint with {hint:?} in:\n{}", ran.err))
}

/// The build came as far as it can on this mirror: past the tools tree, which lacks what they should hold.
pub(crate) fn went_on(ran: &Ran) -> Outcome {
    let error = ran.err.split_once("error: ").map_or("", |(_, error)| error);
    let ends = ["dpkg", "starting mke2fs", "starting mksquashfs", "configuring"];
    let far = ends.iter().any(|end| error.contains(end)) && !error.contains("No space");
    expect(far, || format!("it did not go on:\n{}", ran.err))
}

/// A program of the host, which may not be allowed here.
pub(crate) fn host(program: &str, arguments: &[&str]) -> Outcome {
    coremax_tests::host(program, arguments).map_err(|error| format!("skipped: {error}"))
}
