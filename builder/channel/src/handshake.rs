//! The handshake itself: `snow`, and what goes into it.

use coremax_node_api::{
    identity::{Key, KeyId},
    join::NodeKey,
    wire::{HANDSHAKE, PATTERN, prologue},
};
use snow::{Builder, HandshakeState, TransportState};

use crate::Credentials;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Who opens the connection: a node,
    Node,
    /// or an operator.
    Operator,
    /// Who is asked.
    Seed,
}

/// A handshake that is under way.
pub(crate) struct Handshake {
    state: Box<HandshakeState>,
    /// Messages that were written or read.
    done: usize,
}

impl Handshake {
    pub(crate) fn begin(
        end: End,
        own: &Credentials,
        id: KeyId,
        key: &Key,
    ) -> Result<Self, snow::Error> {
        let prologue = prologue(own.cluster, id);
        let builder = Builder::new(PATTERN.parse()?)
            .prologue(&prologue)?
            .local_private_key(own.secret.expose())?
            .psk(0, key.expose())?;
        let state = match end {
            End::Node | End::Operator => builder.build_initiator()?,
            End::Seed => builder.build_responder()?,
        };
        Ok(Self { state: Box::new(state), done: 0 })
    }

    /// The length of the message whose turn it is.
    pub(crate) fn length(&self) -> usize {
        HANDSHAKE[self.done]
    }

    pub(crate) fn write(&mut self) -> Result<Vec<u8>, snow::Error> {
        let mut message = vec![0; self.length()];
        let length = self.state.write_message(&[], &mut message)?;
        message.truncate(length);
        self.done += 1;
        Ok(message)
    }

    /// Reads the other end's message.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<(), snow::Error> {
        self.state.read_message(message, &mut [0; 64])?;
        self.done += 1;
        Ok(())
    }

    /// What comes of it when all three messages are done, and who the other end is.
    pub(crate) fn finish(self) -> Result<(TransportState, NodeKey), snow::Error> {
        let transport = self.state.into_transport_mode()?;
        let remote = transport.get_remote_static().and_then(|key| key.try_into().ok());
        let remote = remote.ok_or(snow::Error::Input)?;
        Ok((transport, NodeKey(remote)))
    }
}
