//! Booting what was built: every image by every firmware, and the console for people.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use coremax_fetch::Digest;
use coremax_machine::{
    Artefact, BootEvent, BootReport, Config, Expect, Firmware as Loaded, Format, Located, Network,
    Scenario, Sources, Unverified, Verified, accel, report,
};
use coremax_publish as publishing;
use coremax_publish::Boot;
use coremax_recipe::SecureBoot;
use coremax_sandbox::Sandbox;
use coremax_secure_boot::enrol;

use crate::{
    event::{Observer, Stage, Unit},
    hint::mendable,
    store::Record,
    usage::Stopwatch,
};

/// Where firmware comes from; the file is part of this repository.
const FIRMWARE: &str = include_str!("../../../firmware/firmware.toml");

/// Where machines work, in the cache. What a killed one leaves is logs; cleaning removes them.
pub(crate) const WORK: &str = "machines";

/// How images are booted.
#[derive(Debug, Clone)]
pub struct BootSettings {
    /// The firmwares; if none is named, all that the image is made for.
    pub firmware: Vec<Firmware>,
    /// What every deadline is multiplied by.
    pub patience: f64,
}

/// What a machine starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    #[default]
    Uefi,
    /// OVMF with Secure Boot on.
    Secure,
}

/// How `run` starts an image.
#[derive(Debug, Clone)]
pub struct Console {
    /// What it starts with.
    pub firmware: Firmware,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The port of the host's loopback that leads to the guest's SSH server; if none, a free one.
    pub ssh_port: Option<u16>,
}

/// What boot tests have proven: the artefacts, every report, and the folder of what was kept.
pub(crate) struct Proof {
    pub(crate) verified: Vec<Verified<Artefact>>,
    pub(crate) boots: Vec<report::Boot>,
    pub(crate) took: Record,
    pub(crate) kept: tempfile::TempDir,
}

impl BootSettings {
    fn firmwares(&self, made_for: &[Firmware]) -> Vec<Firmware> {
        match self.firmware.as_slice() {
            [] => made_for.to_vec(),
            some => some.to_vec(),
        }
    }

    /// Whether every one of these artefacts was booted, as it is, by every firmware that is wanted.
    pub(crate) fn are_met(
        &self,
        artefacts: &[publishing::Artefact],
        boots: &[Boot],
        made_for: &[Firmware],
    ) -> bool {
        let booted = |artefact: &publishing::Artefact, firmware: Firmware| {
            boots.iter().any(|boot| boot.is_of(artefact) && boot.firmware == firmware.scenario())
        };
        let firmwares = self.firmwares(made_for);
        artefacts.iter().all(|artefact| firmwares.iter().all(|&by| booted(artefact, by)))
    }
}

/// Refuses a firmware that an image is not made for, before somebody waits for its boot.
pub(crate) fn suit(firmware: &[Firmware], made_for: &[Firmware]) -> Result<()> {
    let Some(other) = firmware.iter().find(|by| !made_for.contains(by)) else {
        return Ok(());
    };
    let ids: Vec<_> = made_for.iter().map(|firmware| firmware.id()).collect();
    let why = format!("the image does not boot by {}", other.scenario());
    let hint = format!("[root] secure-boot decides it: --firmware can be {}", ids.join(", "));
    Err(mendable(why, hint))
}

impl Default for BootSettings {
    /// All there is to prove, within the usual time.
    fn default() -> Self {
        Self { firmware: Vec::new(), patience: 1.0 }
    }
}

impl Firmware {
    const ALL: [Self; 3] = [Self::Bios, Self::Uefi, Self::Secure];

    /// What an image boots by whose recipe has this.
    pub(crate) fn of(secure_boot: SecureBoot) -> &'static [Self] {
        match secure_boot {
            SecureBoot::Shim => &Self::ALL,
            SecureBoot::Sealed => &[Self::Uefi, Self::Secure],
            SecureBoot::Off => &[Self::Bios, Self::Uefi],
        }
    }

    /// What a report calls a boot by it.
    fn scenario(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
            Self::Secure => "UEFI + Secure Boot",
        }
    }

    /// The firmware called `bios`, `uefi` or `secure`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|firmware| firmware.id() == name)
    }

    fn id(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
            Self::Secure => "secure",
        }
    }

    /// The firmware; one with Secure Boot on believes `certificate` alone if there is one, and Microsoft else.
    /// What is made for it goes to `work`.
    fn load(self, from: &Tree<'_>, certificate: Option<&[u8]>, work: &Path) -> Result<Loaded> {
        let Tree { tools, cache } = *from;
        let sources = || Sources::parse(FIRMWARE);
        Ok(match self {
            Self::Bios => Loaded::Bios,
            Self::Uefi => Loaded::Uefi(sources()?.locate(tools, cache)?),
            Self::Secure => Loaded::SecureBoot(match certificate {
                None => sources()?.locate_secure_boot(tools)?,
                Some(certificate) => enrolled(&sources()?, tools, certificate, work)?,
            }),
        })
    }
}

