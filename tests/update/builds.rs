//! The versions of the story, each built from one recipe when it is first asked for, and signed with one key.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Firmware, Outcome, Ran, cache, expect, failed, guest::SHELL, project, run_in};
use serde_json::Value;

use crate::{Stage, says};

/// A version of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Version {
    pub(crate) number: &'static str,
    /// A unit of its own, which makes it a bad one.
    unit: &'static str,
    /// A package of its own.
    package: &'static str,
    /// Whether its operator signs all that boots.
    is_sealed: bool,
}

/// Root's key is the old one.
pub(crate) const ONE: Version = Version { number: "1", unit: "", package: "", is_sealed: false };
/// Root's key is the new one, and there is a user.
pub(crate) const TWO: Version = Version { number: "2", ..ONE };
pub(crate) const SICK: Version = Version { number: "3", unit: FAILS, ..ONE };
pub(crate) const PANICS: Version = Version { number: "4", unit: PANIC, ..ONE };
pub(crate) const HANGS: Version = Version { number: "5", unit: HANG, ..ONE };
pub(crate) const LATE: Version = Version { number: "6", unit: SLEEPS, ..ONE };
/// It can take itself apart.
pub(crate) const DISSECTING: Version = Version { number: "7", package: "systemd-container", ..ONE };

impl Version {
    /// The same, signed by its operator.
    pub(crate) const fn sealed(self) -> Self {
        Self { is_sealed: true, ..self }
    }

    /// What its update is called on a machine's second disk.
    pub(crate) fn file(self) -> String {
        format!("{}{}", if self.is_sealed { "sealed-" } else { "" }, self.number)
    }

    fn recipe(self, node: &str) -> String {
        let mut text = node.replace("[kernel]\n", "[kernel]\nmodules = \"cloud\"\n");
        let mut add = |more: &str| text += more;
        add(SHELL);
        let (was, is) = ("old.pub", "new.pub");
        let number = self.number;
        add(&format!(
            "\n[[file]]\npath = \"/usr/lib/coremax-tests/version\"\ncontent = \"{number}\"\n"
        ));
        let key = if self == ONE || self == ONE.sealed() { was } else { is };
        add(&format!("\n[access]\nssh-keys = [\"{{{key}}}\"]\n"));
        if number == TWO.number {
            add(&format!("\n[[user]]\nname = \"ada\"\nuid = 1500\nssh-keys = [\"{{{is}}}\"]\n"));
        }
        if !self.package.is_empty() {
            add(&format!("\n[packages]\ninstall = [\"{}\"]\n", self.package));
        }
        add("\n[root]\nupdate-key = \"update.key.pub\"\n");
        if self.is_sealed {
            add("secure-boot = \"sealed\"\n");
        }
        if self.unit == SLEEPS {
            add(SOON);
        }
        if self.unit.is_empty() {
            return text;
        }
        add(&format!(
            "\n[[file]]\npath = \"/usr/lib/systemd/system/sick.service\"\ncontent = '''{}'''\n",
            self.unit
        ));
        text.replace("enable = [", "enable = [\"sick.service\", ")
    }
}

/// What makes a version a bad one.
const FAILS: &str = r#"
[Unit]
Description=Never well
Before=coremax-health.target
[Service]
Type=oneshot
ExecStart=/bin/false
[Install]
RequiredBy=coremax-health.target
"#;
const PANIC: &str = r#"
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh -c "echo c > /proc/sysrq-trigger"
[Install]
WantedBy=sysinit.target
"#;
/// Health never comes, and its deadline sooner than in ten minutes.
const SLEEPS: &str = r#"
[Unit]
Before=coremax-health.target
[Service]
Type=oneshot
ExecStart=/bin/sleep infinity
[Install]
RequiredBy=coremax-health.target
"#;
const SOON: &str = r#"
[[file]]
path = "/usr/lib/systemd/system/coremax-deadline.timer.d/soon.conf"
content = """
[Timer]
OnBootSec=
OnBootSec=100s
"""
"#;
/// systemd stands still when it gets a signal that only a fault of its own sends.
const HANG: &str = r#"
[Unit]
DefaultDependencies=no
After=systemd-udev-settle.service
Wants=systemd-udev-settle.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c "until test -e /dev/watchdog0; do sleep 1; done; sleep 5; kill -SEGV 1"
[Install]
WantedBy=multi-user.target
"#;

