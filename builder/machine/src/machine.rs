//! A running QEMU.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::net::UnixListener, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use coremax_node_api::{boot_test::ToGuest, encode};
use coremax_sandbox::{Child, Cmd, Sandbox};
use qapi::qmp::{ImageFormat, quit, screendump};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

use crate::{
    Accelerator, Config, Error, Firmware, config,
    error::file,
    qmp::Qmp,
    text,
    wires::{self, Input},
};

/// The program, as the tools tree names it.
const QEMU: &str = "qemu-system-x86_64";
/// How long QEMU may take to connect; it does so in milliseconds unless it fails.
const CONNECT: Duration = Duration::from_secs(30);
/// How often QEMU's end is looked for while it connects.
const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// One running QEMU, killed on drop, and with the builder however that ends.
///
/// To be started by a thread that outlives it: the kernel ends a program with its parent thread.
pub struct Machine {
    child: Child,
    qmp: Qmp,
    serial: UnixStream,
    debug: UnixStream,
    node: UnixStream,
    inputs: (Sender<Input>, Receiver<Input>),
    command: Vec<String>,
    log: PathBuf,
}

impl Machine {
    /// Starts QEMU from the tools in `tools`. What QEMU says goes to `work`/qemu.log, and so does
    /// what the guest writes to its disk, until the machine ends.
    ///
    /// # Errors
    /// Where a file is missing or QEMU does not come up; then with the end of its log.
    pub fn start(config: &Config, tools: &Sandbox, work: &Path) -> Result<Self, Error> {
        fs::create_dir_all(work).map_err(file("making", work))?;
        let work = work.canonicalize().map_err(file("opening", work))?;
        let folder = short_folder()?;
        copy_firmware(&config.firmware, folder.path())?;
        let listeners = listen(folder.path())?;
        let log = work.join("qemu.log");
        let arguments = config.arguments(folder.path());
        let cmd = Cmd::new(QEMU, &sandbox(config, tools, folder.path(), &work))
            .args(&arguments)
            .env("TMPDIR", &work) // where QEMU puts a snapshot's writes, in an unlinked file
            .stderr_file(File::create(&log).map_err(file("making", &log))?);
        let mut child = cmd.spawn().map_err(Error::Program)?;
        let [control, serial, debug, node] = accept(&listeners, &mut child, &log)?;
        let inputs = channel();
        let events = inputs.0.clone();
        let control = Qmp::connect(control, move |event| {
            let input = event.map_or(Input::Ended, |event| Input::Event(Box::new(event)));
            drop(events.send(input));
        });
        let qmp = control.map_err(|error| ending(&mut child, &log).unwrap_or(error))?;
        // All is connected and open by now, and so nothing is left behind however this ends.
        drop(folder);
        let command = [QEMU.to_owned()].into_iter().chain(arguments).collect();
        Ok(Self { child, qmp, serial, debug, node, inputs, command, log })
    }

    /// QEMU's command line.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// The end of what QEMU itself said.
    pub fn said(&self) -> String {
        text::tail_of(&self.log)
    }

    /// Everything the machine says from now on; its serial line and its firmware's messages are
    /// also kept in these files. To be called once.
    pub(crate) fn inputs(&self, serial: &Path, debug: &Path) -> Result<&Receiver<Input>, Error> {
        let (sender, receiver) = &self.inputs;
        wires::follow(&self.serial, serial, sender, Input::Serial)?;
        self.follow_firmware(debug)?;
        wires::follow_node(&self.node, sender)?;
        Ok(receiver)
    }

    /// Keeps what the firmware says in a file. A machine whose firmware nobody listens to stands
    /// still after some hundred bytes.
    pub(crate) fn follow_firmware(&self, debug: &Path) -> Result<(), Error> {
        wires::follow(&self.debug, debug, &self.inputs.0, Input::Debug)
    }

    /// The serial line, both ways.
    pub(crate) fn serial(&self) -> &UnixStream {
        &self.serial
    }

    /// Says something to the node program. A guest that does not listen is seen by its silence.
    pub(crate) fn tell(&self, message: &ToGuest) {
        use std::io::Write;
        if let Ok(line) = encode(message) {
            let _ = (&self.node).write_all(&line);
        }
    }

