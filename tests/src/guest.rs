//! A machine that keeps what it writes, with a root shell on a virtio-serial port.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{Firmware, failed, switch::netdev};
use coremax_sandbox::{Child, Cmd, Sandbox};

const QEMU: &str = "qemu-system-x86_64";
/// How long the machine may be silent: three boots that end in a watchdog's timeout, without KVM.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How long QEMU may take to connect.
const CONNECT: Duration = Duration::from_secs(30);

/// The shell's files, for the recipe of an image under test.
pub const SHELL: &str = r#"
[[file]]
path = "/usr/lib/coremax-tests/shell"
mode = "0755"
content = '''
#!/bin/bash
# Runs what a test says, a line at a time.
export LC_ALL=C
exec 3<>/dev/virtio-ports/coremax.tests
# The command line of what its operator signed is the same in both slots.
slot=$(sed -n 's/.*"slot":"\([ab]\)".*/\1/p' /run/coremax/state.json)
version=$(cat /usr/lib/coremax-tests/version)
echo "ready $slot $version" >&3
while :; do
    while IFS= read -r line <&3; do
        said=$(bash -c "$line" 2>&1 </dev/null 3>&-)
        code=$?
        printf 'done %s %s\n%s' "$code" "${#said}" "$said" >&3
    done
    sleep 0.2 # until the tester is there
done
'''

[[file]]
path = "/usr/lib/systemd/system/coremax-tests.service"
content = '''
[Unit]
Description=Shell for tests
[Service]
Type=exec
ExecStart=/usr/lib/coremax-tests/shell
'''

[[file]]
path = "/usr/lib/udev/rules.d/90-coremax-tests.rules"
content = '''
SUBSYSTEM=="virtio-ports", ATTR{name}=="coremax.tests", TAG+="systemd", ENV{SYSTEMD_WANTS}+="coremax-tests.service"
'''
"#;

/// What a machine writes to.
pub enum Disk<'a> {
    /// A qcow2.
    Kept(&'a Path),
    /// A raw disk.
    Raw(&'a Path),
    /// A raw disk, and a file that gets a record of all writes.
    Recorded {
        /// The disk.
        disk: &'a Path,
        /// The record.
        log: &'a Path,
    },
}

/// A machine to be. It has a watchdog.
pub struct Machine<'a> {
    /// What it starts by.
    pub firmware: &'a Firmware,
    /// Its disk.
    pub disk: Disk<'a>,
    /// A second disk, to be read.
    pub files: Option<&'a Path>,
    /// How many processors it has.
    pub processors: u8,
    /// Its card.
    pub network: Network<'a>,
    /// Where it has its own files: its console, its shell, its firmware's variables.
    pub work: &'a Path,
}

impl<'a> Machine<'a> {
    /// One that has the host alone for company, and files to read.
    pub const fn alone(
        firmware: &'a Firmware,
        disk: Disk<'a>,
        files: &'a Path,
        work: &'a Path,
    ) -> Self {
        Self { firmware, disk, files: Some(files), processors: 2, network: Network::Host, work }
    }
}

/// What a machine's card leads to.
pub enum Network<'a> {
    /// The host alone, which answers at 10.0.2.2.
    Host,
    /// A switch at this socket, by a card with this address.
    Switch {
        /// The socket.
        socket: &'a Path,
        /// The card's address.
        mac: &'a str,
    },
}

/// A running machine.
pub struct Guest {
    shell: BufReader<UnixStream>,
    serial: PathBuf,
    qemu: Child,
    /// What QEMU tells of itself, a line an event.
    events: Arc<Mutex<String>>,
}

/// What a boot came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Up {
    /// The slot that runs.
    pub slot: String,
    /// What /usr/lib/coremax-tests/version says.
    pub version: String,
}

/// What a command came to.
#[derive(Debug)]
pub struct Did {
    /// Whether it succeeded.
    pub ok: bool,
    /// What it said.
    pub said: String,
}

impl Guest {
    /// Starts a machine.
    ///
    /// # Errors
    /// A skip where there is no QEMU; QEMU's own words where it does not start.
    pub fn start(machine: &Machine<'_>) -> Result<Self, String> {
        Self::start_with(machine, &[])
    }