/// Where the versions are built.
pub(crate) struct Builds;

impl Builds {
    /// Makes the key and an update.
    pub(crate) fn signs(stage: &Stage) -> Outcome {
        let key = stage.keys()?;
        let secret = fs::read(&key).map_err(|e| e.to_string())?;
        let again = run_in(&stage.work, &["key", "new", UPDATE_KEY]);
        expect(!again.ok && again.err.contains("is there already"), || again.err)?;
        expect(fs::read(&key).is_ok_and(|now| now == secret), || "the key is another".into())?;
        stage.update(TWO)?;
        let sums = fs::read_to_string(stage.result(TWO).join("SHA256SUMS"));
        says(&sums.map_err(|e| e.to_string())?, &["  node.coremax-update\n", "  node.qcow2\n"])
    }

    /// Builds version 1 without and then with an update.
    pub(crate) fn adds_an_update(stage: &Stage) -> Outcome {
        stage.build(ONE, &[])?;
        let plain = stage.manifest(ONE)?;
        expect(plain["update"].is_null(), || "there is an update that nobody wanted".into())?;
        stage.build(ONE, SIGNED)?;
        let signed = stage.manifest(ONE)?;
        expect(signed["artefacts"] == plain["artefacts"], || "the image is another".into())?;
        let size = fs::metadata(stage.update(ONE)?).map_err(|e| e.to_string())?.len();
        expect(signed["update"]["size"] == size, || format!("{}", signed["update"]))?;
        let again = stage.build(ONE, SIGNED)?;
        expect(again.err.contains("unchanged"), || format!("it was made again:\n{}", again.err))
    }

    /// Signs with a key that no node of the recipe believes.
    pub(crate) fn other_key(stage: &Stage) -> Outcome {
        let made = run_in(&stage.work, &["key", "new", OTHER_KEY]);
        expect(made.ok, || made.err)?;
        match stage.build(ONE, &["--sign-key", OTHER_KEY]) {
            Ok(_) => Err("it was signed".into()),
            Err(said) => says(&said, &["no node of node would believe", "hint: ", "update-key"]),
        }
    }
}

const UPDATE_KEY: &str = "update.key";
const OTHER_KEY: &str = "other.key";
const SECURE_BOOT_KEY: &str = "secure-boot.key";
const SIGNED: &[&str] = &["--sign-key", UPDATE_KEY];

impl Stage {
    /// All keys of the story: the one that signs updates, which is returned, the one that signs what boots, and two
    /// for SSH.
    fn keys(&self) -> Result<PathBuf, String> {
        let key = self.work.join(UPDATE_KEY);
        if key.exists() {
            return Ok(key);
        }
        for name in ["old", "new"] {
            Cmd::new("ssh-keygen", &Sandbox::host())
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(self.work.join(name))
                .run()
                .map_err(|e| failed(&e, "openssh-client"))?;
        }
        for words in
            [&["key", "new", UPDATE_KEY][..], &["key", "new", "--secure-boot", SECURE_BOOT_KEY]]
        {
            let made = run_in(&self.work, words);
            expect(made.ok, || made.err)?;
        }
        Ok(key)
    }

    pub(crate) fn image(&self, version: Version) -> Result<PathBuf, String> {
        let image = self.result(version).join("node.qcow2");
        if !image.exists() {
            self.build(version, SIGNED)?;
        }
        Ok(image)
    }

