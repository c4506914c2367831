//! Texts of a fixed form: each parses, displays and serialises as that text.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name: a label of a host name, RFC 1123.
const NAME_MAX: usize = 63;

/// The longest name of a host with its domains, in its text: RFC 1035, 2.3.4.
const HOST_MAX: usize = 253;

/// What MACs in documents begin with: RFC 9542, 2.1.1.
const EXAMPLE: [u8; 5] = [0x00, 0x00, 0x5e, 0x00, 0x53];

/// A text that is not what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {form}")]
pub struct BadValue {
    text: String,
    kind: &'static str,
    form: &'static str,
}

/// A host name of one label, RFC 1123, in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The MAC address of one card: neither zero nor a group's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// An IPv4 subnet, RFC 4632, with room for hosts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    network: u32,
    prefix: u32,
}

/// A host's address and the subnet that it is in: `10.1.0.11/24`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CardAddress {
    address: Ipv4Addr,
    subnet: Subnet,
}

/// A TCP service: an IPv4 address or a host's name (RFC 1123, in lower case), and a port.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl FromStr for Endpoint {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let form = "write a host and its port, as in `registry.example:5000`";
        let parts = || {
            let (host, port) = text.split_once(':')?;
            let is_plain = !port.starts_with(['+', '0']); // parse() takes both
            let port = port.parse().ok().filter(|_| is_plain)?;
            is_host(host).then(|| Self { host: host.to_owned(), port })
        };
        parts().ok_or_else(|| bad(text, "a service", form))
    }
}

/// What ends in a number is an address, or none: a resolver may make anything of it.
fn is_host(text: &str) -> bool {
    let is_name =
        text.len() <= HOST_MAX && text.split('.').all(|label| label.parse::<Name>().is_ok());
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_numeric = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    if is_numeric { text.parse::<Ipv4Addr>().is_ok() } else { is_name }
}

impl Endpoint {
    /// The host: an IPv4 address, or a name to be asked for.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, not 0.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Name {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let form = "write lower-case letters, digits and inner hyphens, 63 at most";
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=NAME_MAX).contains(&text.len()) && text.chars().all(plain);
        if fits && !text.starts_with('-') && !text.ends_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad(text, "a name", form))
        }
    }
}

impl FromStr for Mac {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let wrong = || bad(text, "the MAC of a card", "write it as in `52:54:00:12:34:56`");
        let bytes: Option<Vec<u8>> = text.split(':').map(hex_pair).collect();
        Self::new(bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?)
            .ok_or_else(wrong)
    }
}

impl Mac {
    /// Nothing for zeros, and for a group's address (which all-F is too).
    pub fn new(bytes: [u8; 6]) -> Option<Self> {
        (bytes != [0; 6] && bytes[0] & 1 == 0).then_some(Self(bytes))
    }

    /// Whether it is one of those that RFC 9542 keeps for documents, 00:00:5e:00:53:00 to ff: no card has it.
    pub fn is_example(&self) -> bool {
        self.0[..5] == EXAMPLE
    }

    /// One of those that no card has, for an operator to change.
    pub const fn example(number: u8) -> Self {
        let [a, b, c, d, e] = EXAMPLE;
        Self([a, b, c, d, e, number])
    }

    /// Its bytes, as they travel.
    pub fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }
}

impl FromStr for Subnet {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let form = "write the network and 8 to 30 bits of it, as in `10.0.0.0/24`";
        let parts = || {
            let (network, prefix) = text.split_once('/')?;
            let prefix = prefix.parse().ok().filter(|bits| (8..=30).contains(bits))?;
            let network = u32::from(network.parse::<Ipv4Addr>().ok()?);
            (network & host_bits(prefix) == 0).then_some(Self { network, prefix })
        };
        parts().ok_or_else(|| bad(text, "a subnet", form))
    }
}

impl Subnet {
    /// Whether a host may have this address: it is inside, and neither the network's nor the broadcast's.
    pub fn has_host(&self, address: Ipv4Addr) -> bool {
        let host = u32::from(address) ^ self.network;
        0 < host && host < host_bits(self.prefix)
    }

    /// Whether machines can have its addresses: it is not that of no address, of groups, of broadcast or reserved (RFC
    /// 6890 and 1112).
    pub const fn is_of_hosts(&self) -> bool {
        matches!(self.network >> 24, 1..=223)
    }

