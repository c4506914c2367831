//! Just enough of a reader of Packages for the oracle: field and folded lines, nothing checked.

use coremax_archive::Package;
use coremax_fetch::Digest;

pub(crate) fn packages(text: &str, source: usize) -> impl Iterator<Item = Package> {
    text.split("\n\n")
        .filter(|stanza| !stanza.trim().is_empty())
        .map(move |stanza| package(stanza, source))
}

fn package(stanza: &str, source: usize) -> Package {
    let field = |name: &str| -> String {
        let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    Package {
        name: field("Package"),
        version: field("Version"),
        architecture: field("Architecture"),
        multi_arch: field("Multi-Arch"),
        essential: field("Essential") == "yes",
        priority: field("Priority"),
        section: field("Section"),
        pre_depends: field("Pre-Depends"),
        depends: field("Depends"),
        recommends: field("Recommends"),
        suggests: field("Suggests"),
        enhances: field("Enhances"),
        conflicts: field("Conflicts"),
        breaks: field("Breaks"),
        provides: field("Provides"),
        replaces: field("Replaces"),
        filename: field("Filename"),
        size: field("Size").parse().unwrap_or_default(),
        installed_size: field("Installed-Size").parse().unwrap_or_default(),
        digest: field("SHA256").parse().unwrap_or_else(|_| Digest::of("")),
        phased: None,
        source,
        pin: 500,
    }
}