    pub(crate) fn update(&self, version: Version) -> Result<PathBuf, String> {
        self.image(version)?;
        Ok(self.result(version).join("node.coremax-update"))
    }

    /// A disk to write to, with this version on it.
    pub(crate) fn disk(&self, version: Version, work: &Path) -> Result<PathBuf, String> {
        fs::create_dir_all(work).map_err(|e| e.to_string())?;
        let disk = work.join("disk.qcow2");
        fs::copy(self.image(version)?, &disk).map_err(|e| e.to_string())?;
        Ok(disk)
    }

    /// A file system in `work` with these updates, and both keys for SSH.
    pub(crate) fn files(&self, versions: &[Version], work: &Path) -> Result<PathBuf, String> {
        let (folder, image) = (work.join("files"), work.join("files.ext4"));
        let _ = fs::remove_file(&image);
        self.keys()?;
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let mut room = 64 << 20;
        for version in versions {
            let update = self.update(*version)?;
            room += fs::metadata(&update).map_err(|e| e.to_string())?.len() * 11 / 10;
            let _ = fs::hard_link(&update, folder.join(version.file())); // it is there already
        }
        for key in ["old", "new"] {
            fs::copy(self.work.join(key), folder.join(key)).map_err(|e| e.to_string())?;
        }
        Cmd::new("mke2fs", &Sandbox::host())
            .args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"])
            .args([&folder, &image])
            .arg(format!("{}k", room >> 10))
            .run()
            .map_err(|e| failed(&e, "e2fsprogs"))?;
        Ok(image)
    }

    /// Firmware that believes what the operator of the sealed versions signs.
    pub(crate) fn own_keys(&self, version: Version) -> Result<Firmware, String> {
        self.image(version)?;
        Ok(Firmware::OwnKeys(self.result(version).join("secure-boot.cer")))
    }

    fn build(&self, version: Version, more: &[&str]) -> Result<Ran, String> {
        self.keys()?;
        let project = project("update", |node| version.recipe(node));
        let recipe = project.path().join("recipes/update.toml");
        let mut text = fs::read_to_string(&recipe).map_err(|e| e.to_string())?;
        for name in ["old.pub", "new.pub"] {
            let key = fs::read_to_string(self.work.join(name)).map_err(|e| e.to_string())?;
            text = text.replace(&format!("{{{name}}}"), key.trim_end());
        }
        fs::write(&recipe, text).map_err(|e| e.to_string())?;
        for key in [UPDATE_KEY, OTHER_KEY, SECURE_BOOT_KEY] {
            for name in [key.to_owned(), format!("{key}.pub"), format!("{key}.crt")] {
                let _ = fs::copy(self.work.join(&name), project.path().join(&name)); // not all have all
            }
        }
        let (cache, output) = (cache(), self.results(version));
        let [cache, output] = [&cache, &output].map(|path| path.to_str().expect("a path in UTF-8"));
        let build =
            ["build", "recipes/update.toml", "--no-test", "--image-version", version.number];
        let certificate = format!("{SECURE_BOOT_KEY}.crt");
        let sealed = ["--secure-boot-key", SECURE_BOOT_KEY, "--secure-boot-cert", &certificate];
        let sealed = if version.is_sealed { &sealed[..] } else { &[] };
        let words = [&build[..], &["--cache", cache, "-o", output], sealed, more].concat();
        let ran = run_in(project.path(), &words);
        if ran.ok { Ok(ran) } else { Err(ran.err) }
    }

    fn results(&self, version: Version) -> PathBuf {
        self.work.join(if version.is_sealed { "sealed-images" } else { "images" })
    }

    pub(crate) fn result(&self, version: Version) -> PathBuf {
        self.results(version).join("node").join(format!("{}.untested", version.number))
    }

    fn manifest(&self, version: Version) -> Result<Value, String> {
        let path = self.result(version).join("manifest.json");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    }
}
