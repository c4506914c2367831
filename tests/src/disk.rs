//! A changed copy of an image, and what a machine says that starts it.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use coremax_sandbox::{Cmd, Sandbox};

use crate::{Firmware, Outcome, expect, failed};

/// Longer than any of it takes by emulation on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Bytes from the disk's beginning in which the ESP lies.
const ESP: u64 = 516 << 20;
const MIB: u64 = 1 << 20;

const QEMU: &str = "qemu-system-x86_64";

/// A program that is missing is a skip; one that fails is not.
fn is_here(program: &str, package: &str) -> Outcome {
    let ran = Cmd::new(program, &Sandbox::host()).arg("--version").run();
    ran.map(drop).map_err(|error| failed(&error, package))
}

/// A raw copy of an image, to be changed and started.
#[derive(Debug)]
pub struct Disk {
    raw: PathBuf,
    work: PathBuf,
}

impl Disk {
    /// A copy of `image` in the folder `work`, in place of the last one.
    ///
    /// # Errors
    /// A skip where there is no qemu-img; failing I/O.
    pub fn of(image: &Path, work: &Path) -> Result<Self, String> {
        let raw = work.join("copy.raw");
        expect(image.exists(), || format!("there is no {}", image.display()))?;
        is_here("qemu-img", "qemu-utils")?;
        let convert = Cmd::new("qemu-img", &Sandbox::host()).args(["convert", "-O", "raw"]);
        convert.arg(image).arg(&raw).run().map_err(|e| e.to_string())?;
        Ok(Self { raw, work: work.to_owned() })
    }

    /// Changes a bit of this text wherever it stands on the ESP.
    ///
    /// # Errors
    /// Where it stands nowhere.
    pub fn flip(&self, text: &str) -> Outcome {
        let disk = self.open()?;
        let (mut at, mut found) = (0, 0);
        let mut window = vec![0; 1 << 20];
        while at < ESP {
            let length = disk.read_at(&mut window, at).map_err(|e| e.to_string())?;
            for (place, bytes) in (at..).zip(window[..length].windows(text.len())) {
                if bytes == text.as_bytes() {
                    disk.write_all_at(&[bytes[0] ^ 1], place).map_err(|e| e.to_string())?;
                    found += 1;
                }
            }
            at += (length.saturating_sub(text.len())).max(1) as u64;
        }
        expect(found > 0, || format!("{text:?} is nowhere on the ESP"))
    }

    /// Changes a bit of the root's first block.
    ///
    /// # Errors
    /// Where there is no root.
    pub fn flip_root(&self) -> Outcome {
        let disk = self.open()?;
        for at in (1..).map(|mib| mib * MIB) {
            let mut head = [0; 9];
            disk.read_exact_at(&mut head, at).map_err(|e| format!("there is no root: {e}"))?;
            if head.starts_with(b"hsqs") {
                return disk.write_all_at(&[head[8] ^ 1], at + 8).map_err(|e| e.to_string());
            }
        }
        Ok(())
    }

    /// Starts a machine from it: it must say `wanted`, and until then none of `never`.
    ///
    /// # Errors
    /// What it says instead; a skip where there is no QEMU or no firmware.
    pub fn says(&self, firmware: &Firmware, wanted: &str, never: &[&str]) -> Outcome {
        let serial = self.work.join("serial.log");
        fs::write(&serial, "").map_err(|e| e.to_string())?;
        let log = File::create(self.work.join("qemu.log")).map_err(|e| e.to_string())?;
        is_here(QEMU, "qemu-system-x86")?;
        let mut machine = Cmd::new(QEMU, &Sandbox::host())
            .args(self.arguments(firmware, &serial)?)
            .stderr_file(log)
            .spawn()
            .map_err(|e| e.to_string())?;
        let start = Instant::now();
        loop {
            let ended = machine.try_wait().map_err(|e| e.to_string())?.is_some();
            let said = fs::read(&serial).map_err(|e| e.to_string())?;
            let said = String::from_utf8_lossy(&said);
            let tail = || said.lines().rev().take(15).collect::<Vec<_>>().join("\n");
            if let Some(never) = never.iter().find(|never| said.contains(**never)) {
                return Err(format!("it says {never:?}; last of all (upwards):\n{}", tail()));
            }
            if said.contains(wanted) {
                return machine.kill().map_err(|e| e.to_string());
            }
            expect(!ended && start.elapsed() < PATIENCE, || {
                format!("it never says {wanted:?}; last of all (upwards):\n{}", tail())
            })?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn arguments(&self, firmware: &Firmware, serial: &Path) -> Result<Vec<String>, String> {
        let fixed = "-nodefaults -no-user-config -display none -vga std -net none -no-reboot -m 1024M \
            -accel tcg,thread=multi -cpu max -smp 2 -device virtio-blk-pci,drive=disk";
        let words = fixed.split_whitespace().map(str::to_owned);
        let disk = format!("if=none,id=disk,format=raw,cache=unsafe,file={}", self.raw.display());
        let pairs = [("-serial", format!("file:{}", serial.display())), ("-drive", disk)];
        let pairs = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        Ok(words.chain(firmware.arguments(&self.work)?).chain(pairs).collect())
    }

    fn open(&self) -> Result<File, String> {
        let opened = OpenOptions::new().read(true).write(true).open(&self.raw);
        opened.map_err(|e| format!("opening {}: {e}", self.raw.display()))
    }
}
