//! One end of a connection in TLS, as a machine of bytes.

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
};

use coremax_node_api::{
    join::NodeKey,
    wire::{self, FRAME_MAX, Message, PART_MAX, Parts},
};
use rustls::{ClientConnection, Connection, ServerConnection};

use crate::{
    Certified, Failure, Papers, SeedRow,
    channel::{frame, take_frame},
    papers::server,
};

/// Bytes that may come before the other end has proven who it is: a certificate has 600, all that a node says 1500, and a
/// program that offers everything it knows 3000. Set here.
const HANDSHAKE_MAX: usize = 8 << 10;
/// Bytes that rustls keeps of what is to be sent: a frame, and what goes around it.
const BUFFER: usize = 2 * FRAME_MAX;

/// One end in TLS 1.3, both with certificates.
pub(crate) struct Tls {
    tls: Connection,
    /// What this end says.
    says: Message,
    /// Of a node's end: whom it is content with.
    seed: Option<SeedRow>,
    peer: Option<Certified>,
    parts: Parts,
    /// Bytes that came before [`Self::peer`] was known.
    before: usize,
    input: Vec<u8>,
    output: Vec<u8>,
    is_over: bool,
}

impl Tls {
    pub(crate) fn of_node(papers: &Papers, seed: SeedRow) -> Result<Self, Failure> {
        let name = server(seed.address);
        let tls = ClientConnection::new(Arc::clone(&papers.node), name).map_err(broken)?;
        let mut end = Self::new(tls.into(), Message::Report, &[Message::Answer], Some(seed));
        end.drain()?;
        Ok(end)
    }

    pub(crate) fn of_seed(papers: &Papers) -> Result<Self, Failure> {
        let tls = ServerConnection::new(Arc::clone(&papers.seed)).map_err(broken)?;
        Ok(Self::new(tls.into(), Message::Answer, &[Message::Report], None))
    }

    fn new(
        mut tls: Connection,
        says: Message,
        hears: &'static [Message],
        seed: Option<SeedRow>,
    ) -> Self {
        tls.set_buffer_limit(Some(BUFFER));
        let (input, output) = (Vec::new(), Vec::new());
        let parts = Parts::new(hears);
        Self { tls, says, seed, peer: None, parts, before: 0, input, output, is_over: false }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        if self.is_over {
            return Err(Failure::Closed);
        }
        let taken = self.hear(bytes);
        // The alert that says why, too.
        let drained = self.drain();
        if taken.is_err() || drained.is_err() {
            (self.is_over, self.peer, self.input) = (true, None, Vec::new());
        }
        drained.and(taken)
    }

    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn peer(&self) -> Option<NodeKey> {
        self.peer.as_ref().map(|peer| peer.node)
    }

    pub(crate) fn certified(&self) -> Option<&Certified> {
        self.peer.as_ref()
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        if self.peer.is_none() {
            return Err(Failure::Closed);
        }
        for part in Parts::cut(self.says, message) {
            let mut framed = Vec::with_capacity(part.len() + 2);
            frame(&part, &mut framed);
            self.tls.writer().write_all(&framed).map_err(broken)?;
            self.drain()?; // so that there is room for the next
        }
        Ok(())
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let read = self.tls.read_tls(&mut bytes).map_err(broken)?;
            if self.peer.is_none() {
                self.before += read;
            }
            let state = self.tls.process_new_packets().map_err(broken)?;
            self.know_peer()?;
            self.hear_plain(state.plaintext_bytes_to_read(), &mut messages)?;
            if state.peer_has_closed() {
                return Err(Failure::Closed);
            }
        }
        Ok(messages)
    }

    /// Looks who it is, as soon as that is proven.
    fn know_peer(&mut self) -> Result<(), Failure> {
        if self.peer.is_some() {
            return Ok(());
        }
        if self.tls.is_handshaking() {
            let is_long = self.before > HANDSHAKE_MAX;
            return if is_long { Err(Failure::Tls("it says too much".into())) } else { Ok(()) };
        }
        if self.tls.alpn_protocol() != Some(wire::ALPN) {
            return Err(Failure::Tls("it speaks something else inside".into()));
        }
        let shown = self.tls.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| Failure::Tls("it shows no certificate".into()))?;
        let peer = Certified::read(shown).map_err(|error| Failure::Tls(error.to_string()))?;
        if self.seed.as_ref().is_some_and(|row| !peer.is_of(&row.name, row.address)) {
            return Err(Failure::OtherNames);
        }
        self.peer = Some(peer);
        Ok(())
    }

    fn hear_plain(&mut self, length: usize, messages: &mut Vec<Vec<u8>>) -> Result<(), Failure> {
        let from = self.input.len();
        self.input.resize(from + length, 0);
        self.tls.reader().read_exact(&mut self.input[from..]).map_err(broken)?;
        while let Some(part) = take_frame(&mut self.input, 2..=PART_MAX + 1)? {
            messages.extend(self.parts.take(&part)?);
        }
        if self.input.is_empty() {
            self.input = Vec::new(); // an end waits for seconds between messages
        }
        Ok(())
    }

    /// Moves what rustls has to say to where the network takes it.
    fn drain(&mut self) -> Result<(), Failure> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.output).map_err(broken)?;
        }
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::Tls(error.to_string())
}
