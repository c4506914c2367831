//! The little that fetching needs to know of URLs (RFC 3986): their parts, references, and hiding logins.

use std::{fmt::Write as _, path::Path};

/// A URL taken apart: `scheme://[login@]authority/path?query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) scheme: &'a str,
    /// `user:password`, still percent-encoded.
    pub(crate) login: Option<&'a str>,
    /// `host[:port]`.
    pub(crate) authority: &'a str,
    /// With its leading slash and the query, or empty.
    pub(crate) path: &'a str,
}

impl<'a> Url<'a> {
    pub(crate) fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        if let Some(path) = rest.strip_prefix('/').filter(|_| !rest.starts_with("//")) {
            let path = &rest[..=path.len()];
            return Some(Self { scheme, login: None, authority: "", path });
        }
        let rest = rest.strip_prefix("//")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, authority) = match authority.rsplit_once('@') {
            Some((login, authority)) => (Some(login), authority),
            None => (None, authority),
        };
        Some(Self { scheme, login, authority, path })
    }

    /// The host alone, without its port (an IPv6 address keeps its brackets).
    pub(crate) fn host(&self) -> &'a str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => self.authority,
        }
    }

    /// The port, where one is named.
    pub(crate) fn port(&self) -> Option<u16> {
        self.authority[self.host().len()..].strip_prefix(':')?.parse().ok()
    }

    /// The URL without its login, and with every byte that may not stand in a URL percent-encoded.
    pub(crate) fn bare(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { self.path };
        let mut url = format!("{}://{}", self.scheme, self.authority);
        for byte in path.bytes() {
            match byte {
                b'!'..=b'~' if !br#""<>\^`{|}"#.contains(&byte) => url.push(char::from(byte)),
                _ => write!(url, "%{byte:02X}").unwrap_or_default(),
            }
        }
        url
    }
}

/// The URL of a file of this machine, by its absolute path.
pub fn file_url(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~+".contains(&byte);
    let written = |&byte: &u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    let path: String = path.as_os_str().as_encoded_bytes().iter().map(written).collect();
    format!("file://{path}")
}

/// `url` as it may be shown: without a login.
pub(crate) fn redact(url: &str) -> String {
    match Url::parse(url) {
        Some(Url { scheme, login: Some(_), authority, path }) => {
            format!("{scheme}://{authority}{path}")
        }
        Some(_) => url.to_owned(),
        // No URL, but it may have been meant as one: `user:password@host/path`.
        None => url.rsplit_once('@').map_or(url, |(_, rest)| rest).to_owned(),
    }
}

/// Where `reference` (a `Location`) leads from `base`.
pub(crate) fn join(base: &Url<'_>, reference: &str) -> String {
    let Url { scheme, authority, path, .. } = base;
    if reference.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
        reference.to_owned()
    } else if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        let folder = if folder.is_empty() { "/" } else { folder };
        format!("{scheme}://{authority}{folder}{reference}")
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Undoes percent-encoding; what is not an escape stays as it is.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                decoded.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = after;
            }
            _ => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts() {
        let url = Url::parse("http://a:b@mirror.example:8080/debian/x?y").unwrap();
        assert_eq!((url.scheme, url.login), ("http", Some("a:b")));
        assert_eq!((url.host(), url.path), ("mirror.example", "/debian/x?y"));
        assert_eq!(Url::parse("file:/srv/x").unwrap().path, "/srv/x");
        assert_eq!(Url::parse("file:///srv/x").unwrap().path, "/srv/x");
        assert_eq!(Url::parse("http://[::1]:80/").unwrap().host(), "[::1]");
        assert_eq!(Url::parse("http://[::1]/").unwrap().host(), "[::1]");
        assert_eq!(Url::parse("mirror.example"), None);
    }

    #[test]
    fn hides_logins_and_encodes() {
        assert_eq!(redact("https://a:b@m.example/x"), "https://m.example/x");
        assert_eq!(redact("a:b/c@m.example/x"), "m.example/x");
        let url = "http://m.example/a b~%3a+é";
        assert_eq!(Url::parse(url).unwrap().bare(), "http://m.example/a%20b~%3a+%C3%A9");
        assert_eq!(decode("p%40ss%3a%zz%4"), b"p@ss:%zz%4");
    }

    #[test]
    fn references() {
        let base = Url::parse("http://m.example/debian/pool/x.deb?q").unwrap();
        for (reference, leads_to) in [
            ("https://o.example/y", "https://o.example/y"),
            ("//o.example/y", "http://o.example/y"),
            ("/y", "http://m.example/y"),
            ("y_1:2.deb", "http://m.example/debian/pool/y_1:2.deb"),
        ] {
            assert_eq!(join(&base, reference), leads_to);
        }
    }

    proptest! {
        #[test]
        fn a_bare_url_is_the_same_again_and_shows_no_login(
            login in "[a-z]{1,4}(:[a-zA-Z%0-9]{1,9})?", host in "[a-z]{1,9}(:[0-9]{1,5})?", path in "(/.{0,20})?",
        ) {
            let url = format!("http://{login}@{host}{path}");
            let bare = Url::parse(&url).unwrap().bare();
            prop_assert_eq!(Url::parse(&bare).unwrap().bare(), bare.clone());
            let without_login = format!("http://{host}");
            prop_assert!(bare.is_ascii() && bare.starts_with(&without_login));
            prop_assert!(redact(&url).starts_with(&without_login));
        }

        #[test]
        fn decoding_undoes_encoding(bytes: Vec<u8>) {
            let text: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode(&text), bytes);
        }

        #[test]
        fn never_panics(url in ".*", reference in ".*") {
            if let Some(url) = Url::parse(&url) {
                let _ = (url.host(), url.port(), url.bare(), join(&url, &reference));
            }
            let _ = (redact(&url), decode(&url));
        }
    }
}