    /// Writes the screen to `path`: PNG, or PPM from a QEMU that has no PNG.
    pub(crate) fn screendump(&self, path: &Path) -> Result<(), Error> {
        let command = |format| screendump {
            device: None,
            head: None,
            format,
            filename: path.display().to_string(),
        };
        let png = self.qmp.execute(&command(Some(ImageFormat::png)));
        png.or_else(|_| self.qmp.execute(&command(None))).map(drop)
    }

    /// Ends QEMU and waits for it.
    pub(crate) fn quit(&mut self) -> Result<(), Error> {
        if self.child.try_wait().map_err(Error::Program)?.is_some() {
            return Ok(());
        }
        // One that does not hear is killed all the same.
        let _ = self.qmp.execute(&quit {});
        self.child.kill().map_err(Error::Program)
    }
}

/// A folder whose name is short: the path of a Unix socket has at most 108 bytes.
fn short_folder() -> Result<TempDir, Error> {
    tempfile::Builder::new()
        .prefix("coremax-")
        .tempdir_in("/tmp")
        .map_err(file("making a folder in", "/tmp"))
}

fn copy_firmware(firmware: &Firmware, folder: &Path) -> Result<(), Error> {
    let Some(located) = firmware.located() else { return Ok(()) };
    for (from, name) in [(&located.code, config::CODE), (&located.vars, config::VARS)] {
        // Content alone: a template may be read-only, and the variables are written.
        let content = fs::read(from).map_err(file("reading", from))?;
        let to = folder.join(name);
        fs::write(&to, content).map_err(file("writing", to))?;
    }
    Ok(())
}

fn sandbox(config: &Config, tools: &Sandbox, folder: &Path, work: &Path) -> Sandbox {
    let mut sandbox = tools.clone().bind(folder).bind(work);
    for input in config.inputs() {
        sandbox = sandbox.bind_ro(input);
    }
    if config.accelerator == Accelerator::Kvm {
        sandbox = sandbox.device("/dev/kvm");
    }
    match config.network {
        config::Network::Closed => sandbox,
        config::Network::Open { .. } => sandbox.network(true),
    }
}

fn listen(folder: &Path) -> Result<Vec<UnixListener>, Error> {
    let bind = |line| {
        let path = folder.join(line);
        let listener = UnixListener::bind(&path).map_err(file("listening on", &path))?;
        listener.set_nonblocking(true).map_err(file("listening on", path))?;
        Ok(listener)
    };
    config::LINES.into_iter().map(bind).collect()
}

/// QEMU's connections, in the order of [`config::LINES`].
fn accept(
    listeners: &[UnixListener],
    child: &mut Child,
    log: &Path,
) -> Result<[UnixStream; 4], Error> {
    let until = Instant::now() + CONNECT;
    let mut streams = Vec::new();
    for listener in listeners {
        loop {
            if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(false).map_err(file("connecting to", log))?;
                streams.push(stream);
                break;
            }
            if let Some(error) = ended(child, log) {
                return Err(error);
            }
            if Instant::now() >= until {
                return Err(Error::NotStarted { said: "it does not connect".into() });
            }
            let _ =
                poll(&mut [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)], Some(&STEP));
        }
    }
    streams.try_into().map_err(|_| Error::NotStarted { said: "lines are missing".into() })
}

/// The error for a QEMU whose control socket failed: one that ends at once says why in its log,
/// and takes a moment to be gone after it hung up.
fn ending(child: &mut Child, log: &Path) -> Option<Error> {
    let until = Instant::now() + CONNECT;
    loop {
        match ended(child, log) {
            None if Instant::now() < until => drop(poll(&mut [], Some(&STEP))),
            result => return result,
        }
    }
}

/// The error for a QEMU that has ended, with the end of its log.
fn ended(child: &mut Child, log: &Path) -> Option<Error> {
    let status = child.try_wait().ok()??;
    let said = text::tail_of(log);
    let said = if said.is_empty() { format!("it ended with {status}") } else { said };
    Some(Error::NotStarted { said })
}