/// Where firmware is looked for.
#[derive(Clone, Copy)]
struct Tree<'a> {
    tools: &'a Path,
    cache: &'a Path,
}

/// Firmware that believes this certificate alone.
fn enrolled(sources: &Sources, tools: &Path, certificate: &[u8], work: &Path) -> Result<Located> {
    let found = sources.locate_own_keys(tools)?;
    let empty =
        fs::read(&found.vars).with_context(|| format!("reading {}", found.vars.display()))?;
    let vars = work.join("enrolled.fd");
    fs::write(&vars, enrol::enrol(&empty, certificate).context("enrolling the certificate")?)?;
    Ok(Located { vars, ..found })
}

/// What a boot test needs beside the images.
pub(crate) struct Bench<'a> {
    /// The tree with QEMU and firmware.
    pub(crate) tools: PathBuf,
    /// Where downloaded firmware is kept.
    pub(crate) cache: &'a Path,
    /// Where what a failed boot leaves is kept, and nothing else, unless there is a report.
    pub(crate) failures: PathBuf,
    /// Where the report goes that was asked for, whatever comes of the boots.
    pub(crate) report: Option<&'a Path>,
    pub(crate) settings: &'a BootSettings,
    /// What the images are made for.
    pub(crate) firmware: &'static [Firmware],
    /// By which firmware with Secure Boot on believes them, where it is not by Microsoft's.
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) observer: Observer<'a>,
}

/// An image, and what it is known to be.
pub(crate) struct Known {
    pub(crate) path: PathBuf,
    pub(crate) sha256: Digest,
}

impl Known {
    /// Opens it, if it is still what it was.
    fn open(&self) -> Result<Artefact> {
        let path = &self.path;
        let artefact = Artefact::open(path, format(path)?)?;
        if *artefact.digest() != self.sha256 {
            bail!("{} is not the image that was built: it has another SHA-256", path.display());
        }
        Ok(artefact)
    }
}

/// Boots every image by every firmware. That each one holds is the result; the first that does
/// not is the error.
pub(crate) fn prove(images: &[Known], expect: &Expect, bench: &Bench<'_>) -> Result<Proof> {
    let stage = Stage::new("boot", bench.observer);
    let watch = Stopwatch::start("boot");
    stage.started("asking for an accelerator", None, Unit::Count);
    let kept = work_folder(bench.cache)?;
    let sandbox = sandbox(&bench.tools);
    // OVMF asks more of KVM than SeaBIOS does: where it runs, both do.
    let from = Tree { tools: &bench.tools, cache: bench.cache };
    let load = |firmware: Firmware| firmware.load(&from, bench.certificate.as_deref(), kept.path());
    let uefi = load(Firmware::Uefi)?;
    let probe = accel::probe(&uefi, &sandbox, &folder(kept.path(), "probe")?)?;
    let (mut verified, mut boots) = (Vec::new(), Vec::new());
    for image in images {
        let (artefact, path) = (image.open()?, &image.path);
        let mut of_this = Vec::new();
        for firmware in bench.settings.firmwares(bench.firmware) {
            let id = format!("{}-{}", artefact.format().name(), firmware.id());
            let scenario = Scenario {
                patience: bench.settings.patience,
                ..Scenario::new(load(firmware)?, probe.clone())
            };
            let folder = folder(kept.path(), &id)?;
            let report = boot(&artefact, &scenario, expect, &sandbox, &folder, &stage)?;
            of_this.push(report.clone());
            let artefact = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            boots.push(report::Boot { artefact, folder: id, report });
        }
        let proven = Verified::by(artefact, &of_this);
        verified.push(proven.map_err(|error| failed(&error, &boots, kept.path(), bench))?);
    }
    let took = watch.stop(summary(&boots));
    stage.ended(took.summary.clone(), Some(took.seconds));
    Ok(Proof { verified, boots, took, kept })
}

/// Starts an image with its console in this terminal.
pub(crate) fn console(
    image: &Path,
    certificate: Option<&[u8]>,
    tools: &Path,
    cache: &Path,
    console: &Console,
) -> Result<()> {
    let work = work_folder(cache)?;
    let from = Tree { tools, cache };
    let firmware = console.firmware.load(&from, certificate, work.path())?;
    let sandbox = sandbox(tools);
    let uefi = Firmware::Uefi.load(&from, None, work.path())?;
    let probe = accel::probe(&uefi, &sandbox, &folder(work.path(), "probe")?)?;
    let artefact = Artefact::open(image, format(image)?)?;
    let ssh = console.ssh_port.map_or_else(coremax_machine::console::free_port, Ok)?;
    let config = Config {
        memory: console.memory_mib,
        network: Network::Open { ssh },
        reboots: true,
        ..Config::new(&artefact, firmware, probe.accelerator)
    };
    // A reader that went away is no reason to start no machine.
    let _ = write!(
        io::stderr(),
        "  Ctrl-A x    ends the machine; what it wrote is thrown away\n  \
         Ctrl-C      goes to the guest, as every other key does\n  \
         login       ssh -p {ssh} -o UserKnownHostsFile=/dev/null root@127.0.0.1\n"
    );
    Ok(coremax_machine::console::run(&config, &sandbox, work.path())?)
}

