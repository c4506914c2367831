//! A mirror of a tiny archive, made and signed on the spot, with the faults that real ones have.
//!
//! It has what a plan on Debian 12 asks for by name, each an empty package, so a build on it fetches all and
//! makes its tools tree, and then ends for want of dpkg.

mod archive;
mod server;
mod signer;

pub use archive::{Archive, Dates};
pub use server::{Fault, Server};
pub use signer::Signer;
