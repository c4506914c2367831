//! One request at a time, over http or https.

use std::{fs, io, io::Read, time::Duration};

use ureq::{
    Agent, Body, BodyReader,
    http::{Response, Uri, header, uri::Scheme},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
    unversioned::transport::DefaultConnector,
};

use super::{Error, names::Names};

/// The authorities that the image, and who looks after this node, trust.
pub(super) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long to wait for the next byte.
const STALL: Duration = Duration::from_secs(60);

/// Where a file is.
pub(super) struct Address {
    uri: Uri,
}

/// Makes requests.
pub(super) struct Web {
    agent: Agent,
}

/// A file, or the rest of one, on its way.
pub(super) struct Answer {
    body: BodyReader<'static>,
    /// What is still to come before the part that was asked for, where the server cannot begin there.
    before: u64,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_| Error::Url(without_secrets(url)))?;
        let known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
        let known = known && uri.host().is_some_and(|host| !host.is_empty());
        if known { Ok(Self { uri }) } else { Err(Error::Url(without_secrets(url))) }
    }

    /// As it may be shown: without its login and its query.
    fn shown(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{}://{host}{}", self.uri.scheme_str().unwrap_or_default(), self.uri.path())
    }
}

impl Web {
    pub(super) fn new(address: &Address) -> Result<Self, Error> {
        Self::trusting(&certificates(address.uri.scheme() == Some(&Scheme::HTTPS))?)
    }

    /// The authorities are in PEM.
    pub(super) fn trusting(pem: &[u8]) -> Result<Self, Error> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("coremax-node/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .tls_config(trust(pem)?)
            .timeout_connect(Some(STALL))
            .timeout_recv_response(Some(STALL))
            .timeout_per_read(Some(STALL))
            .build();
        Ok(Self { agent: Agent::with_parts(config, DefaultConnector::default(), Names) })
    }

    /// Asks for the file from byte `from` on; none where it ends there.
    pub(super) fn ask(&self, address: &Address, from: u64) -> Result<Option<Answer>, Error> {
        let mut request = self.agent.get(&address.uri);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| failed(address, error))?;
        let before = match response.status().as_u16() {
            200 => from,
            206 if begins_at(&response) == Some(from) => 0,
            416 if from > 0 && length(&response) == Some(from) => return Ok(None),
            206 | 416 => return Err(Error::Range { url: address.shown(), from }),
            status => return Err(Error::Status { url: address.shown(), status }),
        };
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Some(Answer { body, before }))
    }
}

impl Answer {
    /// What comes next of what was asked for; 0 at the end of the file.
    pub(super) fn read(&mut self, address: &Address, buffer: &mut [u8]) -> Result<usize, Error> {
        let broken = |source| Error::Broken { url: address.shown(), source };
        if self.before > 0 {
            let mut before = self.body.by_ref().take(self.before);
            self.before -= io::copy(&mut before, &mut io::sink()).map_err(broken)?;
            if self.before > 0 {
                // Not the end of the file, which is known to go on.
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.body.read(buffer).map_err(broken)
    }
}

/// The authorities of this machine, in PEM; none where they cannot be read, unless they are needed.
pub(crate) fn certificates(are_needed: bool) -> Result<Vec<u8>, Error> {
    match fs::read(CERTIFICATES) {
        Err(source) if are_needed => Err(Error::Certificates { source }),
        read => Ok(read.unwrap_or_default()),
    }
}

/// To trust these, in PEM, and nobody else.
pub(crate) fn trust(pem: &[u8]) -> Result<TlsConfig, Error> {
    let mut roots = Vec::new();
    for item in parse_pem(pem) {
        let failed = |error| Error::Certificates { source: io::Error::other(error) };
        if let PemItem::Certificate(certificate) = item.map_err(failed)? {
            roots.push(certificate);
        }
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build())
}

/// What may be shown of a text that is no URL. Where the login ends is a guess then: nothing before an `@` is shown,
/// and nothing at all but the scheme where the `@` comes behind a `?`, which may be one in a password.
fn without_secrets(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(start);
    let (before, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let host = before.rsplit('@').next().filter(|_| !query.contains('@'));
    format!("{scheme}{}", host.unwrap_or_default())
}

fn failed(address: &Address, error: ureq::Error) -> Error {
    match error {
        ureq::Error::HostNotFound => {
            Error::NoAddress { host: address.uri.host().unwrap_or_default().to_owned() }
        }
        error => Error::Connection { url: address.shown(), source: Box::new(error) },
    }
}

/// `bytes 5-9/10` begins at 5.
fn begins_at(response: &Response<Body>) -> Option<u64> {
    content_range(response)?.split_once('-')?.0.parse().ok()
}

/// `bytes */10` says that the file has 10 bytes.
fn length(response: &Response<Body>) -> Option<u64> {
    content_range(response)?.strip_prefix("*/")?.parse().ok()
}

fn content_range(response: &Response<Body>) -> Option<&str> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    Some(text.trim().strip_prefix("bytes")?.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_asked() {
        for url in ["http://a/b", "https://[::1]:8443/b?c", "HTTP://192.0.2.1"] {
            assert!(Address::parse(url).is_ok(), "{url}");
        }
        for url in ["ftp://a/b", "http:///b", "/b", "a", "http://a b", "file:///b", ""] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn logins_are_not_shown() {
        let address = Address::parse("https://me:secret@a.example:8443/b?token=secret").unwrap();
        assert_eq!(address.shown(), "https://a.example:8443/b");
        for (refused, shown) in [
            ("sftp://me:secret@host/x", "sftp://host/x"),
            ("sftp://host/x?token=secret", "sftp://host/x"),
            ("https://me:secret@a host/x", "https://a host/x"),
            ("https://me:sec ret@host/x?token=secret", "https://host/x"),
            ("https://me:secret@more@host /x", "https://host /x"),
            ("https://me:sec/secret@host /x", "https://host /x"),
            ("https://secret?secret@host /x", "https://"),
            ("me:secret@host/x", "host/x"),
        ] {
            let error = Address::parse(refused).err().unwrap().to_string();
            assert_eq!(error, format!("{shown:?} is no http or https URL"), "{refused}");
        }
    }
}