fn boot(
    artefact: &Artefact,
    scenario: &Scenario,
    expect: &Expect,
    sandbox: &Sandbox,
    folder: &Path,
    stage: &Stage<'_>,
) -> Result<BootReport> {
    let firmware = scenario.firmware.name();
    stage.started(format!("{firmware}: power on"), None, Unit::Count);
    let mut tell = |event: &BootEvent| {
        stage.busy_with(match event {
            BootEvent::Stage(at) => format!("{firmware}: {}", at.name()),
            BootEvent::Waiting(units) => format!("{firmware}: waiting for {}", units.join(", ")),
            BootEvent::Checked { hold, all } => format!("{firmware}: {hold} of {all} checks hold"),
            BootEvent::PowerOff => format!("{firmware}: power off"),
        });
    };
    Ok(coremax_machine::boot(artefact, scenario, expect, sandbox, folder, &mut tell)?)
}

fn sandbox(tools: &Path) -> Sandbox {
    let sandbox = Sandbox::tools(tools);
    match Path::new("/dev/kvm").exists() {
        true => sandbox.device("/dev/kvm"),
        false => sandbox,
    }
}

/// A folder for what guests write and machines say: on the cache's disk, where room is looked for before a build, and not
/// in memory as /tmp may be; but for a cache that is read-only.
fn work_folder(cache: &Path) -> Result<tempfile::TempDir> {
    let folder = cache.join(WORK);
    let made = fs::create_dir_all(&folder).and_then(|()| tempfile::tempdir_in(&folder));
    made.or_else(|_| tempfile::tempdir()).context("making a folder for the machine")
}

fn folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let folder = parent.join(name);
    fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

fn format(image: &Path) -> Result<Format> {
    match image.extension().and_then(OsStr::to_str) {
        Some("qcow2") => Ok(Format::Qcow2),
        Some("raw") => Ok(Format::Raw),
        _ => bail!("{} is no image that can be booted", image.display()),
    }
}

/// A boot that failed, and what may be looked at.
#[derive(Debug)]
pub(crate) struct BootFailed {
    text: String,
    pub(crate) hint: Option<String>,
}

impl std::fmt::Display for BootFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for BootFailed {}

/// The error of a failed boot, with what it left kept where the user finds it.
fn failed(
    error: &Unverified,
    boots: &[report::Boot],
    kept: &Path,
    bench: &Bench<'_>,
) -> anyhow::Error {
    let faults = boots.iter().filter_map(|boot| boot.report.fault());
    let mut text: String =
        faults.clone().flat_map(|f| &f.problems).map(|p| format!("\n  - {p}")).collect();
    let build = report::Build::default();
    let (folder, laid) = match bench.report {
        Some(folder) => (folder, lay_report(folder, &build, boots, kept)),
        None => {
            let laid = copy_tree(kept, &bench.failures);
            let written = laid.and_then(|()| Ok(report::write(&bench.failures, &build, boots)?));
            (bench.failures.as_path(), written)
        }
    };
    if laid.is_ok() {
        text += &format!("\n  log, screenshot and command line: {}", folder.display());
    }
    let hint = faults.filter_map(|fault| fault.hint.clone()).next();
    BootFailed { text: format!("{error}{text}"), hint }.into()
}

/// Lays a report into a folder, with what was kept of each boot below it. Other files there stay.
pub(crate) fn lay_report(
    folder: &Path,
    build: &report::Build,
    boots: &[report::Boot],
    kept: &Path,
) -> Result<()> {
    let mut laid = Vec::new();
    for boot in boots {
        let at = Path::new("boot").join(&boot.folder);
        copy_tree(&kept.join(&boot.folder), &folder.join(&at))?;
        laid.push(report::Boot { folder: at.display().to_string(), ..boot.clone() });
    }
    Ok(report::write(folder, build, &laid)?)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    crate::store::remove(to)?;
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()? {
            kind if kind.is_dir() => copy_tree(&source, &target)?,
            kind if kind.is_file() => drop(fs::copy(source, target)?),
            _ => {} // sockets of the machine
        }
    }
    Ok(())
}

