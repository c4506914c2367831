//! A machine in QEMU, followed by what it says on its serial line.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use coremax_sandbox::{Child, Cmd, Sandbox};

use crate::{disk::Disk, kit::Kit};

/// A machine that says nothing for so long has failed, on the slowest host.
const PATIENCE: Duration = Duration::from_secs(600);
pub(crate) const CONSOLE: &str = "console=ttyS0,115200n8";

pub(crate) struct Machine {
    qemu: Child,
    folder: tempfile::TempDir,
    started: Instant,
    open: Vec<UnixStream>, // what is closed early is not read
}

/// All that a machine said.
pub(crate) struct Said(String);

impl Machine {
    pub(crate) fn start(kit: &Kit, disks: &[&Disk], line: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [serial, monitor, line_socket] =
            ["serial", "monitor", "line"].map(|name| folder.path().join(name));
        File::create(&serial).unwrap();
        let mut arguments: Vec<String> =
            "-machine pc,accel=tcg -m 512 -nodefaults -display none -net \
            none -no-reboot"
                .split_whitespace()
                .map(Into::into)
                .collect();
        for (key, value) in [
            ("-kernel", kit.kernel.display().to_string()),
            ("-initrd", kit.initrd.display().to_string()),
            ("-append", line.to_owned()),
            (
                "-chardev",
                format!(
                    "socket,id=line,path={},server=on,wait=off,logfile={}",
                    line_socket.display(),
                    serial.display()
                ),
            ),
            ("-serial", "chardev:line".to_owned()),
            ("-monitor", format!("unix:{},server,nowait", monitor.display())),
        ] {
            arguments.extend([key.to_owned(), value]);
        }
        for (number, disk) in disks.iter().enumerate() {
            let file = disk.path.display();
            arguments
                .extend(["-drive".into(), format!("if=none,id=d{number},format=raw,file={file}")]);
            arguments.extend(["-device".into(), format!("virtio-blk-pci,drive=d{number}")]);
        }
        let log = File::create(folder.path().join("qemu.log")).unwrap();
        let qemu = Cmd::new("qemu-system-x86_64", &Sandbox::host()).args(&arguments);
        let qemu = qemu.stderr_file(log).spawn().unwrap();
        Self { qemu, folder, started: Instant::now(), open: Vec::new() }
    }

    /// Waits for this on the serial line.
    pub(crate) fn wait_for(&mut self, marker: &str) {
        loop {
            let ended = self.qemu.try_wait().unwrap();
            let said = self.said();
            if said.0.contains(marker) {
                return;
            }
            let late = self.started.elapsed() > PATIENCE;
            assert!(
                ended.is_none() && !late,
                "no {marker:?}: {ended:?}\n{}\n{}",
                self.log(),
                said.0
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All it said until this marker, and what follows until it ends by itself, if it soon does.
    pub(crate) fn until(mut self, marker: &str) -> Said {
        self.wait_for(marker);
        self.until_it_ends(Duration::from_secs(30))
    }

    pub(crate) fn until_it_ends(mut self, within: Duration) -> Said {
        let until = Instant::now() + within;
        while self.qemu.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.said()
    }

    /// Types on the serial line.
    pub(crate) fn types(&mut self, text: &str) {
        let mut line = UnixStream::connect(self.folder.path().join("line")).unwrap();
        line.write_all(text.as_bytes()).unwrap();
        self.open.push(line);
    }

    /// Connects a disk to the running machine.
    pub(crate) fn plug(&mut self, disk: &Disk) {
        let mut monitor = UnixStream::connect(self.folder.path().join("monitor")).unwrap();
        let file = disk.path.display();
        writeln!(monitor, "drive_add 0 if=none,id=late,format=raw,file={file}").unwrap();
        writeln!(monitor, "device_add virtio-blk-pci,drive=late").unwrap();
        self.open.push(monitor);
    }

    fn said(&self) -> Said {
        let bytes = fs::read(self.folder.path().join("serial")).unwrap();
        Said(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn log(&self) -> String {
        let path: PathBuf = self.folder.path().join("qemu.log");
        fs::read_to_string(path).unwrap()
    }
}

impl Said {
    pub(crate) fn holds(&self, text: &str) {
        assert!(self.0.contains(text), "not said: {text:?}\n{}", self.0);
    }

    /// The number behind this text.
    pub(crate) fn number(&self, text: &str) -> u64 {
        self.holds(text);
        let (_, behind) = self.0.split_once(text).unwrap();
        let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    /// The lines that tell how far it came, with the kernel's seconds.
    pub(crate) fn progress(&self) -> String {
        let marks = ["coremax-init", "Run /init", "guest:", "device-mapper"];
        let lines = self.0.lines().filter(|line| marks.iter().any(|mark| line.contains(mark)));
        lines.map(|line| format!("  {line}\n")).collect()
    }

    /// All from early boot's first words to a person.
    pub(crate) fn told(&self) -> &str {
        self.0.find("\ncoremax-init:").map_or("", |at| &self.0[at..])
    }
}
