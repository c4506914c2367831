//! Ubuntu 22.04, as far as it can be proven without Ubuntu: a stand-in of its archive has Ubuntu's shape, and recipes
//! are built from it unchanged, with mirror and key on the command line alone, and boot.
//!
//! One program without the harness, since each sentence stands on what the one before has made.

mod apt;
mod images;
mod resolved;
mod shape;

use std::{fs, io::Read as _, path::PathBuf, process::ExitCode};

use coremax_tests::{
    Outcome, Ran, Sentence, cache,
    deb::{Deb, Stanza},
    expect, folder, full, run, skip_all,
    standin::{COMPONENTS, SUITES, StandIn},
    tell,
};

const STORY: &[Sentence<Stage>] = &[
    ("the stand-in has Ubuntu's suites, components, fields and indexes by hash", shape::suites),
    ("apt believes it with its key, and with no other", shape::believed_by_apt),
    ("nor does the command without it: Ubuntu's own key is pinned", resolved::pinned_key),
    (
        "its packages are compressed with zstd, and some of them updates, phased or not",
        shape::packages,
    ),
    ("in its packages lies what Ubuntu's have, where they have it", shape::contents),
    ("its metapackages lead to a kernel whose modules are packages of their own", shape::kernel),
    ("its indexes are taken by hash, whatever lies by their names", resolved::by_hash),
    (
        "a recipe on it is resolved as apt does it, updates that are phased among it",
        resolved::as_apt,
    ),
    (
        "node.toml builds from it unchanged, and boots by BIOS and by UEFI as Ubuntu",
        images::node_boots,
    ),
    ("its /usr was merged before any package could do it", images::is_merged),
    (
        "with Secure Boot on it boots by a firmware that has the signer's key",
        images::node_boots_securely,
    ),
    ("and by no other, nor with a changed kernel", images::is_refused),
    (
        "openstack-controller.toml and kubernetes-node.toml build from it unchanged, and boot by BIOS and by UEFI",
        images::others_boot,
    ),
    ("with netplan in it, it boots as well", images::netplan_boots),
    (
        "sealed by its operator it boots with the loader that Ubuntu has in systemd",
        images::sealed_boots,
    ),
];

/// What the archive must have packages for.
const NODE: &[&str] = &["recipes/node.toml"];
/// The same where all is told: the last have some 500 packages.
const ALL: &[&str] =
    &["recipes/node.toml", "recipes/openstack-controller.toml", "recipes/kubernetes-node.toml"];

/// Where the story plays.
pub(crate) struct Stage {
    pub(crate) archive: StandIn,
    /// The recipes that the archive has packages for.
    pub(crate) recipes: &'static [&'static str],
    pub(crate) work: PathBuf,
}

fn main() -> ExitCode {
    let work = folder("ubuntu");
    let recipes = if full().is_ok() { ALL } else { NODE };
    match StandIn::of(recipes) {
        Ok(archive) => tell(STORY, &Stage { archive, recipes, work }),
        Err(why) => match why.strip_prefix("skipped: ") {
            Some(why) => skip_all(STORY, why),
            None => {
                println!("FAILED   there is no stand-in: {why}\n0 passed, 1 failed, 0 skipped");
                ExitCode::FAILURE
            }
        },
    }
}

impl Stage {
    /// Runs the command on Ubuntu: only mirror and key say so, and the base where the recipe names another.
    pub(crate) fn on_ubuntu(&self, words: &[&str]) -> Ran {
        let archive = self.archive.arguments();
        let archive = archive.iter().map(String::as_str);
        let cache = cache().display().to_string();
        let base: &[&str] =
            if words.contains(&NODE[0]) { &["--base", "ubuntu-22.04"] } else { &[] };
        let fixed = [base, &["--cache", &cache]].concat();
        run(&words.iter().copied().chain(fixed).chain(archive).collect::<Vec<_>>())
    }

    /// All that the archive offers.
    pub(crate) fn index(&self) -> Result<Vec<Stanza>, String> {
        let mut stanzas = Vec::new();
        for (suite, component) in SUITES.iter().flat_map(|(_, it, _)| COMPONENTS.map(|c| (it, c))) {
            let path = format!("dists/{suite}/{component}/binary-amd64/Packages.gz");
            let packed = fs::read(self.archive.root().join(path)).map_err(|e| e.to_string())?;
            let mut text = String::new();
            let mut plain = flate2::read::GzDecoder::new(&packed[..]);
            plain.read_to_string(&mut text).map_err(|e| e.to_string())?;
            let paragraphs = text.split("\n\n").filter(|it| !it.trim().is_empty());
            stanzas.extend(paragraphs.map(Stanza::parse));
        }
        Ok(stanzas)
    }

    /// The first package that is chosen.
    pub(crate) fn deb(&self, chosen: impl Fn(&Stanza) -> bool) -> Result<Deb, String> {
        let index = self.index()?;
        let stanza =
            index.iter().find(|stanza| chosen(stanza)).ok_or("there is no such package")?;
        let path = self.archive.root().join(stanza.get("Filename"));
        Deb::read(&fs::read(&path).map_err(|e| e.to_string())?)
    }
}

pub(crate) fn succeeded(ran: &Ran) -> Outcome {
    expect(ran.ok, || format!("the command failed:\n{}", ran.err))
}

pub(crate) fn says(text: &str, parts: &[&str]) -> Outcome {
    parts.iter().try_for_each(|part| {
        expect(text.contains(part), || format!("there is no {part:?} in:\n{text}"))
    })
}
