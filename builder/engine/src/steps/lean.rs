//! What a machine with a sealed root does without: units that find nothing to do there, and device events
//! that nothing waits for. Whatever starts at boot is paid for at every boot.
//!
//! A unit that a recipe keeps, enables, expects or brings is left as it is; an overlay of the recipe comes
//! later, and so may replace each of the files here.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use coremax_recipe::{Recipe, Units};
use coremax_rootfs::{link, place};

use super::site::file;

/// It asks questions at the console of a machine that has nobody at it.
const IN_EVERY_IMAGE: [&str; 1] = ["systemd-firstboot.service"];
const IN_A_SEALED_ONE: [&str; 7] = [
    // The image's packages do not change: their database needs no copy a day.
    "dpkg-db-backup.timer",
    // They check ext4 on LVM, which neither the root nor the data partition is.
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    // udev loads the drivers of the graphics that are there; logind asks for their core before.
    "modprobe@drm.service",
    // It mounts the root and /usr as fstab has it, where a sealed image has neither.
    "systemd-remount-fs.service",
    // Early boot has grown the data partition.
    "systemd-repart.service",
    // It records the runlevel for SysV's programs.
    "systemd-update-utmp-runlevel.service",
];
/// What they look for is not on a sealed disk, or early boot has done it.
const GENERATORS: [&str; 5] = [
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-system-update-generator",
    "systemd-veritysetup-generator",
];
/// udev starts them when the module comes that they are for; no boot needs it.
const ON_DEMAND: [&str; 2] = ["sys-fs-fuse-connections.mount", "sys-kernel-config.mount"];
/// They start a program that does nothing under systemd, and one that reads the sizes of memory modules.
const RULES: [&str; 2] = ["85-hwclock.rules", "70-memory.rules"];
/// A link to this masks, be it for a unit, a dependency or a generator.
const NULL: &str = "/dev/null";
const FILES: [(&str, &str); 4] = [
    ("/usr/lib/modprobe.d/10-coremax.conf", MODPROBE),
    ("/usr/lib/systemd/system/modprobe@.service.d/10-coremax.conf", ONCE),
    ("/usr/lib/systemd/system/ssh.service.d/10-coremax.conf", UNTESTED),
    ("/usr/lib/systemd/system/systemd-network-generator.service.d/10-coremax.conf", ON_REQUEST),
];
const TRIGGER: &str = "usr/lib/systemd/system/systemd-udev-trigger.service";
/// Options of its own that systemd has from version 251 on; Ubuntu 22.04 has 249.
const PRIORITIZED: &str = "--prioritized-subsystem";
const MODPROBE: &str = "\
# systemd-networkd asks for wireless networks, and the kernel would load this where no machine has any. A
# wireless card's driver still brings it along.
blacklist cfg80211
";
const ONCE: &str = "\
# A module is loaded once, not again with every unit that needs sysinit.target.
[Service]
RemainAfterExit=yes
";
const UNTESTED: &str = "\
# sshd reads its configuration as it starts, and fails by it as well as a run before that only tests it.
[Service]
ExecStartPre=
";
const ON_REQUEST: &str = "\
# Where the kernel's command line speaks of the network.
[Unit]
ConditionKernelCommandLine=|ip
ConditionKernelCommandLine=|ifname
ConditionKernelCommandLine=|net.ifname-policy
ConditionKernelCommandLine=|nameserver
ConditionKernelCommandLine=|rd.route
ConditionKernelCommandLine=|rd.peerdns
ConditionKernelCommandLine=|vlan
ConditionKernelCommandLine=|bond
ConditionKernelCommandLine=|bridge
ConditionKernelCommandLine=|team
";
const COLDPLUG: &str = "\
# No events for drivers and buses, and none for devices that no rule makes anything of: screens' memory,
# clocks, queues. What no service waits for comes later, see coremax-late-devices.service.
[Service]
ExecStart=
ExecStart=-udevadm trigger --type=all --action=add --prioritized-subsystem=module,block,tpmrm,net,tty,input \
--subsystem-nomatch=drivers --subsystem-nomatch=subsystem --subsystem-nomatch=vc \
--subsystem-nomatch=bdi --subsystem-nomatch=wakeup --subsystem-nomatch=workqueue --subsystem-nomatch=clockevents \
--subsystem-nomatch=clocksource --subsystem-nomatch=event_source --subsystem-nomatch=machinecheck \
--subsystem-nomatch=cpu --subsystem-nomatch=serio --attr-nomatch=modalias=acpi:LNXCPU:* \
--attr-nomatch=class=0x03* --attr-nomatch=class=0x0c05*
";
/// What comes when all that boots has been started: the processors' features (ciphers, virtual machines, frequencies),
/// mice, screens beyond the firmware's, system management buses.
const LATE: &str = "\
[Unit]
Description=Drivers of devices that no service waits for
Documentation=man:udevadm(8)
After=multi-user.target
ConditionPathIsReadWrite=/sys

[Service]
Type=exec
RemainAfterExit=yes
ExecStart=udevadm trigger --action=add --subsystem-match=cpu --subsystem-match=serio \
--subsystem-match=acpi --subsystem-match=pci
";
const LATE_UNIT: &str = "/usr/lib/systemd/system/coremax-late-devices.service";
const LATE_WANTED: &str =
    "usr/lib/systemd/system/multi-user.target.wants/coremax-late-devices.service";

