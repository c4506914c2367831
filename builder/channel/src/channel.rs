//! One end of a connection, as a machine of bytes.

use std::{ops::RangeInclusive, sync::Arc};

use coremax_node_api::{
    join::NodeKey,
    wire::{self, FRAME_MAX, HELLO, Hello, Message, Parts, REPLY, Reply, TAG, Word},
};
use snow::TransportState;

use crate::{
    Credentials,
    handshake::{End, Handshake},
};

/// One end of a connection.
pub struct Channel {
    end: End,
    own: Arc<Credentials>,
    state: State,
    /// What the other end may say.
    hears: &'static [Message],
    /// Bytes that came and are not a whole yet: never more than a frame.
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What is waited for.
enum State {
    /// A seed: the node's hello.
    Hello,
    /// A node: the seed's reply.
    Reply(Handshake),
    /// The next message of the handshake.
    Handshake(Handshake),
    /// Messages.
    Open(Box<Open>),
    /// Nothing: it failed.
    Over,
}

struct Open {
    noise: TransportState,
    peer: NodeKey,
    parts: Parts,
}

/// Why a connection comes to nothing. Before a channel is open nobody has proven who says so: a reason to try again, and no
/// more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The other end does not speak the protocol, or not this version.
    #[error(transparent)]
    Wire(#[from] wire::Error),
    /// The other end refuses, in clear.
    #[error("the other end says, unproven, {0}")]
    Told(Word),
    /// The other end is of another cluster, or has a key that is not known here.
    #[error("refused it: {0}")]
    Refused(Word),
    /// The other end does not have the cluster's key, or repeats what somebody else once said.
    #[error("the handshake does not hold: another key, or a message that was changed or repeated")]
    Handshake,
    /// A message in the channel was changed, left out or repeated.
    #[error("a message of the channel does not hold")]
    Transport,
    /// The handshake cannot be begun here.
    #[error("the handshake cannot be made: {0}")]
    Noise(String),
    /// TLS comes to nothing: a certificate that is none of the cluster's or does not hold now, or other bytes.
    #[error("TLS: {0}")]
    Tls(String),
    /// The other end's certificate is by the cluster's authority, and not of the row that it should be.
    #[error("the certificate's names are not those of the seed's row")]
    OtherNames,
    /// The other end speaks TLS, and this one has no certificate yet.
    #[error("TLS is spoken to a seed that has no certificate yet")]
    NoPapers,
    /// It is not open, or not any more.
    #[error("the channel is not open")]
    Closed,
}

impl Channel {
    /// A node's end. Its first bytes are to be sent.
    ///
    /// # Errors
    /// [`Failure::Noise`], and [`Failure::Closed`] where `own` has no key.
    pub fn of_node(own: Arc<Credentials>) -> Result<Self, Failure> {
        Self::begin(End::Node, own)
    }

    /// An operator's end, which says requests. Its first bytes are to be sent.
    ///
    /// # Errors
    /// As [`Self::of_node`].
    pub fn of_operator(own: Arc<Credentials>) -> Result<Self, Failure> {
        Self::begin(End::Operator, own)
    }

    fn begin(end: End, own: Arc<Credentials>) -> Result<Self, Failure> {
        let (id, key) = own.keys.first().ok_or(Failure::Closed)?;
        let mut handshake = Handshake::begin(end, &own, *id, key).map_err(broken)?;
        let cluster = coremax_node_api::join::cluster_hash(own.cluster);
        let mut output = Hello { cluster, key_id: *id }.encode().to_vec();
        frame(&handshake.write().map_err(broken)?, &mut output);
        let state = State::Reply(handshake);
        let hears: &'static [Message] = match end {
            End::Operator => &[Message::Response],
            End::Node | End::Seed => &[Message::Answer],
        };
        Ok(Self { hears, end, own, state, input: Vec::new(), output })
    }

    /// A seed's end: it waits for the other one's first bytes.
    pub fn of_seed(own: Arc<Credentials>) -> Self {
        let (hears, input, output) = (&[Message::Report, Message::Request], Vec::new(), Vec::new());
        Self { hears, end: End::Seed, own, state: State::Hello, input, output }
    }

