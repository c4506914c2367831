//! In what Ubuntu's packages differ from Debian's, as far as a build can tell: one row each.

use super::{boot, kernel, pool::Pool, signing::Signing, systemd};
use crate::Outcome;

/// Makes Ubuntu's packages out of Debian's.
type Change = fn(&mut Pool, &Signing) -> Outcome;

/// All changes, in their order.
pub(super) const CHANGES: [(&str, Change); 8] = [
    ("base-files says that it is Ubuntu", |pool, _| base_files(pool)),
    ("usrmerge is what merges /usr, and goes by no other name", |pool, _| usrmerge(pool)),
    ("systemd has not split off resolved", |pool, _| systemd::keeps(pool, "systemd-resolved")),
    ("nor its boot loader", |pool, _| systemd::keeps(pool, "systemd-boot-efi")),
    ("the kernel is signed, and its modules are packages of their own", kernel::split),
    ("metapackages lead to it", |pool, _| kernel::metapackages(pool)),
    ("shim is signed, and its newest name ends in .latest", boot::shim),
    ("GRUB is signed, and looks into /EFI/ubuntu", boot::grub),
];

const OS_RELEASE: &str = r#"PRETTY_NAME="Ubuntu 22.04.5 LTS"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04.5 LTS (Jammy Jellyfish)"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=jammy
"#;
const LSB_RELEASE: &str = r#"DISTRIB_ID=Ubuntu
DISTRIB_RELEASE=22.04
DISTRIB_CODENAME=jammy
DISTRIB_DESCRIPTION="Ubuntu 22.04.5 LTS"
"#;

fn base_files(pool: &mut Pool) -> Outcome {
    pool.change("base-files", |deb| {
        for (path, text) in [
            ("etc/debian_version", "bookworm/sid\n"),
            ("etc/issue", "Ubuntu 22.04.5 LTS \\n \\l\n\n"),
            ("etc/issue.net", "Ubuntu 22.04.5 LTS\n"),
            ("etc/lsb-release", LSB_RELEASE),
            ("usr/lib/os-release", OS_RELEASE),
        ] {
            deb.data.put(path, 0o644, text.as_bytes());
        }
        let conffiles = deb.control.text("conffiles").unwrap_or_default() + "/etc/lsb-release\n";
        deb.control.put("conffiles", 0o644, conffiles.as_bytes());
    })
}

/// Whoever has init-system-helpers has it: a package that only says that /usr is merged came later.
fn usrmerge(pool: &mut Pool) -> Outcome {
    pool.leave_out(&["usr-is-merged"]);
    pool.change_stanza("usrmerge", |stanza| stanza.without(&["Provides"]))?;
    pool.change_stanza("init-system-helpers", |stanza| {
        let others = stanza.without_clause("Depends", "usrmerge");
        let depends = [others.get("Depends"), "usrmerge"].join(", ");
        others.with("Depends", depends.trim_start_matches(", "))
    })
}
