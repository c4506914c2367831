//! Secure Boot as an attacker finds it: what the chain starts, and what it refuses once a byte of it is another.
//!
//! The image that the distribution signed is booted by the boot story; here it is changed. The one that its operator
//! signed is built, booted by firmware that has the operator's certificate, and changed. `COREMAX_FULL=1` changes every
//! link of both chains, and shows that it is Secure Boot that refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use coremax_tests::{
    Disk, Firmware, Outcome, Ran, Sentence, cache, expect, files, folder, full, project,
    repository, run_in, tell,
};

const STORY: &[Sentence<Stage>] = &[
    ("an image is built that the distribution signed", builds_shim),
    ("a kernel with a changed byte is refused by GRUB", changed_kernel),
    ("a GRUB with a changed byte is refused by the shim", changed_grub),
    ("both are started where Secure Boot is off", unguarded),
    ("an image is not sealed without a key", no_key),
    ("a sealed image boots by firmware with its operator's certificate", sealed_boots),
    ("the same key makes the same bytes, and the key is nowhere in them", same_bytes),
    ("a unified image with a changed byte is refused by the firmware", changed_image),
    ("so is a changed command line, a changed initrd, and a changed loader", changed_rest),
    ("a changed byte of a sealed root is refused by dm-verity", changed_root),
    ("firmware with another's keys does not start a sealed image", other_keys),
];

/// Text of a kernel's header, which nothing needs to boot.
const KERNEL: &str = "debian-kernel@lists.debian.org";
/// Text of GRUB's own.
const GRUB: &str = "GNU GRUB  version";
/// What GRUB says of a kernel that the shim does not let it start.
const REFUSED_BY_GRUB: &str = "coremax: slot a cannot be loaded";
/// What systemd-boot says of an image that the firmware does not start.
const REFUSED: &str = "Error loading";
/// What the firmware says of a loader that it does not start.
const NOT_STARTED: &str = "Access Denied";
/// What runs when the kernel does.
const RUNS: &str = "Linux version 6";

/// No key hides in a file that is larger: the images themselves are, and are looked at apart.
const LARGE: u64 = 64 << 20;

/// Where the story plays.
struct Stage {
    work: PathBuf,
}

fn main() -> ExitCode {
    let work = folder("secure");
    tell(STORY, &Stage { work })
}

impl Stage {
    fn path(&self, name: &str) -> String {
        self.work.join(name).display().to_string()
    }

    fn build(&self, folder: &Path, recipe: &str, output: &str, more: &[&str]) -> Ran {
        let (cache, output) = (cache().display().to_string(), self.path(output));
        let fixed = ["build", recipe, "--cache", &cache, "-o", &output, "--image-version", "1"];
        run_in(folder, &[&fixed[..], more].concat())
    }

    /// Builds the sealed image and boots it by firmware with this key's certificate.
    fn build_sealed(&self, output: &str, more: &[&str]) -> Ran {
        let project =
            project("sealed", |node| format!("{node}\n[root]\nsecure-boot = \"sealed\"\n"));
        self.build(project.path(), "recipes/sealed.toml", output, more)
    }

    fn key(&self) -> [String; 4] {
        let (key, certificate) = (self.path("secure-boot.key"), self.path("secure-boot.key.crt"));
        ["--secure-boot-key".into(), key, "--secure-boot-cert".into(), certificate]
    }

    fn shim(&self) -> Result<Disk, String> {
        Disk::of(&self.work.join("shim/node/1.untested/node.qcow2"), &self.work)
    }

    fn sealed(&self) -> Result<Disk, String> {
        Disk::of(&self.work.join("sealed/node/1/node.qcow2"), &self.work)
    }

    fn own_keys(&self) -> Firmware {
        Firmware::OwnKeys(self.work.join("sealed/node/1/secure-boot.cer"))
    }
}

fn succeeded(ran: &Ran) -> Outcome {
    expect(ran.ok, || format!("the command failed:\n{}", ran.err))
}

fn builds_shim(stage: &Stage) -> Outcome {
    succeeded(&stage.build(&repository(), "recipes/node.toml", "shim", &["--no-test"]))
}

fn changed_kernel(stage: &Stage) -> Outcome {
    let disk = stage.shim()?;
    disk.flip(KERNEL)?;
    disk.says(&Firmware::Microsoft, REFUSED_BY_GRUB, &[RUNS])
}

