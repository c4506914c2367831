//! How far a boot has come, and what stalls it: a pure state machine, fed with what the machine
//! says and the time since power-on.
//!
//! ```text
//! firmware -> loader -> kernel -> init -> systemd -> node -> done
//! ```
//!
//! A stage begins with the first sign of it and ends with the first sign of a later one. Each has
//! a deadline; besides, some texts say that nothing more will come (`markers.rs`).

mod markers;

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// How many lines of the serial log a fault quotes.
const QUOTED_LINES: usize = 25;
/// The longest line that is looked at as one. Set by us: the kernel's lines end below 1 KiB.
const LINE_BYTES: usize = 4096;

/// A part of a boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// BIOS or UEFI.
    #[default]
    Firmware,
    /// The boot loader.
    Loader,
    /// The kernel, before any program.
    Kernel,
    /// The first program of the initial RAM disk.
    Init,
    /// systemd on the root file system, until it starts the node program.
    Systemd,
    /// The node program: it waits for systemd's end of booting, looks and answers.
    Node,
}

impl Stage {
    /// All stages in their order.
    pub const ALL: [Self; 6] =
        [Self::Firmware, Self::Loader, Self::Kernel, Self::Init, Self::Systemd, Self::Node];

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Loader => "boot loader",
            Self::Kernel => "kernel",
            Self::Init => "init",
            Self::Systemd => "systemd",
            Self::Node => "node",
        }
    }
}

/// How long each stage may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Deadlines {
    scale: f64,
}

impl Deadlines {
    /// What emulation takes longer than KVM, at least.
    const EMULATED: f64 = 4.0;

    /// Deadlines for a machine with KVM or without, times the user's `patience` (1 is normal).
    pub fn new(kvm: bool, patience: f64) -> Self {
        let patience = if patience.is_finite() { patience.clamp(0.1, 100.0) } else { 1.0 };
        Self { scale: if kvm { patience } else { Self::EMULATED * patience } }
    }

    /// The longest this stage may take.
    pub fn of(&self, stage: Stage) -> Duration {
        // Seconds under KVM: several times what a slow but sound machine was seen to take.
        let seconds = match stage {
            Stage::Firmware | Stage::Loader => 15,
            Stage::Kernel | Stage::Init => 45,
            Stage::Systemd | Stage::Node => 90,
        };
        Duration::from_secs(seconds).mul_f64(self.scale)
    }

    /// The longest an orderly power-off may take.
    pub fn power_off(&self) -> Duration {
        Duration::from_secs(30).mul_f64(self.scale)
    }
}

/// What a machine was seen to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal<'a> {
    /// Text on its serial line, in any portions.
    Serial(&'a [u8]),
    /// Text from its firmware, in any portions.
    Firmware(&'a [u8]),
    /// The node program said hello.
    Hello,
    /// The node program waits for these units.
    Waiting(Vec<String>),
    /// The machine wants to start again.
    Reset,
    /// The machine is off.
    PoweredOff,
    /// There is no room for what the guest writes.
    DiskFull,
    /// The virtual CPUs stopped by themselves.
    Stopped,
    /// QEMU has ended.
    Ended,
}

/// When a stage was, in seconds since power-on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Which.
    pub stage: Stage,
    /// Its first sign.
    pub began: f64,
    /// The first sign of a later one, or the end of the test.
    pub ended: f64,
}

/// Why a boot failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Where it stood.
    pub stage: Stage,
    /// What was wrong, one line.
    pub what: String,
    /// Single findings, where there are several.
    pub problems: Vec<String>,
    /// What the author can do about it.
    pub hint: Option<String>,
    /// The last lines of the console.
    pub last_lines: Vec<String>,
}

/// Watches one boot.
#[derive(Debug)]
pub struct Watcher {
    deadlines: Deadlines,
    times: Vec<(Stage, Duration)>,
    serial: Lines,
    firmware: Lines,
    waiting: Vec<String>,
}

impl Watcher {
    /// A watcher for a machine that has just been started.
    pub fn new(deadlines: Deadlines) -> Self {
        Self {
            deadlines,
            times: vec![(Stage::Firmware, Duration::ZERO)],
            serial: Lines::default(),
            firmware: Lines::default(),
            waiting: Vec::new(),
        }
    }