/// The units that the image of this recipe masks, its own among them, sorted.
pub(crate) fn masked(recipe: &Recipe) -> Vec<String> {
    let sealed = IN_A_SEALED_ONE.iter().filter(|_| recipe.root.verity);
    let ours = IN_EVERY_IMAGE.iter().chain(sealed).filter(|unit| !wanted(recipe, unit));
    let theirs = recipe.units.mask.iter().map(ToString::to_string);
    let mut all: Vec<_> = ours.map(ToString::to_string).chain(theirs).collect();
    all.sort();
    all.dedup();
    all
}

/// Lays into the tree of a sealed image what makes it do without the rest.
pub(crate) fn lay(tree: &Path, recipe: &Recipe) -> Result<()> {
    let mut files = FILES.map(|(path, text)| file(path, text.as_bytes(), 0o644)).to_vec();
    let trigger = fs::read_to_string(tree.join(TRIGGER)).unwrap_or_default();
    if trigger.contains(PRIORITIZED) {
        let path = format!("/{TRIGGER}.d/10-coremax.conf");
        files.push(file(&path, COLDPLUG.as_bytes(), 0o644));
        files.push(file(LATE_UNIT, LATE.as_bytes(), 0o644));
        link(tree, Path::new(LATE_WANTED), Path::new("../coremax-late-devices.service"))
            .context("starting the drivers that come late")?;
    }
    place(tree, &files)?;
    let generators = GENERATORS.map(|name| format!("etc/systemd/system-generators/{name}"));
    let on_demand = ON_DEMAND.iter().filter(|unit| !wanted(recipe, unit));
    let on_demand = on_demand.map(|unit| format!("etc/systemd/system/sysinit.target.wants/{unit}"));
    let rules = RULES.map(|name| format!("etc/udev/rules.d/{name}"));
    for path in on_demand.chain(generators).chain(rules) {
        link(tree, Path::new(&path), Path::new(NULL))
            .with_context(|| format!("masking /{path}"))?;
    }
    Ok(())
}

/// Whether the recipe names the unit, or brings one of that name.
fn wanted(recipe: &Recipe, unit: &str) -> bool {
    let Units { enable, keep, .. } = &recipe.units;
    let named = [enable, keep, &recipe.expect.units].into_iter().flatten();
    named.into_iter().any(|name| name.as_str() == unit) || brought(recipe, unit)
}

fn brought(recipe: &Recipe, unit: &str) -> bool {
    ["etc", "usr/lib"].into_iter().any(|folder| {
        let path = format!("{folder}/systemd/system/{unit}");
        let laid = |source: &Path| source.join(&path).symlink_metadata().is_ok();
        recipe.overlays.iter().any(|overlay| laid(&overlay.source))
            || recipe.files.iter().any(|file| file.path.as_str().strip_prefix('/') == Some(&*path))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::steps::tests::recipe;

    #[test]
    fn a_unit_that_the_recipe_wants_is_not_masked() {
        let all = masked(&recipe(""));
        assert_eq!(all.len(), IN_EVERY_IMAGE.len() + IN_A_SEALED_ONE.len());
        assert_eq!(masked(&recipe("[root]\nverity = false")), IN_EVERY_IMAGE);
        for key in ["[units]\nkeep", "[units]\nenable", "[expect]\nunits"] {
            let some = masked(&recipe(&format!("{key} = [\"e2scrub_all.timer\"]")));
            assert_eq!(some.len(), all.len() - 1, "{key}");
            assert!(!some.iter().any(|unit| unit == "e2scrub_all.timer"), "{key}");
        }
        let more = masked(&recipe("[units]\nmask = [\"a.service\", \"e2scrub_all.timer\"]"));
        assert_eq!(more.len(), all.len() + 1);
        assert_eq!(more[0], "a.service");
        let file = "[[file]]\npath = \"/etc/systemd/system/e2scrub_all.timer\"\ncontent = \"\"";
        assert_eq!(masked(&recipe(file)).len(), all.len() - 1);
    }

    #[test]
    fn coldplug_stays_where_systemd_does_not_know_the_options() {
        for (unit, laid) in
            [("ExecStart=udevadm trigger --prioritized-subsystem=net", true), ("", false)]
        {
            let tree = tree();
            fs::create_dir_all(tree.path().join(TRIGGER).parent().unwrap()).unwrap();
            fs::write(tree.path().join(TRIGGER), unit).unwrap();
            lay(tree.path(), &recipe("")).unwrap();
            assert_eq!(tree.path().join(format!("{TRIGGER}.d/10-coremax.conf")).exists(), laid);
        }
    }

    /// With an owner who may be given files, whoever runs the test.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let own = fs::metadata(tree.path()).unwrap();
        let (uid, gid) = (own.uid(), own.gid());
        fs::create_dir(tree.path().join("etc")).unwrap();
        fs::write(tree.path().join("etc/passwd"), format!("root:x:{uid}:{gid}:::\n")).unwrap();
        fs::write(tree.path().join("etc/group"), format!("root:x:{gid}:\n")).unwrap();
        tree
    }

    #[test]
    fn dependencies_and_generators_are_masked_by_a_link() {
        let tree = tree();
        lay(tree.path(), &recipe("[units]\nkeep = [\"sys-kernel-config.mount\"]")).unwrap();
        let link = |path: &str| fs::read_link(tree.path().join("etc/systemd").join(path)).ok();
        let wants = "system/sysinit.target.wants";
        let null = Some(Path::new(NULL).to_owned());
        assert_eq!(link(&format!("{wants}/sys-fs-fuse-connections.mount")), null);
        assert_eq!(link(&format!("{wants}/sys-kernel-config.mount")), None);
        assert_eq!(link("system-generators/systemd-gpt-auto-generator"), null);
        assert!(COLDPLUG.lines().all(|line| !line.ends_with('\\')), "a line was broken");
    }
}
