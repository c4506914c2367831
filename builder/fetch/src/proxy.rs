//! Which proxy serves which URL, and speaking to it as apt does.
//!
//! The order is apt's (`apt-transport-http(1)`): the proxy of that host, the general one, then the environment's
//! `http_proxy` and `https_proxy`; `DIRECT` means none; hosts in `no_proxy` go without. A plain http URL is
//! requested from an http proxy by its absolute form (RFC 9112, 3.2.2), since the caching proxies in front of
//! archives refuse to `CONNECT` to port 80.

use std::{collections::BTreeMap, env};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, Transport as Connection,
};

use crate::url::Url;

/// Which proxy serves which URL. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyRules {
    /// `Acquire::http::Proxy`, which https uses too where it has none of its own.
    pub http: Option<String>,
    /// `Acquire::https::Proxy`.
    pub https: Option<String>,
    /// `Acquire::http::Proxy::HOST`.
    pub http_hosts: BTreeMap<String, String>,
    /// `Acquire::https::Proxy::HOST`.
    pub https_hosts: BTreeMap<String, String>,
    /// `http_proxy`, used where nothing above is set.
    pub http_environment: Option<String>,
    /// `https_proxy`.
    pub https_environment: Option<String>,
    /// `no_proxy`: domains separated by commas.
    pub no_proxy: Option<String>,
}

impl ProxyRules {
    /// What the environment names, and nothing else.
    pub fn from_environment() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            http_environment: variable("http_proxy"),
            https_environment: variable("https_proxy"),
            no_proxy: variable("no_proxy"),
            ..Self::default()
        }
    }

    /// The URL of the proxy for `url`, if that is not to be asked directly.
    pub(crate) fn proxy_for(&self, url: &Url<'_>) -> Option<String> {
        let host = url.host();
        let setting = match url.scheme {
            "https" => (self.https_hosts.get(host).or_else(|| self.http_hosts.get(host)))
                .or(self.https.as_ref())
                .or(self.http.as_ref())
                .or(self.https_environment.as_ref()),
            _ => self.http_hosts.get(host).or(self.http.as_ref()),
        };
        let proxy = setting.or(self.http_environment.as_ref())?;
        let direct = proxy.is_empty() || proxy == "DIRECT" || proxy == "false";
        let proxy = match proxy.contains("://") {
            true => proxy.clone(),
            false => format!("http://{proxy}"),
        };
        (!direct && !self.is_exempt(host)).then_some(proxy)
    }

    fn is_exempt(&self, host: &str) -> bool {
        let domains = self.no_proxy.as_deref().unwrap_or_default();
        domains.split(',').map(str::trim).filter(|domain| !domain.is_empty()).any(|domain| {
            let domain = domain.trim_start_matches('.');
            domain == "*"
                || host.eq_ignore_ascii_case(domain)
                || host.to_ascii_lowercase().ends_with(&format!(".{}", domain.to_ascii_lowercase()))
        })
    }
}

/// The URL to ask `proxy` (`http://host:port`) for, so that [`AbsoluteForm`] makes it a request for `url`.
pub(crate) fn through(proxy: &Url<'_>, url: &str) -> String {
    format!("{}://{}/{url}", proxy.scheme, proxy.authority)
}

/// Turns requests for `/http://...` into the absolute form that proxies expect.
#[derive(Debug, Default)]
pub(crate) struct AbsoluteForm;

impl<C: Connection> Connector<C> for AbsoluteForm {
    type Out = AbsoluteConnection<C>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        inner: Option<C>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(inner.map(|inner| AbsoluteConnection { inner }))
    }
}

#[derive(Debug)]
pub(crate) struct AbsoluteConnection<C> {
    inner: C,
}

impl<C: Connection> Connection for AbsoluteConnection<C> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        const METHOD: &[u8] = b"GET ";
        let output = self.inner.buffers().output();
        let amount = if output[..amount].starts_with(b"GET /http://") {
            output.copy_within(METHOD.len() + 1..amount, METHOD.len());
            amount - 1
        } else {
            amount
        };
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_setting_gives_an_address_or_none(setting in ".{0,20}", exempt in ".{0,20}", host in "[a-z.]{1,9}") {
            let rules = ProxyRules {
                http: Some(setting),
                no_proxy: Some(exempt),
                ..ProxyRules::default()
            };
            let url = format!("http://{host}/");
            let proxy = rules.proxy_for(&Url::parse(&url).unwrap());
            prop_assert!(proxy.is_none_or(|proxy| proxy.contains("://")));
        }
    }

    #[test]
    fn the_order_is_apts() {
        let text = |text: &str| Some(text.to_owned());
        let rules = ProxyRules {
            http: text("http://general:1"),
            http_hosts: [("direct.example".into(), "DIRECT".into())].into(),
            https_hosts: [("tls.example".into(), "http://tls:2".into())].into(),
            no_proxy: text("local.example, .lan"),
            ..ProxyRules::default()
        };
        let environment = ProxyRules {
            http_environment: text("http://plain:3"),
            https_environment: text("http://tls:4"),
            ..ProxyRules::default()
        };
        for (rules, url, proxy) in [
            (&rules, "http://m.example/", Some("http://general:1")),
            (&rules, "https://m.example/", Some("http://general:1")),
            (&rules, "https://tls.example/", Some("http://tls:2")),
            (&rules, "http://direct.example/", None),
            (&rules, "https://direct.example/", None),
            (&rules, "http://a.local.example/", None),
            (&rules, "http://nonlocal.example/", Some("http://general:1")),
            (&rules, "http://host.LAN:80/", None),
            (&environment, "http://m.example/", Some("http://plain:3")),
            (&environment, "https://m.example/", Some("http://tls:4")),
            (&ProxyRules::default(), "http://m.example/", None),
        ] {
            assert_eq!(rules.proxy_for(&Url::parse(url).unwrap()).as_deref(), proxy, "{url}");
        }
    }
}
