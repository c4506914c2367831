//! What a tester expects of a guest, in the words of a recipe's `[expect]`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Answer, Kind};

/// What must hold in the booted guest, besides that no unit failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expect {
    /// Packages that dpkg holds for installed.
    pub packages: Vec<Package>,
    /// Absolute paths that exist.
    pub files: Vec<String>,
    /// systemd units that are active.
    pub units: Vec<String>,
    /// Ports that something listens on.
    pub listens: Vec<Listen>,
}

impl Expect {
    /// Every expectation as the kind and name of the check that answers it.
    pub fn checks(&self) -> impl Iterator<Item = (Kind, String)> {
        let named = |kind, names: &[String]| -> Vec<_> {
            names.iter().map(|name| (kind, name.clone())).collect()
        };
        let packages = self.packages.iter().map(|package| (Kind::Package, package.to_string()));
        let listens = self.listens.iter().map(|listen| (Kind::Listen, listen.to_string()));
        packages
            .chain(listens)
            .chain(named(Kind::File, &self.files))
            .chain(named(Kind::Unit, &self.units))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The expectations that `answer` has no check for.
    pub(super) fn unanswered(&self, answer: &Answer) -> Vec<(Kind, String)> {
        let answered = |(kind, name): &(Kind, String)| {
            answer.checks.iter().any(|check| check.kind == *kind && check.name == *name)
        };
        self.checks().filter(|wanted| !answered(wanted)).collect()
    }
}

/// A package, `name` or `name=version` (any version where there is none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Package {
    /// The package's name, without an architecture.
    pub name: String,
    /// The one version that will do.
    pub version: Option<String>,
}

impl FromStr for Package {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || version.as_deref() == Some("") {
            return Err(format!("{text:?} is no package: it is written NAME or NAME=VERSION"));
        }
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}={version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A listening port, `tcp/22` or `udp/123`; over IPv4 or IPv6, at any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Listen {
    /// TCP or UDP.
    pub transport: Transport,
    /// The port's number.
    pub port: u16,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no port: it is written tcp/22 or udp/123");
        let (transport, port) = text.split_once('/').ok_or_else(wrong)?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(wrong()),
        };
        Ok(Self { transport, port: port.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}/{}", self.port)
    }
}

/// Sixteen random bytes, as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// A nonce of these bytes; it is for the caller to take them from a random source.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Nonce {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a nonce is 32 hexadecimal digits".to_owned();
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(|n| Self(n.to_be_bytes())).map_err(|_| wrong())
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The text form of a type as serde wants it: `String` both ways.
macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )* };
}

as_text!(Package, Listen, Nonce);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_forms() {
        for text in ["openssh-server", "libc6=2.36-9+deb12u9"] {
            assert_eq!(text.parse::<Package>().unwrap().to_string(), text);
        }
        for text in ["tcp/22", "udp/65535"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "=1", "a="] {
            assert!(text.parse::<Package>().is_err(), "{text}");
        }
        for text in ["", "22", "tcp/", "tcp/65536", "tcp/-1", "sctp/1", "tcp/22/1"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
        for text in ["", "0", "+0000000000000000000000000000000", &"é".repeat(16)] {
            assert!(text.parse::<Nonce>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_nonce_survives_its_text(bytes in any::<[u8; 16]>()) {
            let nonce = Nonce::from_bytes(bytes);
            prop_assert_eq!(nonce.to_string().parse::<Nonce>(), Ok(nonce));
        }

        #[test]
        fn foreign_text_never_panics(text in any::<String>()) {
            let _ = (text.parse::<Package>(), text.parse::<Listen>(), text.parse::<Nonce>());
        }
    }
}