    /// The stage the boot is in.
    pub fn stage(&self) -> Stage {
        self.times.last().map_or(Stage::Firmware, |(stage, _)| *stage)
    }

    /// When the present stage must have ended, since power-on.
    pub fn deadline(&self) -> Duration {
        let (stage, began) = self.times.last().copied().unwrap_or_default();
        began + self.deadlines.of(stage)
    }

    /// Takes note of what happened at the time `at` since power-on.
    ///
    /// # Errors
    /// The fault, where it says that this boot will not succeed.
    pub fn feed(&mut self, at: Duration, signal: &Signal<'_>) -> Result<(), Fault> {
        match signal {
            Signal::Serial(bytes) => self.read(at, bytes, false),
            Signal::Firmware(bytes) => self.read(at, bytes, true),
            Signal::Hello => {
                self.reach(Stage::Node, at);
                Ok(())
            }
            Signal::Waiting(units) => {
                self.waiting.clone_from(units);
                Ok(())
            }
            Signal::Reset => Err(self.fault("the machine reset itself", Some(markers::RESET))),
            Signal::PoweredOff => {
                Err(self.fault("the machine powered off before it answered", None))
            }
            Signal::DiskFull => {
                let what = "this machine has no room left for what the guest writes to its disk";
                Err(self.fault(what, Some(markers::DISK_FULL)))
            }
            Signal::Stopped => Err(self.fault("the virtual CPUs stopped", Some(markers::STOPPED))),
            Signal::Ended => Err(self.fault("QEMU ended before the machine answered", None)),
        }
    }

    /// The fault of a stage whose deadline has passed.
    pub fn expire(&self) -> Fault {
        let limit = self.deadlines.of(self.stage()).as_secs();
        let what = match self.waiting.as_slice() {
            [] => format!("nothing further came within {limit} s"),
            units => format!("not done within {limit} s, waiting for {}", units.join(", ")),
        };
        self.fault(&what, Some(markers::stalled(self.stage())))
    }

    /// A fault in the present stage, with the last lines of the console.
    pub fn fault(&self, what: &str, hint: Option<&str>) -> Fault {
        let serial = self.serial.last();
        Fault {
            stage: self.stage(),
            what: what.to_owned(),
            problems: Vec::new(),
            hint: hint.map(str::to_owned),
            last_lines: if serial.is_empty() { self.firmware.last() } else { serial },
        }
    }

    /// The stages so far; the last one ended at `end`.
    pub fn times(&self, end: Duration) -> Vec<StageTime> {
        let ends = self.times.iter().skip(1).map(|(_, began)| *began).chain([end]);
        let time = |(&(stage, began), ended): (&(Stage, Duration), Duration)| StageTime {
            stage,
            began: began.as_secs_f64(),
            ended: ended.as_secs_f64(),
        };
        self.times.iter().zip(ends).map(time).collect()
    }

    fn read(&mut self, at: Duration, mut bytes: &[u8], firmware: bool) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let lines = if firmware { &mut self.firmware } else { &mut self.serial };
            bytes = lines.push(bytes);
            let line = lines.current();
            // Half a line may mean something else than the whole.
            if lines.complete || markers::is_prompt(&line) {
                self.judge(at, &line)?;
            }
        }
        Ok(())
    }

    fn judge(&mut self, at: Duration, line: &str) -> Result<(), Fault> {
        if let Some(stage) = markers::stage(line) {
            self.reach(stage, at);
        }
        match markers::end(line, self.stage()) {
            Some(end) => Err(self.fault(end.what, Some(end.hint))),
            None => Ok(()),
        }
    }

    fn reach(&mut self, stage: Stage, at: Duration) {
        if stage > self.stage() {
            self.times.push((stage, at));
        }
    }
}

/// The last lines of a text that comes in portions, the one still growing at the end.
#[derive(Debug, Default)]
struct Lines {
    past: VecDeque<String>,
    current: Vec<u8>,
    complete: bool,
}