    /// The same, with what else QEMU is to be told.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(machine: &Machine<'_>, more: &[String]) -> Result<Self, String> {
        let Machine { work, .. } = *machine;
        fs::create_dir_all(work).map_err(|e| format!("making {}: {e}", work.display()))?;
        let serial = work.join("serial.log");
        let listen = |name: &str| {
            let path = work.join(name);
            let _ = fs::remove_file(&path);
            let listener = UnixListener::bind(&path).map_err(|e| format!("listening: {e}"))?;
            Ok::<_, String>((listener, format!("socket,id={name},path={}", path.display())))
        };
        let ((shell, to_shell), (monitor, to_monitor)) = (listen("shell")?, listen("monitor")?);
        let log = File::create(work.join("qemu.log")).map_err(|e| format!("making a log: {e}"))?;
        let mut qemu = Cmd::new(QEMU, &Sandbox::host())
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024M"])
            .args(["-smp", &machine.processors.to_string()])
            .args(machine.firmware.arguments(work)?)
            .args(machine.disk.arguments())
            .args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"])
            .args(machine.files.map(files).into_iter().flatten())
            .args(["-serial", &format!("file:{}", serial.display())])
            .args(["-chardev", &to_monitor, "-mon", "chardev=monitor,mode=control"])
            .args(["-chardev", &to_shell, "-device", "virtio-serial-pci"])
            .args(["-device", "virtserialport,chardev=shell,name=coremax.tests"])
            .args(["-device", "virtio-rng-pci", "-device", "i6300esb"])
            .args(machine.network.arguments())
            .args(more)
            .stderr_file(log)
            .spawn()
            .map_err(|e| failed(&e, "qemu-system-x86"))?;
        let events = follow(connected(&monitor, &mut qemu, work)?)?;
        let stream = connected(&shell, &mut qemu, work)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
        Ok(Self { shell: BufReader::new(stream), serial, qemu, events })
    }

    /// How often the watchdog had to restart the machine.
    pub fn watchdogs(&self) -> usize {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.lines().filter(|line| line.contains("\"WATCHDOG\"")).count()
    }

    /// Waits until the machine has come up.
    ///
    /// # Errors
    /// Where the machine is gone, or silent for too long.
    pub fn up(&mut self) -> Result<Up, String> {
        loop {
            let line = self.line()?;
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["ready", slot, version] => {
                    return Ok(Up { slot: slot.to_owned(), version: version.to_owned() });
                }
                ["ready", ..] => return Err(format!("it does not know what runs: {line:?}")),
                _ => {}
            }
        }
    }

    /// Restarts it in order, and waits until this version is up, whatever boots in between.
    ///
    /// # Errors
    /// Where the machine is gone, or silent for too long.
    pub fn restart_until(&mut self, version: &str) -> Result<Up, String> {
        self.send("systemctl reboot")?;
        loop {
            let up = self.up()?;
            if up.version == version {
                return Ok(up);
            }
        }
    }

    /// Powers it off in order and waits for its end.
    ///
    /// # Errors
    /// Where the machine is gone, or silent for too long.
    pub fn power_off(mut self) -> Result<(), String> {
        self.send("systemctl poweroff")?;
        while self.line().is_ok() {}
        let status = self.qemu.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("QEMU ended with {status}")) }
    }

    /// Runs a line of shell as root.
    ///
    /// # Errors
    /// Where the machine is gone, or silent for too long.
    pub fn run(&mut self, line: &str) -> Result<Did, String> {
        self.send(line)?;
        let head = self.line()?;
        let words: Vec<_> = head.split_whitespace().collect();
        let ["done", code, length] = words[..] else {
            return Err(format!("{line:?} was answered by {head:?}; {}", self.last()));
        };
        let mut said = vec![0; length.parse().map_err(|_| format!("no length in {head:?}"))?];
        self.shell.read_exact(&mut said).map_err(|e| format!("{line:?}: {e}; {}", self.last()))?;
        Ok(Did { ok: code == "0", said: String::from_utf8_lossy(&said).into_owned() })
    }

    /// The same for one that must succeed; what it says.
    ///
    /// # Errors
    /// Where the machine is gone, or silent for too long, or the command fails.
    pub fn runs(&mut self, line: &str) -> Result<String, String> {
        let did = self.run(line)?;
        if did.ok { Ok(did.said) } else { Err(format!("{line:?} failed: {}", did.said)) }
    }

    /// What the serial line said so far.
    pub fn console(&self) -> String {
        self.console_after(0)
    }

    /// How many bytes the serial line said so far.
    pub fn console_length(&self) -> usize {
        fs::metadata(&self.serial).map_or(0, |file| usize::try_from(file.len()).unwrap_or(0))
    }

    /// What it said after the first bytes.
    pub fn console_after(&self, before: usize) -> String {
        let bytes = fs::read(&self.serial).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(before..).unwrap_or_default()).into_owned()
    }

    fn send(&mut self, line: &str) -> Result<(), String> {
        let mut stream = self.shell.get_ref();
        stream.write_all(format!("{line}\n").as_bytes()).map_err(|e| format!("{line:?}: {e}"))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.shell.read_line(&mut line) {
            Ok(1..) => Ok(line),
            Ok(0) => Err(format!("the machine is gone; {}", self.last())),
            Err(error) => Err(format!("the machine is silent: {error}; {}", self.last())),
        }
    }

    /// The end of what the serial line said.
    fn last(&self) -> String {
        let text = self.console();
        let lines: Vec<_> = text.lines().rev().take(15).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        format!("its console ({}) says last:\n{}", self.serial.display(), lines.join("\n"))
    }
}

