//! `Cmd`: the only way to start a program.
//!
//! Argument lists, never a shell; standard input closed unless bytes are given; in a sandbox a
//! fixed environment (PATH, HOME, C.UTF-8, UTC); output kept for the error message.

#![allow(clippy::disallowed_types)] // what the rest of the workspace must not use is used here

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
};

use crate::{
    Error, Sandbox,
    root::{Root, os_error},
    spawn::{CAPABILITIES, NAMESPACES, PIVOT, START_FOLDER, Spawn},
};

/// How many bytes of standard error an error message quotes.
const QUOTED_BYTES: usize = 2048;
/// The environment of every program in a sandbox; `Cmd::env` adds to it.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("TMPDIR", "/tmp"),
];

/// A program with its arguments, and the sandbox it will run in.
pub struct Cmd {
    program: OsString,
    sandbox: Sandbox,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    input: Option<Vec<u8>>,
    stdout: Option<File>,
    stderr: Option<File>,
    interactive: bool,
}

/// What a program left when it ended.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// All it wrote to standard output; empty where that went to a file.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error; empty where that went to a file.
    pub stderr: Vec<u8>,
}

/// A running program, killed with all its descendants when this is dropped.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    program: String,
}

impl Cmd {
    /// A program by name (looked up in the sandbox's PATH) or by path.
    pub fn new(program: impl AsRef<OsStr>, sandbox: &Sandbox) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            sandbox: sandbox.clone(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            input: None,
            stdout: None,
            stderr: None,
            interactive: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts in this folder, as the program sees it.
    #[must_use]
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Gives these bytes as standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Sends standard output to a file.
    #[must_use]
    pub fn stdout_file(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// Sends standard error to a file.
    #[must_use]
    pub fn stderr_file(mut self, file: File) -> Self {
        self.stderr = Some(file);
        self
    }

    /// Keeps the terminal: input, output and its signals.
    #[must_use]
    pub fn interactive(mut self) -> Self {
        self.interactive = true;
        self
    }

    /// Runs to the end; a status other than 0 is an error that quotes the last of stderr.
    ///
    /// # Errors
    /// Where it cannot start, cannot be read from, or fails.
    pub fn run(self) -> Result<Output, Error> {
        let program = self.name();
        let output = self.output()?;
        if output.status.success() {
            return Ok(output);
        }
        let stderr = last_lines(&output.stderr);
        Err(Error::Failed { program, status: output.status, stderr })
    }

    /// Runs to the end, whatever the status.
    ///
    /// # Errors
    /// Where it cannot start or cannot be read from.
    pub fn output(mut self) -> Result<Output, Error> {
        let input = self.input.take();
        let mut child =
            self.start(Stdio::piped, if input.is_some() { Stdio::piped } else { Stdio::null })?;
        let writer = child.inner.stdin.take().zip(input).map(|(mut pipe, bytes)| {
            // A program may end before it has read everything: its status says how it went.
            thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let stderr = child.inner.stderr.take().map(|pipe| thread::spawn(move || read_all(pipe)));
        let stdout = child.inner.stdout.take().map(read_all).transpose();
        let stderr = stderr.map(|t| t.join().unwrap_or_else(|_| Ok(Vec::new()))).transpose();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        let failed = |source| Error::Run { program: child.program.clone(), source };
        let (stdout, stderr) = (stdout.map_err(failed)?, stderr.map_err(failed)?);
        let status = child.wait()?;
        Ok(Output {
            status,
            stdout: stdout.unwrap_or_default(),
            stderr: stderr.unwrap_or_default(),
        })
    }

    /// Starts and returns at once. Standard output and error go to the files given, else nowhere.
    ///
    /// # Errors
    /// Where it cannot start.
    pub fn spawn(self) -> Result<Child, Error> {
        self.start(Stdio::null, Stdio::null)
    }

    fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    fn start(mut self, out: fn() -> Stdio, input: fn() -> Stdio) -> Result<Child, Error> {
        let program = self.name();
        let start_failed = |source| Error::Start { program: program.clone(), source };
        let (mut reports, report) = io::pipe().map_err(start_failed)?;
        let spawn = Spawn {
            actions: self.sandbox.actions()?,
            network: self.sandbox.network,
            interactive: self.interactive,
            builder: rustix::process::getpid(),
            report,
        };
        let described: Vec<String> =
            spawn.actions.iter().map(crate::root::Action::describe).collect();
        let mut command = self.command(out, input);
        let start_folder = self.folder.take();
        in_child(&mut command, spawn, start_folder.clone());
        let result = command.spawn();
        drop(command); // and with it our end of the report's pipe
        match result {
            Ok(inner) => Ok(Child { inner, program }),
            Err(source) => {
                let mut message = Vec::new();
                let _ = reports.read_to_end(&mut message);
                Err(explained(program, &message, &described, start_folder.as_deref(), source))
            }
        }
    }

    fn command(&mut self, out: fn() -> Stdio, input: fn() -> Stdio) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        if !matches!(self.sandbox.root, Root::Host) {
            command.env_clear().envs(ENVIRONMENT);
        }
        command.env("LC_ALL", "C.UTF-8").envs(self.environment.drain(..));
        if !self.interactive {
            command.stdin(input());
            command.stdout(self.stdout.take().map_or_else(out, Stdio::from));
            command.stderr(self.stderr.take().map_or_else(out, Stdio::from));
        }
        command
    }
}

/// Becomes this program, with this process's environment; returns only when that fails.
pub fn exec<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Error {
    let source = Command::new(program).args(arguments).exec();
    Error::Start { program: program.display().to_string(), source }
}

#[allow(unsafe_code)] // pre_exec
fn in_child(command: &mut Command, spawn: Spawn, folder: Option<PathBuf>) {
    let folder = folder.map(|path| {
        std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).unwrap_or_default()
    });
    // SAFETY: the closure makes system calls alone; all it needs was allocated before.
    unsafe {
        command.pre_exec(move || {
            spawn.in_child()?;
            folder.as_ref().map_or(Ok(()), |folder| spawn.start_in(folder))
        });
    }
}

/// Why a start failed: an action's number and errno where the child wrote them, else exec's errno.
fn explained(
    program: String,
    message: &[u8],
    actions: &[String],
    folder: Option<&Path>,
    source: io::Error,
) -> Error {
    let Some((number, errno)) = message.first_chunk::<8>().map(|bytes| {
        let [a, b, c, d, e, f, g, h] = *bytes;
        (u32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]))
    }) else {
        return Error::Start { program, source };
    };
    let operation = match number {
        NAMESPACES => "making its namespaces".to_owned(),
        PIVOT => "changing its root".to_owned(),
        START_FOLDER => format!("starting in {}", folder.unwrap_or(Path::new("/")).display()),
        CAPABILITIES => "limiting its capabilities".to_owned(),
        n => actions.get(n as usize).cloned().unwrap_or_default(),
    };
    Error::Prepare { program, operation, source: os_error(errno) }
}

