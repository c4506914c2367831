//! One request at a time: http, https and file URLs, redirects, resuming, conditional requests.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ureq::{
    Agent, Body, Proxy,
    http::{Response, header},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector as _, DefaultConnector},
    },
};

use crate::{
    Error, TlsRules, Transport,
    proxy::{AbsoluteForm, through},
    url::{self, Url},
};

/// Redirects followed for one request; apt's own bound.
const MAX_REDIRECTS: usize = 10;

/// What tells a server which version of a file one has (RFC 9110, 13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validator {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`, as the server wrote it.
    pub modified: Option<String>,
}

/// The answer to [`Fetcher::get`](crate::Fetcher::get).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The file, and what to ask with next time.
    File(Vec<u8>, Validator),
    /// It is still the version that the validator names.
    Unchanged,
}

/// What to ask of a server.
#[derive(Default)]
pub(crate) struct Ask<'a> {
    /// Begin at this byte.
    pub(crate) offset: u64,
    pub(crate) validator: Option<&'a Validator>,
}

/// A file on its way.
pub(crate) struct Answer {
    /// The byte it begins at: 0 where the server does not resume.
    pub(crate) offset: u64,
    /// Length of the whole file, where the server tells.
    pub(crate) length: Option<u64>,
    pub(crate) validator: Validator,
    pub(crate) body: Box<dyn Read>,
}

/// Makes requests by the rules of a [`Transport`]; keeps connections open between them.
pub(crate) struct Client {
    transport: Transport,
    agents: Mutex<HashMap<Route, Agent>>,
}

/// What connections may be shared by: an agent is kept for each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Route {
    /// A proxy that passes the connection on (CONNECT, SOCKS).
    tunnel: Option<Proxy>,
    tls: TlsRules,
}

impl Client {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, agents: Mutex::default() }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Asks for `url` and follows redirects. `None` where the file is unchanged.
    pub(crate) fn open(&self, url: &str, ask: &Ask<'_>) -> Result<Option<Answer>, Error> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let parts = Url::parse(&url).ok_or_else(|| Error::Url { url: url::redact(&url) })?;
            let response = match parts.scheme {
                "http" | "https" => self.request(&parts, ask)?,
                "file" => return open_file(&parts, ask.offset).map(Some),
                _ => return Err(Error::Url { url: url::redact(&url) }),
            };
            match response.status().as_u16() {
                200 | 206 => return self.answer(&parts, response, ask).map(Some),
                304 if ask.validator.is_some() => return Ok(None),
                301 | 302 | 303 | 307 | 308 => url = redirect(&parts, &response)?,
                status => return Err(Error::Status { url: parts.bare(), status }),
            }
        }
        Err(Error::Redirect { url: url::redact(&url), to: "yet another place".into() })
    }

    fn request(&self, url: &Url<'_>, ask: &Ask<'_>) -> Result<Response<Body>, Error> {
        let proxy = self.transport.proxies.proxy_for(url);
        let proxy = proxy.as_deref().map(parse_proxy).transpose()?;
        // Plain http goes by the absolute form, all else by a tunnel: see the module `proxy`.
        let asked = proxy.filter(|proxy| url.scheme == "http" && proxy.scheme.starts_with("http"));
        let tunnel = proxy.filter(|_| asked.is_none());
        let route = Route {
            tunnel: tunnel.map(|proxy| self.tunnel(&proxy)).transpose()?,
            tls: self.transport.tls_for(asked.as_ref().unwrap_or(url).host()).clone(),
        };
        let agent = self.agent(route)?;
        let mut request = match &asked {
            Some(proxy) => {
                agent.get(through(proxy, &url.bare())).header(header::HOST, url.authority)
            }
            None => agent.get(url.bare()),
        };
        for (name, value) in self.headers(url, asked.as_ref(), ask) {
            request = request.header(name, value);
        }
        request.call().map_err(|error| self.failure(url, error))
    }

    fn headers(
        &self,
        url: &Url<'_>,
        proxy: Option<&Url<'_>>,
        ask: &Ask<'_>,
    ) -> Vec<(header::HeaderName, String)> {
        let login = |url: &Url<'_>| Some(self.transport.login_for(url)?.basic());
        let validator = ask.validator.cloned().unwrap_or_default();
        [
            (header::AUTHORIZATION, login(url)),
            (header::PROXY_AUTHORIZATION, proxy.and_then(login)),
            (header::RANGE, (ask.offset > 0).then(|| format!("bytes={}-", ask.offset))),
            (header::IF_NONE_MATCH, validator.etag),
            (header::IF_MODIFIED_SINCE, validator.modified),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    fn tunnel(&self, proxy: &Url<'_>) -> Result<Proxy, Error> {
        let refuse = |_| Error::Proxy { proxy: proxy.bare() };
        let protocol = proxy.scheme.try_into().map_err(refuse)?;
        let mut builder = Proxy::builder(protocol).host(proxy.host());
        if let Some(port) = proxy.port() {
            builder = builder.port(port);
        }
        if let Some(login) = self.transport.login_for(proxy) {
            builder = builder.username(&login.user).password(&login.password.0);
        }
        builder.build().map_err(refuse)
    }

    /// The agent for `route`, whose open connections are used again.
    fn agent(&self, route: Route) -> Result<Agent, Error> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&route) {
            return Ok(agent.clone());
        }
        let stall = Some(self.transport.stall);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("coremax/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .proxy(route.tunnel.clone())
            .tls_config(tls_config(&route.tls)?)
            .timeout_connect(stall)
            .timeout_recv_response(stall)
            .timeout_per_read(stall)
            .timeout_per_write(stall)
            .max_idle_connections_per_host(self.transport.connections)
            .build();
        let connector = DefaultConnector::default().chain(AbsoluteForm);
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        agents.insert(route, agent.clone());
        Ok(agent)
    }

    fn answer(
        &self,
        url: &Url<'_>,
        response: Response<Body>,
        ask: &Ask<'_>,
    ) -> Result<Answer, Error> {
        let text = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let number = |name| text(name)?.trim().parse::<u64>().ok();
        let validator =
            Validator { etag: text(header::ETAG), modified: text(header::LAST_MODIFIED) };
        let (offset, length) = match response.status().as_u16() {
            206 => text(header::CONTENT_RANGE)
                .and_then(|range| parse_content_range(&range))
                .filter(|(offset, _)| *offset == ask.offset)
                .ok_or_else(|| Error::Status { url: url.bare(), status: 206 })?,
            _ => (0, number(header::CONTENT_LENGTH)),
        };
        let body = response.into_body().into_reader();
        Ok(Answer { offset, length, validator, body: Box::new(body) })
    }

    fn failure(&self, url: &Url<'_>, error: ureq::Error) -> Error {
        match error {
            ureq::Error::Timeout(_) => self.stalled(&url.bare()),
            error => Error::Connection { url: url.bare(), source: Box::new(error) },
        }
    }

    /// What reading a body failed by.
    pub(crate) fn broken(&self, url: &str, error: io::Error) -> Error {
        let url = url::redact(url);
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(ureq::Error::Timeout(_)) => self.stalled(&url),
            _ => Error::Transfer { url, source: error },
        }
    }

    fn stalled(&self, url: &str) -> Error {
        Error::Stalled { url: url.to_owned(), seconds: self.transport.stall.as_secs() }
    }
}

