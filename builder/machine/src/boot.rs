//! One boot test: start, watch, exchange the nonce, check, picture, power off.

mod exchange;

use std::{fs, path::Path};

use coremax_fetch::Digest;
use coremax_node_api::boot_test::{
    self, Answer, Check, Expect, Facts, Kind, Nonce, PROTOCOL, Request,
};
use coremax_sandbox::Sandbox;
use serde::{Deserialize, Serialize};

use self::exchange::Exchange;
use crate::{
    Accelerator, Artefact, Config, Deadlines, Error, Fault, Firmware, Kernel, Machine, Probe,
    Stage, StageTime, artefact::digest, error::file, screenshot,
};

/// How an artefact is booted.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// By which firmware.
    pub firmware: Firmware,
    /// How it is run.
    pub accelerator: Probe,
    /// What every deadline is multiplied with; 1 is normal.
    pub patience: f64,
    /// Memory in MiB.
    pub memory: u32,
    /// Virtual CPUs.
    pub cpus: u8,
    /// A kernel to be started instead of the artefact's loader.
    pub kernel: Option<Kernel>,
}

impl Scenario {
    /// The usual machine: 1024 MiB, 2 CPUs, normal patience.
    pub fn new(firmware: Firmware, accelerator: Probe) -> Self {
        Self { firmware, accelerator, patience: 1.0, memory: 1024, cpus: 2, kernel: None }
    }
}

/// What happens in a boot test, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEvent {
    /// A stage has begun.
    Stage(Stage),
    /// The guest waits for these units.
    Waiting(Vec<String>),
    /// The guest has answered: how many checks hold, of how many.
    Checked {
        /// Checks that hold.
        hold: usize,
        /// All checks.
        all: usize,
    },
    /// The machine is being powered off.
    PowerOff,
}

/// The result of one boot test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BootReport {
    /// The scenario's name, such as `UEFI`.
    pub scenario: String,
    /// Where the firmware came from.
    pub firmware: String,
    /// How the machine was run, and why so.
    pub accelerator: Probe,
    /// The artefact's digest, before and after.
    pub digest: Digest,
    /// The stages reached, with their times.
    pub stages: Vec<StageTime>,
    /// Seconds from power-on to the answer, or to the fault.
    pub seconds: f64,
    /// What the guest checked, and that it powers off.
    pub checks: Vec<Check>,
    /// What the guest says about itself, if it answered.
    pub facts: Option<Facts>,
    /// Passed or not.
    pub outcome: Outcome,
    /// What was kept.
    pub files: Files,
}

impl BootReport {
    /// Why it failed, if it did.
    pub fn fault(&self) -> Option<&Fault> {
        match &self.outcome {
            Outcome::Passed => None,
            Outcome::Failed(fault) => Some(fault),
        }
    }
}

/// How a boot test ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The guest proved itself.
    Passed,
    /// It did not.
    Failed(Fault),
}

/// What a boot test leaves in its folder, by file name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// All that came over the serial line.
    pub serial: String,
    /// All that the firmware said on its debug port.
    pub firmware: String,
    /// What QEMU itself said.
    pub qemu: String,
    /// QEMU's command line.
    pub command: String,
    /// The screen at the end, as PNG, where it could be taken.
    pub screenshot: Option<String>,
    /// The guest's answer, where there is one.
    pub answer: Option<String>,
}

const SCREENSHOT: &str = "screenshot.png";
const ANSWER: &str = "answer.json";

impl Files {
    fn new() -> Self {
        Self {
            serial: "serial.log".to_owned(),
            firmware: "firmware.log".to_owned(),
            qemu: "qemu.log".to_owned(),
            command: "command.txt".to_owned(),
            screenshot: None,
            answer: None,
        }
    }
}

