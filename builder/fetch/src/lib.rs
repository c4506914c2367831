//! Inputs with their digests, the shared cache, and downloads that check themselves.
//!
//! An [`Input`] says where a file is served, how long it is and what its SHA-256 must be. A [`Fetcher`]
//! brings inputs into a content-addressed [`Cache`], several at once, resuming what was cut and refusing
//! what is not the file that was asked for. How the network is reached (proxies, certificates, logins) is
//! a [`Transport`], which `coremax-archive` reads from the host's apt configuration.

mod cache;
mod client;
mod digest;
mod error;
mod fetcher;
mod input;
mod partial;
mod proxy;
mod retry;
mod transport;
mod url;

pub use cache::Cache;
pub use client::{Got, Validator};
pub use digest::{Digest, Hasher, NotADigest};
pub use error::Error;
pub use fetcher::Fetcher;
pub use input::Input;
pub use proxy::ProxyRules;
pub use transport::{Login, Secret, TlsRules, Transport};
pub use url::file_url;