impl Lines {
    /// Takes bytes up to the end of a line and returns the rest.
    fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if std::mem::take(&mut self.complete) {
            self.rotate();
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let length = end.map_or(bytes.len(), |at| at + 1).min(LINE_BYTES);
        self.current.extend_from_slice(&bytes[..length]);
        self.complete = end.is_some_and(|at| at < length) || self.current.len() >= LINE_BYTES;
        &bytes[length..]
    }

    fn rotate(&mut self) {
        let line = self.current();
        self.current.clear();
        if !line.is_empty() {
            self.past.push_back(line);
        }
        if self.past.len() > QUOTED_LINES {
            self.past.pop_front();
        }
    }

    fn current(&self) -> String {
        printable(&String::from_utf8_lossy(&self.current))
    }

    fn last(&self) -> Vec<String> {
        let current = Some(self.current()).filter(|line| !line.is_empty());
        self.past.iter().cloned().chain(current).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watcher() -> Watcher {
        Watcher::new(Deadlines::new(true, 1.0))
    }

    #[test]
    fn a_boot_by_bios() {
        let mut watcher = watcher();
        let story: [(&str, bool, Stage); 8] = [
            ("SeaBIOS (version 1.16.2)\n", true, Stage::Firmware),
            ("Booting from Hard Disk...\n", true, Stage::Loader),
            ("coremax: loading slot a\r\n", false, Stage::Loader),
            ("[    0.000000] Linux version 6.1.0-50-amd64\r\n", false, Stage::Kernel),
            ("[    1.2] Run /init as init process\r\n", false, Stage::Init),
            ("[    5.1] systemd[1]: systemd 252 running in system mode\r\n", false, Stage::Systemd),
            ("[\x1b[0;32m  OK  \x1b[0m] Started ssh.service\r\n", false, Stage::Systemd),
            ("node login: ", false, Stage::Systemd),
        ];
        for (number, (text, firmware, stage)) in (1..).zip(story) {
            let bytes = text.as_bytes();
            let signal = if firmware { Signal::Firmware(bytes) } else { Signal::Serial(bytes) };
            watcher.feed(number * SECOND, &signal).unwrap();
            assert_eq!(watcher.stage(), stage, "{text}");
        }
        watcher.feed(9 * SECOND, &Signal::Hello).unwrap();
        let times = watcher.times(10 * SECOND);
        let spans: Vec<_> = times.iter().map(|t| (t.stage, t.began, t.ended)).collect();
        assert_eq!(
            spans,
            [
                (Stage::Firmware, 0.0, 2.0),
                (Stage::Loader, 2.0, 4.0),
                (Stage::Kernel, 4.0, 5.0),
                (Stage::Init, 5.0, 6.0),
                (Stage::Systemd, 6.0, 9.0),
                (Stage::Node, 9.0, 10.0),
            ]
        );
    }

    /// Byte by byte: no beginning of a line may be taken for another line.
    #[test]
    fn a_boot_by_uefi() {
        let story = [
            ("BdsDxe: starting Boot0001 \"EFI Internal Shell\" from Fv(7CB8BDC9)", Stage::Firmware),
            ("BdsDxe: starting Boot0002 \"UEFI Misc Device\" from PciRoot(0x0)", Stage::Loader),
            ("\x1b[2J\x1b[HWelcome to GRUB!", Stage::Loader),
            ("EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID", Stage::Kernel),
            ("[    0.9] Run /init as init process", Stage::Init),
            ("Welcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!", Stage::Systemd),
        ];
        let mut watcher = watcher();
        for (line, want) in story {
            for byte in line.as_bytes().iter().chain(b"\r\n") {
                watcher.feed(SECOND, &Signal::Serial(&[*byte])).unwrap();
                assert!(watcher.stage() <= want, "{line} is no {}", watcher.stage().name());
            }
            assert_eq!(watcher.stage(), want, "{line}");
        }
    }

    #[test]
    fn ends_are_recognised_at_once_and_named() {
        let table = [
            (Signal::Firmware(b"No bootable device.\n"), Stage::Firmware, "no bootable device"),
            (
                Signal::Serial(b"BdsDxe: No bootable option\n"),
                Stage::Firmware,
                "no bootable device",
            ),
            (
                Signal::Serial(b"UEFI Interactive Shell v2.2\n"),
                Stage::Firmware,
                "no bootable device",
            ),
            (Signal::Serial(b"\r\ngrub rescue> "), Stage::Loader, "GRUB"),
            (
                Signal::Serial(
                    b"[ 2.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n",
                ),
                Stage::Kernel,
                "panicked",
            ),
            (Signal::Serial(b"Run /init as init process\n(initramfs) "), Stage::Init, "root file"),
            (
                Signal::Serial(
                    b"Welcome to Debian!\nYou are in emergency mode. After logging in\n",
                ),
                Stage::Systemd,
                "emergency",
            ),
            (
                Signal::Serial(b"systemd[1]: x\nCannot open access to console, the root account\n"),
                Stage::Systemd,
                "emergency",
            ),
            (Signal::Reset, Stage::Firmware, "reset"),
            (Signal::PoweredOff, Stage::Firmware, "powered off"),
            (Signal::DiskFull, Stage::Firmware, "no room left"),
            (Signal::Stopped, Stage::Firmware, "stopped"),
            (Signal::Ended, Stage::Firmware, "ended"),
        ];
        for (signal, stage, what) in table {
            let fault = watcher().feed(SECOND, &signal).unwrap_err();
            assert_eq!(fault.stage, stage, "{signal:?}");
            assert!(fault.what.contains(what), "{} has no {what}", fault.what);
        }
    }

    #[test]
    fn a_text_split_anywhere_means_the_same() {
        let begin = "noise\r\n[    0.0] Linux version 6\r\n";
        let ends = ["(initramfs) ", "Kernel panic - not syncing: VFS: Unable to mount root fs\n"];
        for text in ends.map(|end| format!("{begin}{end}")) {
            let whole = watcher().feed(SECOND, &Signal::Serial(text.as_bytes()));
            assert!(whole.is_err());
            for (first, second) in (0..text.len()).map(|at| text.as_bytes().split_at(at)) {
                let mut watcher = watcher();
                let parts = watcher
                    .feed(SECOND, &Signal::Serial(first))
                    .and_then(|()| watcher.feed(SECOND, &Signal::Serial(second)));
                assert_eq!(parts, whole, "split after {}", first.len());
            }
        }
    }

    #[test]
    fn a_stage_that_stalls_is_named_with_its_last_lines() {
        for stage in Stage::ALL {
            let mut watcher = watcher();
            watcher.feed(SECOND, &Signal::Serial(b"the last words\r\n")).unwrap();
            watcher.reach(stage, SECOND);
            let began = if stage == Stage::Firmware { Duration::ZERO } else { SECOND };
            assert_eq!(watcher.deadline(), began + watcher.deadlines.of(stage));
            let fault = watcher.expire();
            assert_eq!(fault.stage, stage);
            assert_eq!(fault.last_lines, ["the last words"]);
            assert!(fault.hint.is_some());
        }
        let mut watcher = watcher();
        watcher.feed(SECOND, &Signal::Hello).unwrap();
        watcher.feed(SECOND, &Signal::Waiting(vec!["slow.service".into()])).unwrap();
        assert!(watcher.expire().what.contains("waiting for slow.service"));
    }

    #[test]
    fn deadlines_grow_without_kvm_and_with_patience() {
        let kernel = |kvm, patience| Deadlines::new(kvm, patience).of(Stage::Kernel).as_secs();
        assert_eq!(
            [kernel(true, 1.0), kernel(false, 1.0), kernel(false, 2.0), kernel(true, f64::NAN)],
            [45, 180, 360, 45]
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic_and_stages_never_go_back(
            portions in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..32)
        ) {
            let mut watcher = watcher();
            let mut stage = watcher.stage();
            for portion in &portions {
                let _ = watcher.feed(SECOND, &Signal::Serial(portion));
                prop_assert!(watcher.stage() >= stage);
                stage = watcher.stage();
            }
        }

        #[test]
        fn an_endless_line_is_kept_within_bounds(length in 0usize..40_000) {
            let mut lines = Lines::default();
            let text = vec![b'x'; length];
            let mut rest = &text[..];
            while !rest.is_empty() {
                rest = lines.push(rest);
            }
            prop_assert!(lines.current.len() <= LINE_BYTES);
            prop_assert!(lines.past.len() <= QUOTED_LINES);
        }
    }
}
