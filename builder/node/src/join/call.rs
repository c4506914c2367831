//! A node's connection to a seed.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
};

use coremax_channel::{Channel, Credentials};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt},
};

use super::{
    clock::real,
    halves::HANDSHAKE_FOR,
    line::{End, Line, Said},
};

/// One, which stays open from report to report while they are answered.
#[derive(Debug)]
pub(super) struct Call {
    pub to: SocketAddr,
    line: Line,
    is_connected: bool,
    /// What is to be said as soon as the channel is open.
    report: Option<Vec<u8>>,
    /// A report was said, and not answered.
    is_asking: bool,
    since: u64,
}

impl Call {
    /// Begins a connection, with what is to be said on it.
    pub(super) fn begin(
        to: SocketAddr,
        own: &Arc<Credentials>,
        report: Vec<u8>,
    ) -> Result<Self, End> {
        let channel = Channel::of_node(Arc::clone(own))?;
        let line = Line::new(open(to)?, channel);
        let report = Some(report);
        Ok(Self { to, line, is_connected: false, report, is_asking: false, since: real() })
    }

    /// Says another report on it, if that may be answered: one that is about to open takes it in place of the first, one whose
    /// last report was not answered is dead, as far as anybody can tell. Whether it was taken.
    pub(super) fn say(&mut self, to: SocketAddr, report: &[u8]) -> Result<bool, End> {
        let is_open = self.line.peer().is_some();
        let is_late = real().saturating_sub(self.since) >= HANDSHAKE_FOR;
        if self.to != to || self.is_asking || (!is_open && is_late) {
            return Ok(false);
        }
        self.report = Some(report.to_vec());
        self.speak()?;
        Ok(true)
    }

    /// Whether poll is to say when it can be written to, beside when it can be read.
    pub(super) fn writes(&self) -> bool {
        !self.is_connected || !self.line.is_flushed()
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.line.stream
    }

    /// Goes on, as far as the network lets it. Who answers, and what.
    pub(super) fn go_on(&mut self) -> Result<Option<Said>, End> {
        if !self.is_connected {
            sockopt::socket_error(&self.line.stream)
                .map_err(io::Error::from)?
                .map_err(io::Error::from)?;
            self.is_connected = true;
        }
        self.line.flush()?;
        let answers = self.line.receive()?;
        self.speak()?;
        if !answers.is_empty() {
            self.is_asking = false;
        }
        Ok(self.line.peer().map(|peer| (peer, answers)))
    }

    fn speak(&mut self) -> Result<(), End> {
        if self.line.peer().is_some()
            && let Some(report) = self.report.take()
        {
            self.is_asking = true;
            self.line.send(&report)?;
        }
        Ok(())
    }
}

/// A stream that is being connected, and does not block.
fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}