fn parse_proxy(proxy: &str) -> Result<Url<'_>, Error> {
    Url::parse(proxy)
        .filter(|url| !url.authority.is_empty())
        .ok_or_else(|| Error::Proxy { proxy: url::redact(proxy) })
}

/// `bytes 5-9/10`: the first byte, and the length of the whole.
fn parse_content_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (span, length) = range.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, _) = span.split_once('-')?;
    Some((first.parse().ok()?, length.parse().ok()))
}

/// Where the server sends us. Never from https to http: that would give up what the user asked for.
fn redirect(url: &Url<'_>, response: &Response<Body>) -> Result<String, Error> {
    let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    let to = url::join(url, to.unwrap_or_default());
    let scheme = Url::parse(&to).map(|to| to.scheme.to_owned()).unwrap_or_default();
    match scheme.as_str() {
        "https" => Ok(to),
        "http" if url.scheme == "http" => Ok(to),
        _ => Err(Error::Redirect { url: url.bare(), to: url::redact(&to) }),
    }
}

fn tls_config(rules: &TlsRules) -> Result<TlsConfig, Error> {
    let roots = match &rules.authorities {
        Some(path) => read_certificates(path)?,
        None => RootCerts::PlatformVerifier,
    };
    Ok(TlsConfig::builder().root_certs(roots).disable_verification(!rules.verify).build())
}

fn read_certificates(path: &Path) -> Result<RootCerts, Error> {
    let failed = |source| Error::Certificates { path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(failed)?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(io::Error::other(e)))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it")));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// A file of this machine, from `offset` on.
fn open_file(url: &Url<'_>, offset: u64) -> Result<Answer, Error> {
    let path = PathBuf::from(OsString::from_vec(url::decode(url.path)));
    let failed = |source: io::Error| match source.kind() {
        // What a server would answer, so that callers need not tell the two apart.
        io::ErrorKind::NotFound => Error::Status { url: url.bare(), status: 404 },
        _ => Error::Read { path: path.clone(), source },
    };
    let mut file = File::open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let offset = file.seek(SeekFrom::Start(offset.min(length))).map_err(failed)?;
    let validator = Validator::default();
    Ok(Answer { offset, length: Some(length), validator, body: Box::new(file) })
}
