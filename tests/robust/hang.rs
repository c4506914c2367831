//! Guests that hang. Firmware, boot loader and kernel are in builder/machine/tests; here are the stages that
//! need a real image: a node whose recipe makes it hang.
//!
//! Packages and tools come from the cache that tests/boot fills.

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, cache, coremax, expect, project, ran};

use crate::stage::Stage;

/// Of the usual deadlines. Less, and a host with other work loses guests in the boot loader, which reads the initrd
/// through the BIOS.
const PATIENCE: &str = "0.4";

/// A unit that never gets done, and whom it keeps waiting.
const SLEEPER: &str = r#"
[[file]]
path = "/usr/lib/systemd/system/sleeper.service"
content = """
[Unit]
Description=Sleeps
DefaultDependencies=no
Before=BEFORE
[Service]
Type=oneshot
ExecStart=/usr/bin/sleep infinity
[Install]
WantedBy=BEFORE
"""
"#;

/// Early boot waits an hour for data that is on no disk.
pub(crate) fn init(_: &Stage) -> Outcome {
    let never = "\"coremax.wait=3600\", \"coremax.data=12345678-0000-4000-8000-123456789abc\", ";
    let change = |node: &str| node.replace("command-line = [", &format!("command-line = [{never}"));
    hangs("init", change, &["in the stage init", "hint: the initial RAM disk did not hand over"])
}

pub(crate) fn systemd(_: &Stage) -> Outcome {
    if std::env::var_os("COREMAX_FULL").is_none() {
        return Err("skipped: it takes minutes; COREMAX_FULL=1 runs it".into());
    }
    let wanted = ["in the stage systemd", "hint: systemd did not start coremax-boot-test.service"];
    hangs("systemd", |node| asleep(node, "sysinit.target"), &wanted)
}

pub(crate) fn node(_: &Stage) -> Outcome {
    if std::env::var_os("COREMAX_FULL").is_none() {
        return Err("skipped: it takes minutes; COREMAX_FULL=1 runs it".into());
    }
    let wanted = ["in the stage node", "waiting for sleeper.service", "a higher --patience"];
    hangs("node", |node| asleep(node, "multi-user.target"), &wanted)
}

fn asleep(node: &str, before: &str) -> String {
    let unit = SLEEPER.replace("BEFORE", before);
    node.replace("enable = [", "enable = [\"sleeper.service\", ")
        .replace("[[output]]", &format!("{unit}\n[[output]]"))
}

/// A node so changed does not come up, and the build says in which stage, with all of `wanted`.
fn hangs(name: &str, change: impl FnOnce(&str) -> String, wanted: &[&str]) -> Outcome {
    let project = project(name, change);
    let recipe = format!("recipes/{name}.toml");
    let ran = ran(Cmd::new(coremax(), &Sandbox::host())
        .args([
            "build",
            &recipe,
            "--firmware",
            "bios",
            "--patience",
            PATIENCE,
            "-o",
            "images",
            "--cache",
        ])
        .arg(cache())
        .current_dir(project.path()));
    if std::env::var_os("COREMAX_SHOW").is_some() {
        print!("{}", ran.err);
    }
    let complaint = ran.err.split_once("error: ").map_or("", |(_, complaint)| complaint);
    expect(!ran.ok, || format!("it came up:\n{}", ran.err))?;
    for part in wanted {
        expect(complaint.contains(part), || format!("no {part:?} in:\n{}", ran.err))?;
    }
    let log = project.path().join("images/node/failed/qcow2-bios/serial.log");
    expect(log.exists(), || format!("{} is missing:\n{}", log.display(), ran.err))
}
