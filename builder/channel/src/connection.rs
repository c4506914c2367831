//! One end of a connection, whichever of both it speaks.

use std::sync::Arc;

use coremax_node_api::{join::NodeKey, wire::TLS_RECORD};

use crate::{Certified, Channel, Credentials, Failure, Papers, SeedRow, tls::Tls};

/// One end of a connection: in the channel, or in TLS. What [`Channel`] says of itself holds for both.
pub struct Connection(Kind);

enum Kind {
    /// A seed's end that has heard nothing yet.
    Seed(Seed),
    Channel(Box<Channel>),
    Tls(Box<Tls>),
}

struct Seed {
    own: Arc<Credentials>,
    papers: Option<Arc<Papers>>,
    none: Vec<u8>,
}

impl Connection {
    /// A node's end in TLS, with its papers, to the seed of this row. Its first bytes are to be sent.
    ///
    /// # Errors
    /// [`Failure::Tls`].
    pub fn of_node(papers: &Papers, seed: SeedRow) -> Result<Self, Failure> {
        Ok(Self(Kind::Tls(Box::new(Tls::of_node(papers, seed)?))))
    }

    /// A seed's end: the other's first byte says which of both it is. Without papers TLS is refused.
    pub const fn of_seed(own: Arc<Credentials>, papers: Option<Arc<Papers>>) -> Self {
        Self(Kind::Seed(Seed { own, papers, none: Vec::new() }))
    }

    /// See [`Channel::take`].
    ///
    /// # Errors
    /// As there; [`Failure::NoPapers`] where the other end speaks TLS to a seed that has none.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        if let (Kind::Seed(seed), Some(first)) = (&self.0, bytes.first()) {
            self.0 = match (*first, &seed.papers) {
                (TLS_RECORD, None) => return Err(Failure::NoPapers),
                (TLS_RECORD, Some(papers)) => Kind::Tls(Box::new(Tls::of_seed(papers)?)),
                _ => Kind::Channel(Box::new(Channel::of_seed(Arc::clone(&seed.own)))),
            };
        }
        match &mut self.0 {
            Kind::Seed(_) => Ok(Vec::new()),
            Kind::Channel(channel) => channel.take(bytes),
            Kind::Tls(tls) => tls.take(bytes),
        }
    }

    /// See [`Channel::output`].
    pub fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.0 {
            Kind::Seed(seed) => &mut seed.none,
            Kind::Channel(channel) => channel.output(),
            Kind::Tls(tls) => tls.output(),
        }
    }

    /// See [`Channel::has_output`].
    pub fn has_output(&self) -> bool {
        match &self.0 {
            Kind::Seed(_) => false,
            Kind::Channel(channel) => channel.has_output(),
            Kind::Tls(tls) => tls.has_output(),
        }
    }

    /// See [`Channel::peer`]. In TLS: the machine that its certificate names, which is by the cluster's authority and held
    /// when the connection was opened.
    pub fn peer(&self) -> Option<NodeKey> {
        match &self.0 {
            Kind::Seed(_) => None,
            Kind::Channel(channel) => channel.peer(),
            Kind::Tls(tls) => tls.peer(),
        }
    }

    /// What the other end's certificate says, in TLS. Whether those are the names of a row, who has the roster knows.
    pub fn certified(&self) -> Option<&Certified> {
        match &self.0 {
            Kind::Tls(tls) => tls.certified(),
            Kind::Seed(_) | Kind::Channel(_) => None,
        }
    }

    /// Whether it is TLS.
    pub const fn is_tls(&self) -> bool {
        matches!(self.0, Kind::Tls(_))
    }

    /// See [`Channel::is_operators`]: in TLS there are none.
    pub fn is_operators(&self) -> bool {
        matches!(&self.0, Kind::Channel(channel) if channel.is_operators())
    }

    /// See [`Channel::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        match &mut self.0 {
            Kind::Seed(_) => Err(Failure::Closed),
            Kind::Channel(channel) => channel.send(message),
            Kind::Tls(tls) => tls.send(message),
        }
    }
}

impl From<Channel> for Connection {
    fn from(channel: Channel) -> Self {
        Self(Kind::Channel(Box::new(channel)))
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Connection({}, {:?})",
            if self.is_tls() { "TLS" } else { "channel" },
            self.peer()
        )
    }
}
