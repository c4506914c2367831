//! The checks a guest makes: one for every expectation, and those it always makes.

use std::path::Path;

use anyhow::Result;
use coremax_node_api::boot_test::{Check, Expect, Kind, Listen, Package};

use super::{
    packages::Packages,
    ports,
    systemd::{self, Unit},
};

/// Looks at everything once.
pub(crate) fn make(expect: &Expect, installed: &Packages) -> Result<Vec<Check>> {
    let failed = systemd::failed_units()?;
    let mut checks = vec![system(&systemd::state()?, failed.len())];
    checks.extend(failed.into_iter().map(|(unit, journal)| failed_unit(unit, &journal)));
    let states = systemd::units(&expect.units)?;
    checks.extend(expect.units.iter().zip(&states).map(|(name, state)| unit(name, state)));
    checks.extend(expect.packages.iter().map(|wanted| package(wanted, installed)));
    checks.extend(expect.files.iter().map(|path| file(path)));
    checks.extend(expect.listens.iter().map(|wanted| listen(*wanted)));
    Ok(checks)
}

/// Whether a thing of this kind can become right by itself, a moment after booting.
pub(crate) fn may_still_come(kind: Kind) -> bool {
    matches!(kind, Kind::Unit | Kind::Listen)
}

/// Booting has come to its end. `degraded` only says that a unit failed, and that one has a check
/// of its own.
fn system(state: &str, failed: usize) -> Check {
    let ok = state == "running" || (state == "degraded" && failed > 0);
    let detail = match failed {
        0 => format!("systemd is {state}, no unit failed"),
        1 => format!("systemd is {state}, 1 unit failed"),
        n => format!("systemd is {state}, {n} units failed"),
    };
    Check { name: "booted".into(), kind: Kind::System, ok, detail }
}

fn failed_unit(name: String, journal: &str) -> Check {
    let detail =
        if journal.is_empty() { "failed, with nothing in its journal" } else { journal }.to_owned();
    Check { name, kind: Kind::FailedUnit, ok: false, detail }
}

fn unit(name: &str, state: &Unit) -> Check {
    let detail = match state.load.as_str() {
        "loaded" => format!("{} ({})", state.active, state.sub),
        load => load.to_owned(),
    };
    Check { name: name.to_owned(), kind: Kind::Unit, ok: state.active == "active", detail }
}

fn package(wanted: &Package, installed: &Packages) -> Check {
    let versions = installed.versions(&wanted.name);
    let ok = match &wanted.version {
        Some(version) => versions.contains(version),
        None => !versions.is_empty(),
    };
    let detail = if versions.is_empty() { "not installed".into() } else { versions.join(", ") };
    Check { name: wanted.to_string(), kind: Kind::Package, ok, detail }
}

/// A link counts for itself: what it points at may be made at run time.
fn file(path: &str) -> Check {
    let found = Path::new(path).is_absolute() && Path::new(path).symlink_metadata().is_ok();
    let detail = if found { "there" } else { "missing" }.to_owned();
    Check { name: path.to_owned(), kind: Kind::File, ok: found, detail }
}

fn listen(wanted: Listen) -> Check {
    let ok = ports::listening(wanted);
    let detail = if ok { "listening" } else { "nothing listens" }.to_owned();
    Check { name: wanted.to_string(), kind: Kind::Listen, ok, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_states() {
        let table = [
            ("running", 0, true),
            ("degraded", 2, true),
            ("degraded", 0, false),
            ("starting", 0, false),
            ("maintenance", 1, false),
            ("", 0, false),
        ];
        for (state, failed, ok) in table {
            assert_eq!(system(state, failed).ok, ok, "{state} {failed}");
        }
    }

    #[test]
    fn packages_by_name_and_by_version() {
        let installed = Packages::parse("Package: a\nStatus: install ok installed\nVersion: 1\n");
        for (wanted, ok) in [("a", true), ("a=1", true), ("a=2", false), ("b", false)] {
            assert_eq!(package(&wanted.parse().unwrap(), &installed).ok, ok, "{wanted}");
        }
    }

    #[test]
    fn files_and_units() {
        assert!(file("/proc").ok && !file("/no/such").ok && !file("proc").ok);
        let state = Unit {
            load: "not-found".into(),
            active: "inactive".into(),
            sub: "dead".into(),
            ..Unit::default()
        };
        assert_eq!((unit("a", &state).ok, unit("a", &state).detail.as_str()), (false, "not-found"));
    }
}