/// Boots `artefact`, has the guest check `expect`, and keeps all that was seen in `folder`.
///
/// QEMU comes from `tools`. To be called on a thread that lives until the end.
///
/// # Errors
/// Where the test could not be made. That the guest failed it is a result: see
/// [`BootReport::outcome`].
pub fn boot(
    artefact: &Artefact,
    scenario: &Scenario,
    expect: &Expect,
    tools: &Sandbox,
    folder: &Path,
    on_event: &mut dyn FnMut(&BootEvent),
) -> Result<BootReport, Error> {
    let request = Request { protocol: PROTOCOL, nonce: nonce()?, expect: expect.clone() };
    let mut machine = Machine::start(&config(artefact, scenario), tools, folder)?;
    let mut files = Files::new();
    write(folder, &files.command, &command_line(machine.command()))?;
    let inputs = machine.inputs(&folder.join(&files.serial), &folder.join(&files.firmware))?;

    let mut exchange = Exchange::new(&machine, inputs, &request, deadlines(scenario), on_event);
    let result = exchange.converse();
    let (stages, seconds) = exchange.times();
    files.screenshot = picture(&machine, folder);
    let power_off = result.is_ok().then(|| exchange.power_off());
    machine.quit()?;

    if let Ok(answer) = &result {
        files.answer = Some(keep_answer(folder, answer)?);
    }
    let unchanged = digest(artefact.path())? == *artefact.digest();
    let findings = Findings { request: &request, scenario, power_off, unchanged };
    let (checks, facts, outcome) = findings.judge(result);
    Ok(BootReport {
        scenario: scenario.firmware.name().to_owned(),
        firmware: origin(&scenario.firmware),
        accelerator: scenario.accelerator.clone(),
        digest: *artefact.digest(),
        stages,
        seconds,
        checks,
        facts,
        outcome,
        files,
    })
}

/// What decides, besides the guest's own answer.
struct Findings<'a> {
    request: &'a Request,
    scenario: &'a Scenario,
    power_off: Option<Check>,
    unchanged: bool,
}

impl Findings<'_> {
    fn judge(self, result: Result<Answer, Fault>) -> (Vec<Check>, Option<Facts>, Outcome) {
        let (answer, mut fault) = match result {
            Ok(answer) => (Some(answer), None),
            Err(fault) => (None, Some(fault)),
        };
        let problems = self.problems(answer.as_ref());
        if let Some(fault) = &mut fault {
            fault.problems.extend(problems);
        } else if !problems.is_empty() {
            fault = Some(not_as_promised(problems));
        }
        let (mut checks, facts) =
            answer.map_or_else(Default::default, |answer| (answer.checks, Some(answer.facts)));
        checks.extend(facts.as_ref().and_then(|facts| secure_boot(&self.scenario.firmware, facts)));
        checks.extend(self.power_off);
        (checks, facts, fault.map_or(Outcome::Passed, Outcome::Failed))
    }

    fn problems(&self, answer: Option<&Answer>) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(answer) = answer {
            problems.extend(answer.problems(self.request));
            problems.extend(other_firmware(&self.scenario.firmware, &answer.facts));
        }
        let secure = answer.and_then(|a| secure_boot(&self.scenario.firmware, &a.facts));
        for check in secure.iter().chain(&self.power_off).filter(|check| !check.ok) {
            problems.push(format!("{}: {}", check.name, check.detail));
        }
        if !self.unchanged {
            problems.push("the artefact's file changed while it was tested".to_owned());
        }
        problems
    }
}

fn other_firmware(asked: &Firmware, facts: &Facts) -> Option<String> {
    let by_efi = facts.firmware == boot_test::Firmware::Efi;
    let asked_efi = asked.located().is_some();
    (asked_efi != by_efi)
        .then(|| format!("it was to boot by {}, and the guest says it did not", asked.name()))
}

/// Firmware that enforces nothing boots as well: only the guest's kernel tells.
fn secure_boot(asked: &Firmware, facts: &Facts) -> Option<Check> {
    let Firmware::SecureBoot(_) = asked else { return None };
    let detail = match facts.secure_boot {
        Some(true) => "on",
        Some(false) => "off, says the guest",
        None => "the guest cannot tell",
    };
    let (name, kind, ok) =
        ("Secure Boot".to_owned(), Kind::System, facts.secure_boot == Some(true));
    Some(Check { name, kind, ok, detail: detail.to_owned() })
}

fn not_as_promised(problems: Vec<String>) -> Fault {
    let what = match problems.as_slice() {
        [only] => only.lines().next().unwrap_or_default().to_owned(),
        several => format!("{} things are not as promised", several.len()),
    };
    Fault { stage: Stage::Node, what, problems, hint: None, last_lines: Vec::new() }
}

fn config(artefact: &Artefact, scenario: &Scenario) -> Config {
    let (firmware, accelerator) = (&scenario.firmware, scenario.accelerator.accelerator);
    let mut config = Config::new(artefact, firmware.clone(), accelerator);
    config.memory = scenario.memory;
    config.cpus = scenario.cpus;
    config.kernel.clone_from(&scenario.kernel);
    config
}

fn deadlines(scenario: &Scenario) -> Deadlines {
    let kvm = scenario.accelerator.accelerator == Accelerator::Kvm;
    Deadlines::new(kvm, scenario.patience)
}

