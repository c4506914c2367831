//! Names of hosts.
//!
//! glibc's resolver is made of shared libraries, which a static program cannot load: the image's own `getent` asks it,
//! so that /etc/hosts, nsswitch.conf and systemd-resolved count as they do for every other program.

use std::net::{IpAddr, SocketAddr};

use coremax_sandbox::{Cmd, Sandbox};
use ureq::{
    config::Config,
    http::{Uri, uri::Scheme},
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

/// As many addresses as are tried.
const ADDRESSES: usize = 16;

/// Resolves by `getent`; an address stands for itself.
#[derive(Debug)]
pub(crate) struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let mut found = self.empty();
        for address in addresses(host).into_iter().take(ADDRESSES) {
            found.push(SocketAddr::new(address, port));
        }
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(found) }
    }
}

/// All that a host is known by; itself where it is an address, none where nobody knows it.
pub(crate) fn addresses(host: &str) -> Vec<IpAddr> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = literal.parse() {
        return vec![address];
    }
    let getent = Cmd::new("getent", &Sandbox::host()).args(["ahosts", "--", host]);
    getent.run().map(|said| parse(&String::from_utf8_lossy(&said.stdout))).unwrap_or_default()
}

/// What `getent ahosts` prints: a line for each address and kind of socket.
fn parse(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_getent_prints() {
        let text = "192.0.2.7       STREAM updates.example\n192.0.2.7       DGRAM\n\
                    192.0.2.7       RAW\n2001:db8::7     STREAM\nfe80::1%eth0    STREAM\n\n";
        let want: Vec<IpAddr> = ["192.0.2.7", "2001:db8::7"].map(|a| a.parse().unwrap()).into();
        assert_eq!(parse(text), want);
        assert_eq!(parse(""), [] as [IpAddr; 0]);
    }

    #[test]
    fn addresses_and_names() {
        for (host, want) in [("192.0.2.7", "192.0.2.7"), ("[::1]", "::1")] {
            assert_eq!(addresses(host), [want.parse::<IpAddr>().unwrap()], "{host}");
        }
        if Cmd::new("getent", &Sandbox::host()).arg("--version").run().is_err() {
            return coremax_skip::skip("there is no getent here");
        }
        assert!(addresses("localhost").iter().all(IpAddr::is_loopback));
        assert!(!addresses("localhost").is_empty());
        assert_eq!(addresses("no-such-host.invalid"), [] as [IpAddr; 0]);
        assert_eq!(addresses("--help"), [] as [IpAddr; 0]);
    }
}
