//! One connection, and the channel or TLS in it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
};

use coremax_channel::{Certified, Connection, Failure};
use coremax_node_api::{join::NodeKey, wire::FRAME_MAX};

/// A connection that waits for nothing: what cannot be read or written now is tried again when poll says so.
#[derive(Debug)]
pub(super) struct Line {
    pub stream: TcpStream,
    channel: Connection,
}

/// Who says something, proven, and what.
pub(super) type Said = (NodeKey, Vec<Vec<u8>>);

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The other end closed it.
    #[error("the other end closed the connection")]
    Closed,
    /// The network failed.
    #[error(transparent)]
    Network(#[from] std::io::Error),
    /// What came is not what it should be.
    #[error(transparent)]
    Channel(#[from] Failure),
}

impl Line {
    /// Over a stream that does not block.
    pub(super) fn new(stream: TcpStream, channel: impl Into<Connection>) -> Self {
        Self { stream, channel: channel.into() }
    }

    /// Who the other end has proven to be.
    pub(super) fn peer(&self) -> Option<NodeKey> {
        self.channel.peer()
    }

    /// What the other end's certificate says, in TLS.
    pub(super) fn certified(&self) -> Option<&Certified> {
        self.channel.certified()
    }

    /// Whether it is TLS.
    pub(super) const fn is_tls(&self) -> bool {
        self.channel.is_tls()
    }

    /// Whether the other end has said that it is an operator.
    pub(super) fn is_operators(&self) -> bool {
        self.channel.is_operators()
    }

    /// Reads once, and says what is due to it. The messages that are whole now.
    pub(super) fn receive(&mut self) -> Result<Vec<Vec<u8>>, End> {
        let mut buffer = [0; FRAME_MAX];
        let read = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(End::Closed),
            Ok(read) => read,
            Err(error) if is_later(error.kind()) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let taken = self.channel.take(&buffer[..read]);
        // Also the word that says why it is over.
        let flushed = self.flush();
        let messages = taken?;
        flushed?;
        Ok(messages)
    }

    /// Whether what was said last is on its way: who does not take an answer gets no other.
    pub(super) fn is_flushed(&self) -> bool {
        !self.channel.has_output()
    }

    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), End> {
        self.channel.send(message)?;
        self.flush()
    }

    /// Writes as much as the network takes.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        let output = self.channel.output();
        while !output.is_empty() {
            match self.stream.write(output) {
                Ok(0) => return Err(End::Closed),
                Ok(written) => drop(output.drain(..written)),
                Err(error) if is_later(error.kind()) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        output.shrink_to(FRAME_MAX); // a roster was long, what follows is not
        Ok(())
    }
}

fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
