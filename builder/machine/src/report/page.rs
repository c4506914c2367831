//! What stands on the page, as the templates want it: texts that are clean, numbers with units,
//! bars in percent.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use coremax_node_api::boot_test::{Check, Facts, Firmware, Kind};
use serde::Serialize;

use super::{Boot, Build, BuildStage};
use crate::{Fault, Probe, Stage, StageTime, text::printable};

#[derive(Serialize)]
pub(super) struct Page {
    title: String,
    summary: String,
    verdict: String,
    passed: bool,
    facts: Vec<Fact>,
    artefacts: Vec<Image>,
    boots: Vec<BootView>,
    stages: Vec<Bar>,
    stages_total: Option<Bar>,
    /// Of all boots.
    checks: usize,
    hold: usize,
    /// As JUnit counts: every check, and every boot itself.
    cases: usize,
    failures: usize,
    seconds: String,
}

#[derive(Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Image {
    name: String,
    size: String,
    sha256: String,
}

#[derive(Serialize)]
struct BootView {
    artefact: String,
    scenario: String,
    passed: bool,
    verdict: String,
    machine: Vec<Fact>,
    seconds: String,
    plain_seconds: String,
    spans: Vec<Span>,
    groups: Vec<Group>,
    cases: usize,
    failures: usize,
    fault: Option<FaultView>,
    guest: Vec<Fact>,
    picture: Option<String>,
    files: Vec<Kept>,
}

/// A stage as a part of the whole boot.
#[derive(Serialize)]
struct Span {
    stage: &'static str,
    class: String,
    percent: String,
    seconds: String,
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    hold: usize,
    all: usize,
    open: bool,
    checks: Vec<CheckView>,
}

#[derive(Serialize)]
struct CheckView {
    name: String,
    kind: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Serialize)]
struct FaultView {
    stage: &'static str,
    what: String,
    problems: Vec<String>,
    hint: Option<String>,
    last_lines: String,
}

#[derive(Serialize)]
struct Kept {
    name: String,
    path: String,
}

#[derive(Serialize)]
struct Bar {
    name: String,
    detail: String,
    wall: String,
    wall_percent: String,
    cpu: String,
    cpu_percent: String,
}

impl Page {
    pub(super) fn new(build: &Build, boots: &[Boot], pictures: &[Option<Vec<u8>>]) -> Self {
        let picture = |at: usize| pictures.get(at).and_then(Option::as_deref);
        let views: Vec<_> =
            boots.iter().enumerate().map(|(at, boot)| BootView::new(boot, picture(at))).collect();
        let passed = !views.is_empty() && views.iter().all(|boot| boot.passed);
        Self {
            title: clean(&format!("{} {}", build.recipe, build.version)),
            summary: clean(&build.summary),
            verdict: verdict(boots),
            passed,
            facts: build_facts(build),
            artefacts: build.artefacts.iter().map(image).collect(),
            stages: bars(&build.stages),
            stages_total: total(&build.stages),
            checks: boots.iter().map(|boot| boot.report.checks.len()).sum(),
            hold: boots.iter().flat_map(|boot| &boot.report.checks).filter(|c| c.ok).count(),
            cases: views.iter().map(|boot| boot.cases).sum(),
            failures: views.iter().map(|boot| boot.failures).sum(),
            seconds: format!("{:.3}", boots.iter().map(|boot| boot.report.seconds).sum::<f64>()),
            boots: views,
        }
    }
}

/// `Boots by BIOS and UEFI`, or what does not.
fn verdict(boots: &[Boot]) -> String {
    let named = |passed: bool| {
        let mut names: Vec<&str> = Vec::new();
        for boot in boots.iter().filter(|boot| boot.report.fault().is_none() == passed) {
            if !names.contains(&boot.report.scenario.as_str()) {
                names.push(&boot.report.scenario);
            }
        }
        names.join(" and ")
    };
    match (named(true), named(false)) {
        (good, bad) if good.is_empty() && bad.is_empty() => "Not booted".to_owned(),
        (good, bad) if bad.is_empty() => clean(&format!("Boots by {good}")),
        (_, bad) => clean(&format!("Fails by {bad}")),
    }
}

