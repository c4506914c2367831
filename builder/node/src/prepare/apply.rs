//! Has what was written read.
//!
//! Who is to be told stands in a file in /run before anything is written: a program that dies in between tells them when
//! it is started again. After a boot there is nobody to tell: all was read anew.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result};
use coremax_sandbox::{Cmd, Sandbox};

use super::{
    FAMILIES, Facts, Reader, files, network,
    write::{Plan, within},
};
use crate::durable::{remove, replace};

const NETWORKD: &str = "systemd-networkd.service";
const PENDING: &str = "/run/coremax/prepare";
const ALL: [(Reader, &str); 4] = [
    (Reader::Hostname, "hostname"),
    (Reader::Network, "network"),
    (Reader::Clock, "clock"),
    (Reader::Ssh, "ssh"),
];

/// [`super::prepare`] below `root`, with those told by `tell`.
pub(super) fn prepare(
    root: &Path,
    facts: &Facts<'_>,
    tell: &mut dyn FnMut(Reader, &Facts<'_>) -> Result<()>,
) -> Result<Vec<String>> {
    let files = files(facts);
    let plan = Plan::of(root, &files, &FAMILIES);
    let pending = within(root, PENDING);
    let mut readers = read(&pending)?;
    readers.extend(plan.readers().filter(|reader| *reader != Reader::Nobody));
    note(&pending, &readers)?;
    plan.carry_out(root)?;
    for (reader, _) in ALL {
        if readers.contains(&reader) {
            tell(reader, facts)?;
            readers.remove(&reader);
            note(&pending, &readers)?;
        }
    }
    Ok(warnings(root))
}

fn warnings(root: &Path) -> Vec<String> {
    let netplan = network::netplan(root);
    let warning = format!(
        "netplan's files ({}) say nothing of the cards that the roster names",
        netplan.join(", ")
    );
    if netplan.is_empty() { Vec::new() } else { vec![warning] }
}

/// Tells one of them, and waits for none: who calls answers a cluster meanwhile. A service that does not run reads its files when it starts.
pub(super) fn tell(reader: Reader, facts: &Facts<'_>) -> Result<()> {
    let name = facts.own.name.to_string();
    match reader {
        Reader::Nobody => Ok(()),
        Reader::Hostname => {
            rustix::system::sethostname(name.as_bytes()).context("setting the host name")
        }
        Reader::Network if !is_active(NETWORKD) => Ok(()),
        Reader::Network => run("networkctl", &["reload"]),
        Reader::Clock => run("systemctl", &["--no-block", "try-restart", "chrony.service"]),
        Reader::Ssh => run("systemctl", &["--no-block", "try-reload-or-restart", "ssh.service"]),
    }
}

fn is_active(unit: &str) -> bool {
    let asked = ["is-active", "--quiet", unit];
    Cmd::new("systemctl", &Sandbox::host()).args(asked).run().is_ok()
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let ran = Cmd::new(program, &Sandbox::host()).args(arguments).run();
    ran.map(drop).with_context(|| format!("running {program} {}", arguments.join(" ")))
}

fn read(pending: &Path) -> Result<BTreeSet<Reader>> {
    match fs::read_to_string(pending) {
        Ok(text) => {
            let is_named = |(_, word): &&(Reader, &str)| text.lines().any(|line| line == *word);
            Ok(ALL.iter().filter(is_named).map(|(reader, _)| *reader).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", pending.display())),
    }
}

fn note(pending: &Path, readers: &BTreeSet<Reader>) -> Result<()> {
    let words = ALL.iter().filter(|(reader, _)| readers.contains(reader));
    let text: String = words.map(|(_, word)| format!("{word}\n")).collect();
    let noted = match text.is_empty() {
        true => remove(pending),
        false => replace(pending, text.as_bytes(), 0o600),
    };
    noted.with_context(|| format!("writing {}", pending.display()))
}
