//! A machine for a person: its serial line in this terminal, its port 22 on the host.
//!
//! The terminal is raw while the machine runs, so that every key reaches the guest; `Ctrl-A x`
//! ends the machine, as in QEMU itself, and `Ctrl-A Ctrl-A` sends one `Ctrl-A`. A signal that asks this program
//! to end ends the machine first.

use std::{
    io::{self, IsTerminal, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::fd::AsFd,
    path::Path,
};

use coremax_sandbox::{Endings, Sandbox};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};

use crate::{Config, Error, Machine, error::file};

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

/// A free port of the host's loopback, for [`crate::Network::Open`]. It is free now; that it still is
/// when QEMU takes it, QEMU checks.
///
/// # Errors
/// Where none can be had.
pub fn free_port() -> Result<u16, Error> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|found| found.local_addr());
    Ok(port.map_err(file("looking for a free port on", "127.0.0.1"))?.port())
}

/// Runs a machine with its serial line in this terminal, until it powers off or the user ends it.
/// `work` gets the logs of QEMU and firmware and, until the end, what the guest writes to its disk.
///
/// # Errors
/// Where the machine does not start or the terminal cannot be set.
pub fn run(config: &Config, tools: &Sandbox, work: &Path) -> Result<(), Error> {
    let endings = Endings::catch().map_err(Error::Program)?;
    let mut machine = Machine::start(config, tools, work)?;
    machine.follow_firmware(&work.join("firmware.log"))?;
    let result = {
        let _raw = Raw::enter()?;
        carry(&machine, &endings)
    };
    machine.quit()?;
    match result.map_err(Error::Terminal)? {
        End::Signal => Err(Error::Interrupted),
        End::Guest | End::User => Ok(()),
    }
}

/// Who ended the machine.
enum End {
    Guest,
    User,
    Signal,
}

/// Carries bytes both ways until either side ends.
fn carry(machine: &Machine, endings: &Endings) -> io::Result<End> {
    let mut serial = machine.serial();
    let (mut input, mut output) = (io::stdin(), io::stdout());
    let mut keys = Keys::default();
    let mut buffer = [0; 4096];
    let mut listening = true;
    loop {
        let Ready { typed, said, asked } = ready(listening.then_some(&input), serial, endings)?;
        if asked {
            return Ok(End::Signal);
        }
        if said {
            match serial.read(&mut buffer)? {
                0 => return Ok(End::Guest),
                n => output.write_all(&buffer[..n]).and_then(|()| output.flush())?,
            }
        }
        if typed {
            match input.read(&mut buffer)? {
                // The end of what was piped in ends nothing: the machine goes on.
                0 => listening = false,
                n => match keys.take(&buffer[..n]) {
                    Some(bytes) => serial.write_all(&bytes)?,
                    None => return Ok(End::User),
                },
            }
        }
    }
}

/// What can be read.
struct Ready {
    typed: bool,
    said: bool,
    /// A signal came.
    asked: bool,
}

/// Waits until something can be read.
fn ready(input: Option<&io::Stdin>, serial: &impl AsFd, endings: &Endings) -> io::Result<Ready> {
    let mut waited = [serial.as_fd(), endings.as_fd()]
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .to_vec();
    waited.extend(input.map(|input| PollFd::new(input, PollFlags::IN)));
    loop {
        match poll(&mut waited, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let is_ready = |number: usize| waited.get(number).is_some_and(|fd| !fd.revents().is_empty());
    Ok(Ready { said: is_ready(0), asked: is_ready(1), typed: is_ready(2) })
}

/// Looks for the escape among the keys.
#[derive(Debug, Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    /// What the guest gets of these bytes; none when the user ends the machine.
    fn take(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(typed.len());
        for &byte in typed {
            match (std::mem::take(&mut self.escaped), byte) {
                (true, b'x' | b'X') => return None,
                (true, ESCAPE) => bytes.push(ESCAPE),
                (true, _) => bytes.extend([ESCAPE, byte]),
                (false, ESCAPE) => self.escaped = true,
                (false, _) => bytes.push(byte),
            }
        }
        Some(bytes)
    }
}

/// What undoes what a guest may have done to the terminal's modes and colours (DECSTR, SGR 0, the cursor, line
/// wrap), on a line of its own.
const SANE: &[u8] = b"\x1b[!p\x1b[0m\x1b[?25h\x1b[?7h\r\n";

/// The terminal in raw mode, restored on drop; nothing where there is no terminal.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Result<Self, Error> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(Self(None));
        }
        let failed = |e: rustix::io::Errno| Error::Terminal(e.into());
        let before = tcgetattr(&input).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
            let mut output = io::stdout();
            if output.is_terminal() {
                let _ = output.write_all(SANE).and_then(|()| output.flush());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_is_found_across_reads() {
        let table = [
            (&["ls\r"][..], Some("ls\r")),
            (&["\x01x"], None),
            (&["a\x01", "x"], None),
            (&["\x01\x01"], Some("\x01")),
            (&["\x01", "c"], Some("\x01c")),
            (&["\x01\x01x"], Some("\x01x")),
        ];
        for (reads, want) in table {
            let mut keys = Keys::default();
            let got: Option<Vec<_>> =
                reads.iter().map(|typed| keys.take(typed.as_bytes())).collect();
            let got = got.map(|parts| parts.concat());
            assert_eq!(got.as_deref(), want.map(str::as_bytes), "{reads:?}");
        }
    }

    #[test]
    fn a_port_is_free() {
        let port = free_port().unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