fn changed_grub(stage: &Stage) -> Outcome {
    full()?;
    let disk = stage.shim()?;
    disk.flip(GRUB)?;
    disk.says(&Firmware::Microsoft, "Security Violation", &[RUNS, "coremax: loading"])
}

fn unguarded(stage: &Stage) -> Outcome {
    full()?;
    let disk = stage.shim()?;
    disk.flip(GRUB)?;
    disk.flip(KERNEL)?;
    disk.says(&Firmware::Uefi, RUNS, &[REFUSED_BY_GRUB])
}

fn no_key(stage: &Stage) -> Outcome {
    let ran = stage.build_sealed("none", &["--no-test"]);
    expect(!ran.ok && ran.err.contains("coremax key new --secure-boot"), || ran.err)
}

fn sealed_boots(stage: &Stage) -> Outcome {
    let file = stage.path("secure-boot.key");
    succeeded(&run_in(&stage.work, &["key", "new", "--secure-boot", &file]))?;
    let key = stage.key();
    let key: Vec<_> = key.iter().map(String::as_str).collect();
    let ran = stage.build_sealed("sealed", &[&key[..], &["--firmware", "secure"]].concat());
    print!("{}", ran.err);
    succeeded(&ran)?;
    let report = fs::read_to_string(stage.work.join("sealed/node/1/report.html"));
    let report = report.map_err(|e| e.to_string())?;
    expect(report.contains("EFI, Secure Boot on"), || "the guest does not say so".into())
}

fn same_bytes(stage: &Stage) -> Outcome {
    full()?;
    let key = stage.key();
    let key: Vec<_> = key.iter().map(String::as_str).collect();
    let own = fs::read_to_string(key[1]).map_err(|e| e.to_string())?;
    let secret: Vec<_> = own.lines().filter(|line| !line.starts_with('-')).collect();
    let line = secret.get(5).ok_or("the key is no PEM")?.as_bytes();
    let image = |output: &str| fs::read(stage.work.join(output).join("node/1.untested/node.raw"));
    let mut images = Vec::new();
    for output in ["one", "two"] {
        let _ = fs::remove_dir_all(cache().join("store"));
        let raw = ["--format", "raw", "--no-test"];
        succeeded(&stage.build_sealed(output, &[&key[..], &raw].concat()))?;
        images.push(image(output).map_err(|e| e.to_string())?);
    }
    expect(images[0] == images[1], || "two builds differ".into())?;
    let holds = |bytes: &[u8]| bytes.windows(line.len()).any(|window| window == line);
    expect(!holds(&images[0]), || "the key is in the image".into())?;
    // Layers are compressed in the image, and lie in the store as they were before.
    let held = files(&cache().join("store")).into_iter().find(|file| {
        let small = file.symlink_metadata().is_ok_and(|it| it.is_file() && it.len() < LARGE);
        small && fs::read(file).is_ok_and(|bytes| holds(&bytes))
    });
    expect(held.is_none(), || format!("the key is in {}", held.unwrap_or_default().display()))
}

fn changed_image(stage: &Stage) -> Outcome {
    let disk = stage.sealed()?;
    disk.flip(KERNEL)?;
    disk.says(&stage.own_keys(), REFUSED, &[RUNS])
}

fn changed_rest(stage: &Stage) -> Outcome {
    full()?;
    for (text, refused) in [
        ("coremax.root=", REFUSED),
        ("virtio_blk.ko.zst", REFUSED), // the name of a file in the initrd, whose first part is not compressed
        ("#### LoaderInfo: systemd-boot", NOT_STARTED),
    ] {
        let disk = stage.sealed()?;
        disk.flip(text)?;
        disk.says(&stage.own_keys(), refused, &[RUNS]).map_err(|why| format!("{text}: {why}"))?;
    }
    // It is Secure Boot that refuses, and nothing else.
    let disk = stage.sealed()?;
    disk.flip(KERNEL)?;
    disk.says(&Firmware::Uefi, RUNS, &[REFUSED])
}

fn changed_root(stage: &Stage) -> Outcome {
    full()?;
    let disk = stage.sealed()?;
    disk.flip_root()?;
    disk.says(&stage.own_keys(), "its data may not be what its hash says", &["Reached target"])
}

fn other_keys(stage: &Stage) -> Outcome {
    full()?;
    stage.sealed()?.says(&Firmware::Microsoft, NOT_STARTED, &[RUNS])
}
