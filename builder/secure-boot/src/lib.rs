//! Secure Boot with a key of one's own: what firmware starts, signed, and the firmware's side of it.
//!
//! ```text
//! key::generate -> key and certificate        Signer::load(key, certificate)
//! uki::assemble(stub, sections) -> image      Signer::sign(image) -> signed image
//! enrol::enrol(variables, certificate) -> variables of a firmware that believes the certificate alone
//! ```
//!
//! Everything but making a key is pure, and the same input gives the same bytes: signatures carry no time.

pub mod enrol;
mod error;
pub mod key;
mod pe;
mod sign;
pub mod uki;

pub use error::Error;
pub use sign::Signer;
