//! The channel between a node and a seed: Noise with the cluster's key, over whatever carries bytes.
//!
//! No sockets and no clock: bytes go in, bytes and messages come out, so that a test can hold every byte in its hand. What the
//! bytes are is [`coremax_node_api::wire`]; who drives it has the deadlines, and counts the connections.
//!
//! A [`Channel`] gives out no message, and says of nobody who it is ([`Channel::peer`]), before both ends have proven that they have
//! the cluster's key and their own: for a seed that is the third message. A stranger fails at the first, before
//! anything is agreed on with it.
//!
//! A node that has the cluster's certificates speaks TLS instead ([`Connection`]): what is said inside is the same.

mod certified;
mod channel;
mod connection;
mod handshake;
mod papers;
mod secret;
mod tls;

pub use certified::{Certified, NotANodes};
pub use channel::{Channel, Failure};
pub use connection::Connection;
pub use papers::{NotUsable, Papers, SeedRow, Time};
pub use secret::{Credentials, NotASecret, Secret};

#[cfg(test)]
mod tests;