fn read_all(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn last_lines(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(QUOTED_BYTES);
    let text = String::from_utf8_lossy(&stderr[start..]).into_owned();
    let whole = if start > 0 { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    whole.trim_end().to_owned()
}

impl Child {
    /// Waits for the end.
    ///
    /// # Errors
    /// Where the kernel refuses to say.
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.inner.wait().map_err(|source| Error::Run { program: self.program.clone(), source })
    }

    /// The status, if it has ended.
    ///
    /// # Errors
    /// Where the kernel refuses to say.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.inner.try_wait().map_err(|source| Error::Run { program: self.program.clone(), source })
    }

    /// Kills it and everything it started, and waits for the end.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn kill(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Run { program: self.program.clone(), source };
        self.inner.kill().map_err(failed)?;
        self.inner.wait().map(drop).map_err(failed)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_programs_run() {
        let host = Sandbox::host();
        let output = Cmd::new("cat", &host).stdin("some text").run().unwrap();
        assert_eq!(output.stdout, b"some text");
        let error = Cmd::new("ls", &host).arg("/no/such/file").run().unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
        let error = Cmd::new("no-such-program", &host).run().unwrap_err();
        assert!(matches!(error, Error::Start { .. }) && error.hint().is_some());
    }

    #[test]
    fn a_dropped_child_is_dead() {
        let child = Cmd::new("sleep", &Sandbox::host()).arg("1000").spawn().unwrap();
        let pid = child.inner.id();
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn long_complaints_are_cut_at_a_line() {
        let text = "0123456789\n".repeat(1000);
        let cut = last_lines(text.as_bytes());
        assert!(cut.len() < QUOTED_BYTES && cut.starts_with("0123456789\n"));
        assert_eq!(last_lines(b"one\ntwo\n"), "one\ntwo");
    }
}
