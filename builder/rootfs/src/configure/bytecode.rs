//! Python's bytecode, compiled for all packages at once.
//!
//! The script of every package with Python in it calls py3compile, which starts four interpreters: that is most of
//! what it costs. Here such a call is recorded, and once all scripts have run the program itself carries out all of
//! them in one interpreter, with one compiler. No script needs the bytecode. A call that a script lets fail fails the
//! build here.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};

use super::stubs;
use crate::{Error, tree::Tree};

/// What scripts call, by Debian's policy for Python.
const PROGRAM: &str = "/usr/bin/py3compile";
const INTERPRETER: &str = "/usr/bin/python3";
/// Where the record of calls is in the sandbox, and what carries them out.
const RECORD: &str = "/run/py3compile.calls";
const DRIVER: &str = "/run/py3compile.driver";
/// In a record: the number of arguments, then these, each ended by a zero byte.
const RECORDER: &str = "#!/bin/sh\nprintf '%s\\0' \"$#\" \"$@\" >>/run/py3compile.calls\n";
const CARRY_OUT: &str = include_str!("bytecode.py");

/// The calls of one configuring.
pub(super) struct Bytecode {
    recorder: PathBuf,
    record: PathBuf,
    driver: PathBuf,
}

impl Bytecode {
    /// Makes an empty record beside the log, if the tree has the program.
    pub(super) fn place(tree: &Tree, log: &Path) -> Result<Option<Self>, Error> {
        if !tree.exists(stubs::relative(Path::new(PROGRAM)))? {
            return Ok(None);
        }
        let recorder = stubs::write(&log.with_extension("recorder"), RECORDER)?;
        let driver = stubs::write(&log.with_extension("driver"), CARRY_OUT)?;
        let record = log.with_extension("calls");
        let made = OpenOptions::new().write(true).create(true).truncate(true).open(&record);
        match made {
            Ok(_) => Ok(Some(Self { recorder, record, driver })),
            Err(source) => Err(Error::Host { operation: "writing", path: record, source }),
        }
    }

    /// The sandbox with the recorder in the program's place.
    pub(super) fn record(&self, sandbox: Sandbox) -> Sandbox {
        let recorder = sandbox.bind_ro_at(&self.recorder, Path::new(PROGRAM));
        recorder.bind_at(&self.record, Path::new(RECORD))
    }

    /// The command that carries out what was recorded; `command` makes one of a program in a sandbox. None if
    /// nothing was.
    pub(super) fn carry_out(
        &self,
        sandbox: Sandbox,
        command: impl FnOnce(&str, &Sandbox) -> Result<Cmd, Error>,
    ) -> Result<Option<Cmd>, Error> {
        if fs::metadata(&self.record).is_ok_and(|record| record.len() == 0) {
            return Ok(None);
        }
        let sandbox = sandbox.bind_ro_at(&self.record, Path::new(RECORD));
        let sandbox = sandbox.bind_ro_at(&self.driver, Path::new(DRIVER));
        Ok(Some(command(INTERPRETER, &sandbox)?.args([DRIVER, RECORD, PROGRAM])))
    }

    /// Removes the files beside the log.
    pub(super) fn remove(&self) {
        for path in [&self.recorder, &self.record, &self.driver] {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use coremax_skip::skip;

    use super::*;

    /// Stands for py3compile: as little of it as the driver knows of.
    const PROGRAM: &str = "import subprocess, sys\nWORKERS = {}\ndef main():\n    \
        if 3 not in WORKERS:\n        \
        WORKERS[3] = subprocess.Popen(['cat'], stdin=subprocess.PIPE, bufsize=0)\n    \
        WORKERS[3].stdin.write(repr(sys.argv[1:]).encode() + b'\\n')\n    \
        for worker in WORKERS.values():\n        worker.communicate()\n    \
        if 'raises' in sys.argv:\n        raise Exception('no such package')\n    \
        sys.exit('broken' in sys.argv)\n";

    #[test]
    fn what_scripts_call_is_done_by_one_compiler() {
        if !Path::new(INTERPRETER).exists() {
            return skip("there is no python3");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (record, recorder) = (path("calls"), path("recorder"));
        fs::write(&recorder, RECORDER.replace(RECORD, &record)).unwrap();
        fs::write(path("program"), PROGRAM).unwrap();
        fs::write(path("driver"), CARRY_OUT).unwrap();
        let call = |arguments: &[&str]| {
            let status = run("sh", &[&[recorder.as_str()], arguments].concat()).0;
            assert!(status, "{arguments:?}");
        };
        let carry_out = || run(INTERPRETER, &[&path("driver"), &record, &path("program")]);

        call(&["-p", "python3-x", "/usr/share/a b", ""]);
        call(&["-V", "3.11"]);
        let done =
            "['--force', '-p', 'python3-x', '/usr/share/a b', '']\n['--force', '-V', '3.11']\n";
        assert_eq!(carry_out(), (true, done.to_owned(), String::new()));

        call(&["-O", "optimized"]);
        call(&["-p", "broken"]);
        call(&["-p", "raises"]);
        call(&["last"]);
        let (succeeded, output, complaints) = carry_out();
        let last = "['--force', 'last']\n['--force', '-O', 'optimized']\n";
        assert!(!succeeded && output.ends_with(last), "{output}");
        let want =
            "py3compile failed: -p broken (True)\npy3compile failed: -p raises (no such package)\n";
        assert_eq!(complaints, want);

        fs::write(path("program"), PROGRAM.replace("['cat']", "['false']")).unwrap();
        assert!(!carry_out().0, "a compiler that fails");
    }

    fn run(program: &str, arguments: &[&str]) -> (bool, String, String) {
        let output = Cmd::new(program, &Sandbox::host()).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }
}
