//! systemd before its parts were split off: 249 has resolved and the boot loader in one package.

use super::pool::Pool;
use crate::Outcome;

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Puts what Debian has split off back into the package systemd.
pub(super) fn keeps(pool: &mut Pool, part: &str) -> Outcome {
    let mut part = pool.take(part)?;
    let name = part.stanza().get("Package").to_owned();
    part.data.take(|path| path.starts_with(&format!("usr/share/lintian/overrides/{name}")));
    pool.change("systemd", |systemd| {
        for script in SCRIPTS {
            if let Some(text) = part.control.text(script) {
                // Each begins with its interpreter and `set -e`.
                let before =
                    systemd.control.text(script).unwrap_or_else(|| "#!/bin/sh\nset -e\n".into());
                systemd.control.put(script, 0o755, (before + "\n" + &text).as_bytes());
            }
        }
        let conffiles =
            [&systemd.control, &part.control].map(|it| it.text("conffiles").unwrap_or_default());
        systemd.control.put("conffiles", 0o644, conffiles.concat().as_bytes());
        systemd.data.extend(part.data);
    })
}