fn files(image: &Path) -> [String; 4] {
    let drive = format!("if=none,id=files,format=raw,readonly=on,file={}", image.display());
    ["-drive".into(), drive, "-device".into(), "virtio-blk-pci,drive=files".into()]
}

impl Network<'_> {
    fn arguments(&self) -> [String; 4] {
        let (net, mac) = match self {
            Self::Host => ("user,id=net".to_owned(), String::new()),
            Self::Switch { socket, mac } => (netdev("net", socket), format!(",mac={mac}")),
        };
        let card = format!("virtio-net-pci,netdev=net,romfile={mac}");
        ["-netdev".into(), net, "-device".into(), card]
    }
}

impl Disk<'_> {
    fn arguments(&self) -> Vec<String> {
        let pairs = match self {
            Self::Kept(disk) => vec![(
                "-drive",
                format!("if=none,id=disk,format=qcow2,cache=unsafe,file={}", disk.display()),
            )],
            Self::Raw(disk) => vec![(
                "-drive",
                format!("if=none,id=disk,format=raw,cache=unsafe,file={}", disk.display()),
            )],
            Self::Recorded { disk, log } => vec![
                ("-blockdev", format!("driver=file,node-name=raw,filename={}", disk.display())),
                ("-blockdev", format!("driver=file,node-name=log,filename={}", log.display())),
                ("-blockdev", "driver=blklogwrites,node-name=disk,file=raw,log=log".to_owned()),
            ],
        };
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

/// Notes all that QEMU tells over QMP from now on.
/// <https://www.qemu.org/docs/master/interop/qmp-spec.html>
fn follow(mut monitor: UnixStream) -> Result<Arc<Mutex<String>>, String> {
    let events = Arc::new(Mutex::new(String::new()));
    let command = b"{\"execute\":\"qmp_capabilities\"}\n";
    monitor.write_all(command).map_err(|e| format!("asking QEMU for events: {e}"))?;
    let noted = events.clone();
    thread::spawn(move || {
        for line in BufReader::new(monitor).lines().map_while(Result::ok) {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) += &format!("{line}\n");
        }
    });
    Ok(events)
}

fn connected(listener: &UnixListener, qemu: &mut Child, work: &Path) -> Result<UnixStream, String> {
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    let until = Instant::now() + CONNECT;
    while Instant::now() < until {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).map_err(|e| e.to_string())?;
            return Ok(stream);
        }
        if qemu.try_wait().map_err(|e| e.to_string())?.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let said = fs::read_to_string(work.join("qemu.log")).unwrap_or_default();
    Err(format!("QEMU does not start: {said}"))
}