/// How long each boot took, and how many checks there were.
fn summary(boots: &[report::Boot]) -> String {
    let each: Vec<_> = boots
        .iter()
        .map(|boot| format!("{} {:.0} s", boot.report.scenario, boot.report.seconds))
        .collect();
    let checks: usize = boots.iter().map(|boot| boot.report.checks.len()).sum();
    format!("{}: {checks} checks, all hold", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artefact(name: &str, content: &str) -> publishing::Artefact {
        let (name, format) = (name.to_owned(), "qcow2".to_owned());
        publishing::Artefact { name, format, size: 1, sha256: Digest::of(content), virtual_size: 1 }
    }

    fn boot(name: &str, content: &str, firmware: &str) -> Boot {
        Boot {
            artefact: name.to_owned(),
            sha256: Digest::of(content),
            firmware: firmware.to_owned(),
            accelerator: "tcg".to_owned(),
            seconds: 1.0,
            checks: Vec::new(),
        }
    }

    #[test]
    fn half_a_proof_is_none() {
        let all = BootSettings::default();
        let bios = BootSettings { firmware: vec![Firmware::Bios], ..BootSettings::default() };
        let (a, b) = ([artefact("a", "1")], [artefact("a", "1"), artefact("b", "2")]);
        let by_bios = vec![boot("a", "1", "BIOS")];
        let by_both = vec![boot("a", "1", "BIOS"), boot("a", "1", "UEFI")];
        let by_all = [&by_both[..], &[boot("a", "1", "UEFI + Secure Boot")]].concat();
        let other = vec![boot("a", "2", "BIOS"), boot("a", "1", "UEFI")];
        for (settings, artefacts, boots, met) in [
            (&all, &a[..], &by_both, false),
            (&all, &a[..], &by_all, true),
            (&all, &a[..], &by_bios, false),
            (&all, &a[..], &other, false),
            (&all, &b[..], &by_both, false),
            (&bios, &a[..], &by_bios, true),
            (&bios, &a[..], &by_both, true),
            (&bios, &a[..], &other, false),
        ] {
            let made_for = Firmware::of(SecureBoot::Shim);
            assert_eq!(settings.are_met(artefacts, boots, made_for), met, "{settings:?} {boots:?}");
        }
        assert!(all.are_met(&a, &by_both, Firmware::of(SecureBoot::Off)));
    }

    #[test]
    fn an_image_is_not_booted_by_what_it_is_not_made_for() {
        for (secure_boot, word, fits) in [
            (SecureBoot::Sealed, "bios", false),
            (SecureBoot::Sealed, "secure", true),
            (SecureBoot::Off, "secure", false),
            (SecureBoot::Off, "bios", true),
            (SecureBoot::Shim, "bios", true),
        ] {
            let firmware = vec![Firmware::Uefi, Firmware::named(word).unwrap()];
            let settings = BootSettings { firmware, ..BootSettings::default() };
            let suits = suit(&settings.firmware, Firmware::of(secure_boot));
            assert_eq!(suits.is_ok(), fits, "{secure_boot} {word}");
        }
    }

    #[test]
    fn a_report_calls_firmware_as_the_machine_does() {
        let located = || coremax_machine::Located {
            code: PathBuf::new(),
            vars: PathBuf::new(),
            origin: String::new(),
        };
        assert_eq!(Firmware::Bios.scenario(), Loaded::Bios.name());
        assert_eq!(Firmware::Uefi.scenario(), Loaded::Uefi(located()).name());
        assert_eq!(Firmware::Secure.scenario(), Loaded::SecureBoot(located()).name());
    }

    #[test]
    fn an_image_that_was_exchanged_is_not_booted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.raw");
        fs::write(&path, "built").unwrap();
        let known = Known { path: path.clone(), sha256: Digest::of("built") };
        assert_eq!(*known.open().unwrap().digest(), known.sha256);
        fs::write(&path, "rotten").unwrap();
        let error = known.open().unwrap_err().to_string();
        assert!(error.contains("node.raw is not the image that was built"), "{error}");
    }

    #[test]
    fn a_report_spares_what_is_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, to) = (folder.path().join("kept"), folder.path().join("to"));
        fs::create_dir_all(kept.join("probe")).unwrap();
        fs::create_dir_all(to.join("boot")).unwrap();
        fs::write(to.join("boot/mine"), "").unwrap();
        for _ in 0..2 {
            lay_report(&to, &report::Build::default(), &[], &kept).unwrap();
        }
        assert!(to.join("boot/mine").exists() && to.join("junit.xml").exists());
        assert!(!to.join("boot/probe").exists());
    }

    #[test]
    fn machines_work_where_the_cache_is() {
        let cache = tempfile::tempdir().unwrap();
        let work = work_folder(cache.path()).unwrap();
        assert!(work.path().starts_with(cache.path()));
        let nowhere = work_folder(Path::new("/proc/nowhere")).unwrap();
        assert!(nowhere.path().is_dir());
    }
}