fn build_facts(build: &Build) -> Vec<Fact> {
    let packages = match build.packages {
        0 => String::new(),
        count => count.to_string(),
    };
    facts([
        ("Base", build.base.clone()),
        ("Packages", packages),
        ("Sources of", build.created.clone()),
        ("Built by", build.builder.clone()),
    ])
}

/// Facts that have a value.
fn facts<const N: usize>(pairs: [(&'static str, String); N]) -> Vec<Fact> {
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Fact { name, value: clean(&value) })
        .collect()
}

fn image(made: &super::Made) -> Image {
    Image { name: clean(&made.name), size: size(made.size), sha256: clean(&made.sha256) }
}

impl BootView {
    fn new(boot: &Boot, picture: Option<&[u8]>) -> Self {
        let report = &boot.report;
        let fault = report.fault();
        let failing = report.checks.iter().filter(|check| !check.ok).count();
        Self {
            artefact: clean(&boot.artefact),
            scenario: clean(&report.scenario),
            passed: fault.is_none(),
            verdict: match fault {
                None => format!("{} checks, all hold", report.checks.len()),
                Some(fault) => clean(&fault.what),
            },
            machine: facts([
                ("Firmware", report.firmware.clone()),
                ("Accelerator", accelerator(&report.accelerator)),
            ]),
            seconds: seconds(report.seconds),
            plain_seconds: format!("{:.3}", report.seconds),
            spans: spans(&report.stages),
            groups: groups(&report.checks),
            cases: report.checks.len() + 1,
            failures: failing + usize::from(fault.is_some()),
            fault: fault.map(FaultView::new),
            guest: report.facts.as_ref().map(guest).unwrap_or_default(),
            picture: picture.map(|png| format!("data:image/png;base64,{}", STANDARD.encode(png))),
            files: kept(boot),
        }
    }
}

fn accelerator(probe: &Probe) -> String {
    format!("{}: {}", probe.accelerator.name(), probe.why)
}

impl FaultView {
    fn new(fault: &Fault) -> Self {
        Self {
            stage: fault.stage.name(),
            what: clean(&fault.what),
            problems: fault.problems.iter().map(|problem| clean(problem)).collect(),
            hint: fault.hint.as_deref().map(clean),
            last_lines: clean(&fault.last_lines.join("\n")),
        }
    }
}

fn spans(times: &[StageTime]) -> Vec<Span> {
    let whole = times.last().map_or(0.0, |time| time.ended);
    let span = |time: &StageTime| Span {
        stage: time.stage.name(),
        class: class(time.stage),
        percent: percent(time.ended - time.began, whole),
        seconds: seconds(time.ended - time.began),
    };
    times.iter().map(span).collect()
}

fn class(stage: Stage) -> String {
    let at = Stage::ALL.iter().position(|&other| other == stage).unwrap_or_default();
    format!("s{at}")
}

/// Checks by their kind, those that fail first; a group is open when one fails or there are few.
fn groups(checks: &[Check]) -> Vec<Group> {
    const FEW: usize = 6;
    let kinds = [
        (Kind::System, "System"),
        (Kind::FailedUnit, "Failed units"),
        (Kind::Unit, "Units"),
        (Kind::Listen, "Ports"),
        (Kind::File, "Files"),
        (Kind::Package, "Packages"),
        (Kind::Other, "Others"),
    ];
    let group = |(kind, name)| {
        let mut checks: Vec<_> =
            checks.iter().filter(|check| check.kind == kind).map(check_view).collect();
        checks.sort_by_key(|check| check.ok);
        let hold = checks.iter().filter(|check| check.ok).count();
        let open = hold < checks.len() || checks.len() <= FEW;
        Group { name, hold, all: checks.len(), open, checks }
    };
    kinds.into_iter().map(group).filter(|group| group.all > 0).collect()
}

fn check_view(check: &Check) -> CheckView {
    CheckView {
        name: clean(&check.name),
        kind: check.kind.noun(),
        ok: check.ok,
        detail: clean(&check.detail),
    }
}

fn guest(facts_of: &Facts) -> Vec<Fact> {
    let firmware = match (facts_of.firmware, facts_of.secure_boot) {
        (Firmware::Bios, _) => "BIOS",
        (Firmware::Efi, Some(true)) => "EFI, Secure Boot on",
        (Firmware::Efi, _) => "EFI, Secure Boot off",
    };
    let root = &facts_of.root;
    let mode = if root.read_only { "read-only" } else { "writable" };
    let disk = match root.kind.as_str() {
        "" => String::new(),
        // An overlay lies on no device.
        kind if kind == root.source => format!("{kind}, {mode}"),
        kind => format!("{kind} on {}, {mode}", root.source),
    };
    let used = root.size.saturating_sub(root.free);
    let space = match root.size {
        0 => String::new(),
        total => format!("{} of {} used", size(used), size(total)),
    };
    let name = facts_of.os_release.get("PRETTY_NAME").cloned().unwrap_or_default();
    facts([
        ("System", name),
        ("Kernel", facts_of.kernel_release.clone()),
        ("Started by", firmware.to_owned()),
        ("Memory", size(facts_of.memory)),
        ("Root", disk),
        ("Space in /var", space),
        ("Packages", facts_of.packages.to_string()),
        ("Machine id", if facts_of.machine_id { "made" } else { "missing" }.to_owned()),
        ("Kernel and init", micros(facts_of.times.kernel_us)),
        ("Userspace", micros(facts_of.times.userspace_us)),
    ])
}

fn micros(us: Option<u64>) -> String {
    us.map_or_else(String::new, |us| seconds(std::time::Duration::from_micros(us).as_secs_f64()))
}

fn kept(boot: &Boot) -> Vec<Kept> {
    let files = &boot.report.files;
    let names = [&files.serial, &files.firmware, &files.qemu, &files.command];
    let optional = files.screenshot.iter().chain(&files.answer);
    let path =
        |name: &String| Kept { name: clean(name), path: clean(&format!("{}/{name}", boot.folder)) };
    names.into_iter().chain(optional).map(path).collect()
}

fn bars(stages: &[BuildStage]) -> Vec<Bar> {
    let longest = stages
        .iter()
        .flat_map(|stage| [stage.wall, stage.cpu.unwrap_or_default()])
        .fold(0.0, f64::max);
    stages.iter().map(|stage| bar(stage, longest)).collect()
}

fn bar(stage: &BuildStage, longest: f64) -> Bar {
    Bar {
        name: clean(&stage.name),
        detail: clean(&stage.detail),
        wall: seconds(stage.wall),
        wall_percent: percent(stage.wall, longest),
        cpu: stage.cpu.map(seconds).unwrap_or_default(),
        cpu_percent: percent(stage.cpu.unwrap_or_default(), longest),
    }
}

fn total(stages: &[BuildStage]) -> Option<Bar> {
    let sum = BuildStage {
        name: "all".to_owned(),
        detail: String::new(),
        wall: stages.iter().map(|stage| stage.wall).sum(),
        cpu: stages.iter().map(|stage| stage.cpu).sum(),
    };
    (stages.len() > 1).then(|| bar(&sum, 0.0))
}

/// Without control characters, and without the two code points that XML forbids.
fn clean(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(printable).collect();
    lines.join("\n").replace(['\u{fffe}', '\u{ffff}'], "")
}

fn seconds(seconds: f64) -> String {
    if seconds < 99.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

fn percent(part: f64, whole: f64) -> String {
    let share = if whole > 0.0 { (100.0 * part / whole).clamp(0.0, 100.0) } else { 0.0 };
    format!("{share:.2}")
}

/// Bytes in the unit in which they have at most four digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut unit, mut tenths) = (bytes, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    match (whole, unit) {
        (0..10, 1..) => format!("{whole}.{tenths} {}", UNITS[unit]),
        _ => format!("{whole} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        let table =
            [(0, "0 bytes"), (1536, "1.5 KiB"), (193_986_560, "185 MiB"), (3 << 30, "3.0 GiB")];
        for (bytes, want) in table {
            assert_eq!(size(bytes), want);
        }
        assert_eq!([seconds(0.04), seconds(99.9), seconds(124.3)], ["0.0 s", "99.9 s", "124 s"]);
        assert_eq!([percent(1.0, 3.0), percent(1.0, 0.0)], ["33.33", "0.00"]);
    }

    #[test]
    fn foreign_text_is_cleaned() {
        assert_eq!(clean("\x1b[31mred\x1b[0m\r\n\u{0}\u{ffff}line"), "red\nline");
    }
}