    /// Whether an address may be in both.
    pub const fn overlaps(&self, other: &Self) -> bool {
        let shorter = if self.prefix < other.prefix { self.prefix } else { other.prefix };
        (self.network ^ other.network) & !host_bits(shorter) == 0
    }

    /// How many bits are the network's.
    pub const fn prefix(&self) -> u32 {
        self.prefix
    }

    /// The host with this number, from 1; nothing where there is none.
    pub fn host(&self, number: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(self.network.checked_add(number)?);
        self.has_host(address).then_some(address)
    }
}

impl FromStr for CardAddress {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let form = "write a host's address and 8 to 30 bits of its network, as in `10.1.0.11/24`";
        let parts = || {
            let (address, prefix) = text.split_once('/')?;
            let address: Ipv4Addr = address.parse().ok()?;
            let prefix = prefix.parse().ok().filter(|bits| (8..=30).contains(bits))?;
            let subnet = Subnet { network: u32::from(address) & !host_bits(prefix), prefix };
            let is_hosts = subnet.is_of_hosts() && subnet.has_host(address);
            is_hosts.then_some(Self { address, subnet })
        };
        parts().ok_or_else(|| bad(text, "a host's address in a network", form))
    }
}

impl CardAddress {
    /// The host's.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where it is.
    pub const fn subnet(&self) -> Subnet {
        self.subnet
    }
}

const fn host_bits(prefix: u32) -> u32 {
    u32::MAX >> prefix
}

/// Two hex digits; `from_str_radix` alone would take a sign.
fn hex_pair(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok())?
}

fn bad(text: &str, kind: &'static str, form: &'static str) -> BadValue {
    BadValue { text: text.chars().take(NAME_MAX).collect(), kind, form }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

impl fmt::Display for CardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.subnet.prefix)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}
as_text!(Name, Mac, Subnet, CardAddress, Endpoint);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<T: FromStr + fmt::Display>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(text.parse::<T>().ok().unwrap().to_string(), *text);
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn each_form_takes_its_own_and_refuses_the_rest() {
        let long = "a".repeat(64);
        check::<Name>(&["a", "n-1", &long[1..]], &["", "-a", "a-", "A", "a.b", &long]);
        check::<Mac>(
            &["52:54:00:12:34:56"],
            &[
                "",
                "52:54:00:12:34",
                "00:00:00:00:00:00",
                "ff:ff:ff:ff:ff:ff",
                "01:00:5e:00:00:01",
                "+2:54:00:12:34:56",
            ],
        );
        check::<Subnet>(
            &["10.0.0.0/8", "192.168.1.0/30"],
            &["", "10.0.0.1/24", "10.0.0.0/31", "10.0.0.0/7", "10.0.0.0", "0.0.0.0/0"],
        );
        check::<CardAddress>(
            &["10.1.0.11/24", "192.168.1.1/30"],
            &[
                "",
                "10.1.0.11",
                "10.1.0.0/24",
                "10.1.0.255/24",
                "10.1.0.11/31",
                "10.1.0.11/7",
                "127.0.0.1/7",
                "224.0.0.1/24",
                "0.0.0.1/8",
                "10.1.0.11/24/1",
                "10.1.0.011/24",
            ],
        );
        let deep = format!("{}a:1", "a.".repeat(126));
        check::<Endpoint>(
            &["10.0.0.10:5000", "registry:1", "a.1b.example-2:65535", &deep],
            &[
                "",
                "registry",
                "registry:",
                ":5000",
                "registry:0",
                "registry:+5",
                "registry:05",
                "registry:65536",
                "10.0.0.256:5000",
                "10.0.0:5000",
                "a.0x1:5000",
                "a..b:5000",
                "a.:5000",
                "A:5000",
                "a b:5000",
                "http://a:5000",
                "::1:5000",
                &format!("a.{deep}"),
            ],
        );
    }

    #[test]
    fn hosts_of_a_subnet() {
        let subnet: Subnet = "10.0.0.0/30".parse().unwrap();
        let hosts: Vec<_> = (0..5).map(|number| subnet.host(number).is_some()).collect();
        assert_eq!(hosts, [false, true, true, false, false]);
        assert!(!subnet.has_host(Ipv4Addr::new(10, 0, 1, 1)));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_whole_or_refused(text in "\\PC{0,70}|[0-9a-f:./-]{0,20}") {
            let _ = text.parse::<Mac>();
            let _ = text.parse::<Subnet>();
            if let Ok(service) = text.parse::<Endpoint>() {
                prop_assert_eq!(service.to_string(), text.clone());
            }
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