fn origin(firmware: &Firmware) -> String {
    firmware.located().map_or_else(|| "SeaBIOS".to_owned(), |located| located.origin.clone())
}

fn nonce() -> Result<Nonce, Error> {
    let mut bytes = [0; 16];
    // Sixteen bytes come whole or not at all: getrandom(2) promises it up to 256.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::Random(e.into()))?;
    Ok(Nonce::from_bytes(bytes))
}

/// A picture that cannot be taken, as when QEMU is gone, is only missing.
fn picture(machine: &Machine, folder: &Path) -> Option<String> {
    let path = folder.canonicalize().ok()?.join(SCREENSHOT);
    screenshot::take(machine, &path).ok().map(|()| SCREENSHOT.to_owned())
}

fn keep_answer(folder: &Path, answer: &Answer) -> Result<String, Error> {
    let json = serde_json::to_string_pretty(answer)
        .map_err(|source| Error::Json { what: "the answer", source })?;
    write(folder, ANSWER, &(json + "\n"))?;
    Ok(ANSWER.to_owned())
}

fn write(folder: &Path, name: &str, content: &str) -> Result<(), Error> {
    let path = folder.join(name);
    fs::write(&path, content).map_err(file("writing", path))
}

/// The command as a shell would take it, an option a line.
fn command_line(words: &[String]) -> String {
    let mut text = String::new();
    for (number, word) in words.iter().enumerate() {
        text.push_str(match (number, word.starts_with('-')) {
            (0, _) => "",
            (_, true) => " \\\n  ",
            (_, false) => " ",
        });
        text.push_str(&quoted(word));
    }
    text + "\n"
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn report(scenario: &str, digest: Digest, outcome: Outcome) -> BootReport {
        BootReport {
            scenario: scenario.to_owned(),
            firmware: "/usr/share/OVMF/OVMF_CODE_4M.fd".to_owned(),
            accelerator: Probe { accelerator: Accelerator::Tcg, why: "no KVM".to_owned() },
            digest,
            stages: Vec::new(),
            seconds: 1.0,
            checks: Vec::new(),
            facts: None,
            outcome,
            files: Files::new(),
        }
    }

    fn answer(nonce: &Nonce, ok: bool, firmware: boot_test::Firmware) -> Answer {
        let detail = "systemd is running".to_owned();
        Answer {
            nonce: nonce.to_string(),
            checks: vec![Check { name: "booted".into(), kind: Kind::System, ok, detail }],
            facts: Facts { firmware, ..Facts::default() },
        }
    }

    #[test]
    fn what_decides() {
        use boot_test::Firmware::{Bios, Efi};
        let request = Request {
            protocol: PROTOCOL,
            nonce: Nonce::from_bytes([1; 16]),
            expect: Expect::default(),
        };
        let probe = Probe { accelerator: Accelerator::Tcg, why: String::new() };
        let scenario = Scenario::new(Firmware::Bios, probe);
        let other = Nonce::from_bytes([2; 16]);
        let stalled = Fault { what: "stalled".into(), ..Fault::default() };
        let off = |ok| {
            Some(Check { name: "powers off".into(), kind: Kind::System, ok, detail: "?".into() })
        };
        let table = [
            (Ok(answer(&request.nonce, true, Bios)), off(true), true, None),
            (Ok(answer(&request.nonce, false, Bios)), off(true), true, Some("system booted")),
            (Ok(answer(&request.nonce, true, Efi)), off(true), true, Some("boot by BIOS")),
            (Ok(answer(&other, true, Bios)), off(true), true, Some("another nonce")),
            (Ok(answer(&request.nonce, true, Bios)), off(false), true, Some("powers off")),
            (Ok(answer(&request.nonce, true, Bios)), off(true), false, Some("changed")),
            (Err(stalled), None, true, Some("stalled")),
        ];
        for (result, power_off, unchanged, want) in table {
            let findings =
                Findings { request: &request, scenario: &scenario, power_off, unchanged };
            match (findings.judge(result).2, want) {
                (Outcome::Passed, None) => {}
                (Outcome::Failed(fault), Some(want)) => {
                    assert!(fault.what.contains(want), "{} has no {want}", fault.what);
                }
                (outcome, want) => panic!("{outcome:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn a_command_line_can_be_run_again() {
        let words = ["qemu", "-m", "1", "-append", "a 'b'", "-x", ""].map(str::to_owned);
        let want = "qemu \\\n  -m 1 \\\n  -append 'a '\\''b'\\''' \\\n  -x ''\n";
        assert_eq!(command_line(&words), want);
    }
}
