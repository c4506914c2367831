//! How the network is reached: proxies, certificates, logins, patience.
//!
//! The rules are those of apt (`apt-transport-http(1)`, `apt-transport-https(1)`, `apt_auth.conf(5)`),
//! as they come from the host's apt configuration.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use crate::{
    ProxyRules,
    url::{self, Url},
};

/// How the network is reached. The default uses no proxy and the system's certificates.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Which proxy serves which host.
    pub proxies: ProxyRules,
    /// What https servers are checked against.
    pub tls: TlsRules,
    /// The same for single hosts.
    pub tls_of_host: BTreeMap<String, TlsRules>,
    /// Logins; the first that matches is used.
    pub logins: Vec<Login>,
    /// Parallel downloads; at least 1.
    pub connections: usize,
    /// How long to wait for the next byte.
    pub stall: Duration,
    /// Attempts without any progress before a download is given up; at least 1.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles from there.
    pub pause: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            proxies: ProxyRules::default(),
            tls: TlsRules::default(),
            tls_of_host: BTreeMap::new(),
            logins: Vec::new(),
            connections: 6,
            stall: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_millis(500),
        }
    }
}

impl Transport {
    /// The default, with the proxies that the environment names.
    pub fn from_environment() -> Self {
        Self { proxies: ProxyRules::from_environment(), ..Self::default() }
    }

    /// What the server at `host` is checked against.
    pub(crate) fn tls_for(&self, host: &str) -> &TlsRules {
        self.tls_of_host.get(host).unwrap_or(&self.tls)
    }

    /// The login for `url`: its own, else the first that matches.
    pub(crate) fn login_for(&self, url: &Url<'_>) -> Option<Credentials> {
        match url.login {
            Some(login) => Some(Credentials::from_url(login)),
            None => self.logins.iter().find(|login| login.matches(url)).map(Login::credentials),
        }
    }
}

/// What an https server's certificate is checked against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsRules {
    /// PEM file with the authorities; `None` means the system's (SSL_CERT_FILE and SSL_CERT_DIR count).
    pub authorities: Option<PathBuf>,
    /// Whether it is checked at all. Archives stay safe without, since their indexes are signed.
    pub verify: bool,
}

impl Default for TlsRules {
    fn default() -> Self {
        Self { authorities: None, verify: true }
    }
}

/// A login as apt's auth.conf has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `http` or `https`; empty matches https alone, so that no password crosses the net in clear by mistake.
    pub scheme: String,
    /// `host` or `host:port`.
    pub machine: String,
    /// What the URL's path must start with; may be empty.
    pub path: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

impl Login {
    fn matches(&self, url: &Url<'_>) -> bool {
        let scheme = if self.scheme.is_empty() { "https" } else { &self.scheme };
        let machine = if self.machine.contains(':') { url.authority } else { url.host() };
        scheme == url.scheme
            && machine.eq_ignore_ascii_case(&self.machine)
            && url.path.starts_with(&self.path)
    }

    fn credentials(&self) -> Credentials {
        Credentials { user: self.user.clone(), password: self.password.clone() }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user and a password for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

impl Credentials {
    /// From the `user:password` of a URL.
    pub(crate) fn from_url(login: &str) -> Self {
        let text = |part: &str| String::from_utf8_lossy(&url::decode(part)).into_owned();
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Self { user: text(user), password: Secret(text(password)) }
    }

    /// The value of an `Authorization` header (RFC 7617).
    pub(crate) fn basic(&self) -> String {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(scheme: &str, machine: &str, path: &str) -> Login {
        Login {
            scheme: scheme.into(),
            machine: machine.into(),
            path: path.into(),
            user: "apt".into(),
            password: Secret("debian".into()),
        }
    }

    #[test]
    fn matches_as_the_manual_page_says() {
        let url = Url::parse("https://example.org/debian/dists").unwrap();
        for (login, matches) in [
            (login("", "example.org", ""), true),
            (login("https", "example.org", ""), true),
            (login("http", "example.org", ""), false),
            (login("", "example.org", "/deb"), true),
            (login("", "example.org", "/debian/"), true),
            (login("", "example.org:443", ""), false),
            (login("", "example.org", "/deb/"), false),
            (login("", "example.orga", ""), false),
        ] {
            assert_eq!(login.matches(&url), matches, "{login:?}");
        }
        let plain = Url::parse("http://example.org/").unwrap();
        assert!(!login("", "example.org", "").matches(&plain));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", login("", "m.example", "")).contains("debian"));
        assert_eq!(
            Credentials::from_url("Aladdin:open%20sesame").basic(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }
}
