//! Files of a server that tells machines their cluster: OpenStack's metadata service, or the one that the kernel's command line
//! names.

use std::{
    io::{self, ErrorKind, Read as _},
    time::Duration,
};

use ureq::{Agent, unversioned::transport::DefaultConnector};
use zeroize::Zeroizing;

use super::openstack::Held;
use crate::download::{Names, certificates, trust};

/// For the connection, and for all of an answer. Set here: it is a hop or two away, and what is not there yet is asked again.
const CONNECT_FOR: Duration = Duration::from_secs(2);
const ANSWER_FOR: Duration = Duration::from_secs(10);

/// Asks for files, and goes nowhere else than it was told to: not where an answer sends it, nor by a proxy.
pub(super) struct Server {
    agent: Agent,
}

impl Server {
    /// One of http; for https it is held against the authorities that the image trusts.
    ///
    /// # Errors
    /// Where these cannot be read.
    pub(super) fn new(is_https: bool) -> io::Result<Self> {
        let pem = if is_https { certificates(true).map_err(io::Error::other)? } else { Vec::new() };
        Self::trusting(&pem)
    }

    /// The authorities are in PEM.
    pub(super) fn trusting(pem: &[u8]) -> io::Result<Self> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .accept_encoding("identity")
            .user_agent(concat!("coremax-node/", env!("CARGO_PKG_VERSION")))
            .tls_config(trust(pem).map_err(io::Error::other)?)
            .timeout_connect(Some(CONNECT_FOR))
            .timeout_global(Some(ANSWER_FOR))
            .build();
        Ok(Self { agent: Agent::with_parts(config, DefaultConnector::default(), Names) })
    }

    /// A file, and one byte more where it is longer than this many.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the server has it not, [`ErrorKind::NotConnected`] where nobody can be asked; any other
    /// answer, and one that breaks off. None of them says what the URL has behind a `?`.
    pub(super) fn get(&self, url: &str, most: usize) -> Held {
        let shown = shown(url);
        let failed =
            |error| io::Error::new(ErrorKind::NotConnected, format!("asking {shown}: {error}"));
        let response = self.agent.get(url).call().map_err(failed)?;
        match response.status().as_u16() {
            200 => {}
            404 => {
                return Err(io::Error::new(ErrorKind::NotFound, format!("{shown} is not there")));
            }
            status => {
                return Err(io::Error::other(format!("{shown} is answered with status {status}")));
            }
        }
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        // As much room as there can be, so that nothing of it is left where it grew from.
        let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
        match body.take(most as u64 + 1).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(io::Error::other(format!("reading {shown}: {error}"))),
        }
    }
}

/// A URL without its query, which may be for the server's eyes.
pub(super) fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::download::tests::https;

    #[test]
    fn an_https_server_must_be_a_trusted_one() {
        let folder = tempfile::tempdir().unwrap();
        let (url, own, mut process) = match https(folder.path()) {
            Ok(server) => server,
            Err(why) => return coremax_skip::skip(format_args!("{why} (install openssl)")),
        };
        fs::write(folder.path().join("node"), "HTTP/1.1 200 OK\r\n\r\nsecret").unwrap();
        let get = |authorities: &[u8]| Server::trusting(authorities).unwrap().get(&url, 9);
        let error = get(b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        assert_eq!(**get(&own).unwrap(), *b"secret");
        process.kill().unwrap();
    }
}