    /// Takes what arrived; cut anyhow, but no more than [`FRAME_MAX`] bytes at once. The messages that are whole with it.
    ///
    /// # Errors
    /// A [`Failure`]: then there are no messages any more, and the connection is to be closed once what is in
    /// [`Self::output`] was tried to be sent.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        self.input.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let taken = loop {
            match self.advance(&mut messages) {
                Ok(true) => {}
                Ok(false) => break Ok(messages),
                Err(failure) => break Err(failure),
            }
        };
        if taken.is_err() {
            self.input = Vec::new(); // the state is over already
        }
        taken
    }

    /// What is to be sent: whoever sends it takes it out.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether something is to be sent.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Who the other end is, once it has proven that, and that it has the cluster's key.
    pub fn peer(&self) -> Option<NodeKey> {
        match &self.state {
            State::Open(open) => Some(open.peer),
            _ => None,
        }
    }

    /// Whether the other end has said that it is an operator. Nobody has before [`Self::peer`] is known.
    pub fn is_operators(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.parts.kind() == Some(Message::Request))
    }

    /// Puts a message into [`Self::output`].
    ///
    /// # Errors
    /// [`Failure::Closed`] before [`Self::peer`] is known, and [`Failure::Noise`].
    pub fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        let State::Open(open) = &mut self.state else { return Err(Failure::Closed) };
        let kind = match (self.end, open.parts.kind()) {
            (End::Node, _) => Message::Report,
            (End::Operator, _) => Message::Request,
            (End::Seed, Some(Message::Request)) => Message::Response,
            (End::Seed, _) => Message::Answer,
        };
        for part in Parts::cut(kind, message) {
            let mut sealed = vec![0; part.len() + TAG];
            let length = open.noise.write_message(&part, &mut sealed).map_err(broken)?;
            frame(&sealed[..length], &mut self.output);
        }
        Ok(())
    }

    /// Makes the next step that there are bytes for. Whether there was one.
    fn advance(&mut self, messages: &mut Vec<Vec<u8>>) -> Result<bool, Failure> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Hello => self.hear_hello(),
            State::Reply(handshake) => self.hear_reply(handshake),
            State::Handshake(handshake) => self.shake(handshake),
            State::Open(open) => self.hear_message(open, messages),
            State::Over => Err(Failure::Closed),
        }
    }

    fn hear_hello(&mut self) -> Result<bool, Failure> {
        let hello = match Hello::decode(&self.input) {
            Ok(hello) => hello,
            Err(error) => {
                if let wire::Error::OtherVersion { .. } = error {
                    self.reply(Word::OtherVersion);
                }
                return Err(error.into());
            }
        };
        let Some(hello) = hello else { return self.wait(State::Hello) };
        if hello.cluster != coremax_node_api::join::cluster_hash(self.own.cluster) {
            return self.refuse(Word::OtherCluster);
        }
        let own = Arc::clone(&self.own);
        let key = own.key(hello.key_id).or_else(|| {
            self.hears = &[Message::Report]; // who has a machine's key alone is no operator
            own.key_of_machine(hello.key_id)
        });
        let Some(key) = key else { return self.refuse(Word::UnknownKey) };
        self.input.drain(..HELLO);
        let handshake = Handshake::begin(End::Seed, &own, hello.key_id, &key).map_err(broken)?;
        self.state = State::Handshake(handshake);
        Ok(true)
    }

    fn hear_reply(&mut self, handshake: Handshake) -> Result<bool, Failure> {
        match Reply::decode(&self.input)? {
            None => self.wait(State::Reply(handshake)),
            Some(Reply { word: Word::GoOn, .. }) => {
                self.input.drain(..REPLY);
                self.state = State::Handshake(handshake);
                Ok(true)
            }
            Some(Reply { word, .. }) => Err(Failure::Told(word)),
        }
    }

    /// Hears a message of the handshake, and says the one that is due to it.
    fn shake(&mut self, mut handshake: Handshake) -> Result<bool, Failure> {
        let length = handshake.length();
        let Some(message) = self.frame(length..=length)? else {
            return self.wait(State::Handshake(handshake));
        };
        let is_first = length == wire::HANDSHAKE[0];
        if handshake.read(&message).is_err() {
            if is_first {
                self.reply(Word::BadKey);
            }
            return Err(Failure::Handshake);
        }
        let is_last = self.end == End::Seed && !is_first;
        if !is_last {
            let message = handshake.write().map_err(broken)?;
            if is_first {
                self.reply(Word::GoOn);
            }
            frame(&message, &mut self.output);
        }
        self.state = match is_first {
            true => State::Handshake(handshake),
            false => self.open(handshake)?,
        };
        Ok(true)
    }

    fn open(&self, handshake: Handshake) -> Result<State, Failure> {
        let (noise, peer) = handshake.finish().map_err(broken)?;
        Ok(State::Open(Box::new(Open { noise, peer, parts: Parts::new(self.hears) })))
    }

    fn hear_message(
        &mut self,
        mut open: Box<Open>,
        messages: &mut Vec<Vec<u8>>,
    ) -> Result<bool, Failure> {
        let Some(sealed) = self.frame(TAG + 1..=FRAME_MAX)? else {
            return self.wait(State::Open(open));
        };
        let mut payload = vec![0; sealed.len()];
        let length =
            open.noise.read_message(&sealed, &mut payload).map_err(|_| Failure::Transport)?;
        messages.extend(open.parts.take(&payload[..length])?);
        self.state = State::Open(open);
        Ok(true)
    }

    fn frame(&mut self, lengths: RangeInclusive<usize>) -> Result<Option<Vec<u8>>, Failure> {
        take_frame(&mut self.input, lengths)
    }

    fn wait(&mut self, state: State) -> Result<bool, Failure> {
        self.state = state;
        Ok(false)
    }

    fn reply(&mut self, word: Word) {
        self.output.extend(Reply::of(word).encode());
    }

    fn refuse(&mut self, word: Word) -> Result<bool, Failure> {
        self.reply(word);
        Err(Failure::Refused(word))
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { end, .. } = self;
        write!(f, "Channel({end:?}, {:?})", self.peer())
    }
}

/// The frame that came, if it is whole; refused by its length before it is.
pub(crate) fn take_frame(
    input: &mut Vec<u8>,
    lengths: RangeInclusive<usize>,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some((head, rest)) = input.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*head));
    if !lengths.contains(&length) {
        let allowed = *lengths.end();
        return Err(wire::Error::Length { what: "frame", length, allowed }.into());
    }
    let Some(frame) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
    input.drain(..2 + length);
    Ok(Some(frame))
}

pub(crate) fn frame(message: &[u8], output: &mut Vec<u8>) {
    // No message is longer than FRAME_MAX, which 16 bits hold.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    output.extend(length.to_be_bytes());
    output.extend_from_slice(message);
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err() hands over")]
fn broken(error: snow::Error) -> Failure {
    Failure::Noise(error.to_string())
}
