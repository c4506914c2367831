//! A connection to a running seed, over which its operator asks.
//!
//! What goes over it stands in [`coremax_node_api::wire`]. Whoever has the file of a medium may open one.

use std::{
    fmt,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use coremax_channel::{Channel, Credentials, Failure, Secret};
use coremax_node_api::{
    cluster_status::ClusterStatus,
    identity::Document,
    wire::{
        self, Ask, FRAME_MAX, PORT, Refused, Request, Told, Word, decode_response, encode_request,
    },
};

/// For how long a seed may be silent, where it is expected to speak. Set here: it is one thread, and may write to a disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a seed is asked: `ADDRESS` or `ADDRESS:PORT`. An IPv6 address with a port has brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: u16,
}

/// A text that is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no address: write it as 10.0.0.11, or 10.0.0.11:{PORT}")]
pub struct NotAPlace;

/// A connection.
#[derive(Debug)]
pub struct Line {
    place: Place,
    stream: TcpStream,
    channel: Channel,
}

/// Why a seed was not asked, or has not done it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nobody, or the network fails.
    #[error("asking the seed at {place}")]
    Network {
        /// Whom.
        place: Place,
        /// What happened.
        source: io::Error,
    },
    /// The other end is none that can be talked to: of another cluster, key or version, or no seed at all.
    #[error("asking the seed at {place}")]
    Channel {
        /// Whom.
        place: Place,
        /// What happened.
        source: Failure,
    },
    /// The seed says something that this program does not know.
    #[error("reading what the seed at {place} says")]
    Response {
        /// Whom.
        place: Place,
        /// What is wrong with it.
        source: wire::Error,
    },
    /// The seed says no.
    #[error("the seed at {place} refuses: {}", .refused.why)]
    Refused {
        /// Who.
        place: Place,
        /// Why.
        refused: Refused,
    },
    /// The seed says something else than what was asked for.
    #[error("the seed at {0} says something else than what it was asked")]
    OtherResponse(Place),
}

impl Error {
    /// What mends it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Network { source, .. } => match source.kind() {
                ErrorKind::ConnectionRefused => Some(
                    "nobody listens there: only the seed of a cluster does, once it has its signed roster",
                ),
                ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::HostUnreachable => Some(
                    "is this the seed's address, is the machine up, and TCP port 7433 open on the way?",
                ),
                ErrorKind::UnexpectedEof => Some(
                    "it closed the connection: it has many others, or is being started; ask again",
                ),
                _ => None,
            },
            Self::Channel { source, .. } => match source {
                Failure::Told(Word::OtherCluster | Word::UnknownKey | Word::BadKey) => Some(
                    "give the file of the key that this cluster's media were made with, ROSTER.identity.json, with --identity",
                ),
                Failure::Handshake => Some(
                    "the other end has not the cluster's key: it is no seed of this cluster, or the file with --identity is another one's",
                ),
                Failure::Told(Word::OtherVersion)
                | Failure::Wire(wire::Error::OtherVersion { .. }) => {
                    Some("take the coremax that the machines' image was built with")
                }
                Failure::Wire(wire::Error::NotOurs { .. }) => {
                    Some("something else listens at this port")
                }
                _ => None,
            },
            Self::Refused { refused, .. } => refused.hint.as_deref(),
            Self::Response { .. } | Self::OtherResponse(_) => None,
        }
    }
}

impl Line {
    /// Opens one, with the key in `document`.
    ///
    /// # Errors
    /// [`Error::Network`] and [`Error::Channel`].
    pub fn open(place: &Place, document: &Document) -> Result<Self, Error> {
        let channel =
            channel(document).map_err(|source| Error::Channel { place: place.clone(), source })?;
        let stream =
            place.connect().map_err(|source| Error::Network { place: place.clone(), source })?;
        let mut line = Self { place: place.clone(), stream, channel };
        line.wait(|channel, _| channel.peer().is_some())?;
        Ok(line)
    }

    /// How far the cluster is.
    ///
    /// # Errors
    /// Every [`Error`]; the connection is over then.
    pub fn status(&mut self) -> Result<ClusterStatus, Error> {
        match self.ask(Ask::Status)? {
            Told::Status(status) => Ok(*status),
            _ => Err(Error::OtherResponse(self.place.clone())),
        }
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// Every [`Error`].
    pub fn have(&mut self, ask: Ask) -> Result<(), Error> {
        match self.ask(ask)? {
            Told::Done => Ok(()),
            _ => Err(Error::OtherResponse(self.place.clone())),
        }
    }

    fn ask(&mut self, ask: Ask) -> Result<Told, Error> {
        let place = self.place.clone();
        let of_wire = |source| Error::Response { place: place.clone(), source };
        let request = encode_request(&Request { ask }).map_err(of_wire)?;
        let sent = self.channel.send(&request);
        sent.map_err(|source| Error::Channel { place: place.clone(), source })?;
        let messages = self.wait(|_, messages| !messages.is_empty())?;
        let response = messages.first().map_or(&[][..], Vec::as_slice);
        match decode_response(response).map_err(of_wire)?.told {
            Told::Refused(refused) => Err(Error::Refused { place, refused }),
            told => Ok(told),
        }
    }

    /// Sends what is to be sent, and reads until it is enough.
    fn wait(
        &mut self,
        is_enough: impl Fn(&Channel, &[Vec<u8>]) -> bool,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let place = &self.place;
        let of_network = |source| Error::Network { place: place.clone(), source };
        let until = Instant::now() + PATIENCE;
        let mut messages = Vec::new();
        let mut buffer = vec![0; FRAME_MAX];
        loop {
            let output = std::mem::take(self.channel.output());
            self.stream.write_all(&output).map_err(of_network)?;
            if is_enough(&self.channel, &messages) {
                return Ok(messages);
            }
            if Instant::now() >= until {
                return Err(of_network(ErrorKind::TimedOut.into()));
            }
            let read = match self.stream.read(&mut buffer) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                read => read,
            };
            let taken = self.channel.take(&buffer[..read.map_err(of_network)?]);
            messages
                .extend(taken.map_err(|source| Error::Channel { place: place.clone(), source })?);
        }
    }
}

/// With a key of its own that is made for this connection: an operator is no machine.
fn channel(document: &Document) -> Result<Channel, Failure> {
    let secret = Secret::generate().map_err(|error| Failure::Noise(error.to_string()))?;
    let keys = vec![(document.key_id, document.key.clone())];
    Channel::of_operator(Arc::new(Credentials { cluster: document.cluster, secret, keys }))
}

impl Place {
    /// To the first of its addresses where somebody listens.
    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match connect(address) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let host = match address {
                SocketAddr::V6(six) if six.scope_id() > 0 => {
                    format!("{}%{}", six.ip(), six.scope_id())
                }
                _ => address.ip().to_string(),
            };
            return Ok(Self { host, port: address.port() });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, port.ok_or(NotAPlace)?)
            }
            _ => (text, PORT),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:%".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(NotAPlace);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests;
