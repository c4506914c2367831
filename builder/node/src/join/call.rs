//! A node's connection to a seed.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
};

use coremax_channel::{Channel, Connection, Credentials, Papers, SeedRow};
use coremax_node_api::cluster_status::Spoken;
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
    /// In TLS: by which papers, and what was not answered yet.
    tls: Option<InTls>,
}

#[derive(Debug)]
struct InTls {
    papers: Arc<Papers>,
    seed: SeedRow,
    unanswered: Option<Vec<u8>>,
}

impl Call {
    /// Begins a connection in TLS, with what is to be said on it.
    pub(super) fn begin_tls(
        to: SocketAddr,
        papers: &Arc<Papers>,
        seed: SeedRow,
        report: Vec<u8>,
    ) -> Result<Self, End> {
        let connection = Connection::of_node(papers, seed.clone())?;
        let (papers, unanswered) = (Arc::clone(papers), Some(report.clone()));
        let tls = InTls { papers, seed, unanswered };
        Ok(Self { tls: Some(tls), ..Self::over(to, connection, report)? })
    }

    /// Begins a connection in the channel, with what is to be said on it.
    pub(super) fn begin(
        to: SocketAddr,
        own: &Arc<Credentials>,
        report: Vec<u8>,
    ) -> Result<Self, End> {
        let channel = Channel::of_node(Arc::clone(own))?;
        Self::over(to, channel.into(), report)
    }

    fn over(to: SocketAddr, connection: Connection, report: Vec<u8>) -> Result<Self, End> {
        let line = Line::new(open(to)?, connection);
        let (report, since) = (Some(report), real());
        Ok(Self { to, line, is_connected: false, report, is_asking: false, since, tls: None })
    }

    /// Whether it is in TLS by these papers and to this row, or in the channel where there are none.
    pub(super) fn is_in(&self, wanted: Option<&(Arc<Papers>, SeedRow)>) -> bool {
        match (&self.tls, wanted) {
            (Some(tls), Some((papers, seed))) => {
                Arc::ptr_eq(&tls.papers, papers) && tls.seed == *seed
            }
            (tls, wanted) => tls.is_none() && wanted.is_none(),
        }
    }

    /// What it speaks, once it is known who the other end is.
    pub(super) fn speaks(&self) -> Option<Spoken> {
        let spoken = if self.line.is_tls() { Spoken::Tls } else { Spoken::Noise };
        self.line.peer().map(|_| spoken)
    }

    /// Of a connection in TLS that was never answered, though somebody was there: what was said on it.
    pub(super) fn unanswered(self) -> Option<Vec<u8>> {
        self.tls.filter(|_| self.is_connected)?.unanswered
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
        if let Some(InTls { unanswered: Some(unanswered), .. }) = &mut self.tls {
            *unanswered = report.to_vec();
        }
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
            self.tls.iter_mut().for_each(|tls| tls.unanswered = None);
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
