//! dpkg's status file.

use std::{collections::HashSet, fmt::Write};

use crate::unpack::{Package, conffiles};

/// The fields that dpkg knows, in the order in which it writes them. Set by dpkg (`fieldinfos`); a
/// field that is not among them follows after, as it came.
const ORDER: [&str; 23] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Conflicts",
    "Breaks",
    "Enhances",
];
/// As [`ORDER`], after the configuration files.
const LAST: [&str; 1] = ["Description"];

/// The stanzas of packages whose lists of paths are in `lists`, in the same order.
pub(super) fn text(packages: &[Package], lists: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for (package, list) in packages.iter().zip(lists) {
        stanza(&mut text, package, list);
        text.push('\n');
    }
    text
}

fn stanza(text: &mut String, package: &Package, list: &[u8]) {
    for name in ORDER {
        let value = match name {
            "Status" => Some("install ok unpacked"),
            _ => package.control.stanza.get(name),
        };
        field(text, name, value.unwrap_or_default());
    }
    field(text, "Conffiles", &conffile_lines(package, list));
    for name in LAST {
        field(text, name, package.control.field(name));
    }
    let known = |name: &str| {
        ORDER.iter().chain(&LAST).any(|known| known.eq_ignore_ascii_case(name))
            || name.eq_ignore_ascii_case("Conffiles")
    };
    for (name, value) in package.control.stanza.fields().filter(|(name, _)| !known(name)) {
        field(text, name, value);
    }
}

fn field(text: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let blank = if value.starts_with('\n') { "" } else { " " };
    writeln!(text, "{name}:{blank}{value}").expect("a String takes all");
}

/// What is still to be installed; the digests are dpkg's to fill in. A file that went to another
/// package is not among them.
fn conffile_lines(package: &Package, list: &[u8]) -> String {
    let listed: HashSet<&[u8]> = list.split(|&byte| byte == b'\n').collect();
    let mut lines = String::new();
    for file in conffiles(&package.control) {
        if file.remove_on_upgrade {
            write!(lines, "\n {} newconffile remove-on-upgrade", file.path)
        } else if listed.contains(file.path.as_bytes()) {
            write!(lines, "\n {} newconffile", file.path)
        } else {
            continue;
        }
        .expect("a String takes all");
    }
    lines
}
