//! What a node's certificate says.

use std::net::Ipv4Addr;

use coremax_node_api::{
    enrol::{Public, Window},
    join::NodeKey,
    roster::Name,
};
use der::Decode as _;
use x509_cert::{
    Certificate,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// What stands before the key of a node in the URI of its certificate.
const URN: &str = "urn:coremax:node:";

/// What a certificate says: nothing of it counts before who it is by was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The machine, by the key that it has in the channel.
    pub node: NodeKey,
    /// The name of its row.
    pub name: Name,
    /// The address of its row.
    pub address: Ipv4Addr,
    /// Its key for TLS.
    pub key: Public,
    /// When it holds.
    pub valid: Window,
}

/// A certificate that says something else than a node's does. Never a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node's certificate has one name, one address, its machine's key and nothing else")]
pub struct NotANodes;

impl Certified {
    /// What this certificate says, DER.
    ///
    /// # Errors
    /// [`NotANodes`] where it is damaged, has other names than a node's, more of them, or a key of another kind.
    pub fn read(der: &[u8]) -> Result<Self, NotANodes> {
        let body = Certificate::from_der(der).map_err(|_| NotANodes)?.tbs_certificate;
        let (_, names) = body.get::<SubjectAltName>().ok().flatten().ok_or(NotANodes)?;
        let (node, name, address) = three(&names.0).ok_or(NotANodes)?;
        let key = body.subject_public_key_info.subject_public_key.as_bytes();
        let key = key.and_then(|key| key.try_into().ok()).ok_or(NotANodes)?;
        let time = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_millis()).map_err(|_| NotANodes)
        };
        Ok(Self {
            node,
            name,
            address,
            key: Public::new(key).map_err(|_| NotANodes)?,
            valid: Window {
                from: time(body.validity.not_before)?,
                until: time(body.validity.not_after)?,
            },
        })
    }

    /// The URI that names the machine of this key in its certificate.
    pub fn uri(node: NodeKey) -> String {
        format!("{URN}{node}")
    }

    /// Whether its names are those of a row.
    pub fn is_of(&self, name: &Name, address: Ipv4Addr) -> bool {
        self.name == *name && self.address == address
    }

    /// Whether it holds at this time, in milliseconds since 1970.
    pub fn holds(&self, now: i64) -> bool {
        (self.valid.from..=self.valid.until).contains(&now)
    }
}

/// The three names that there are, in any order.
fn three(names: &[GeneralName]) -> Option<(NodeKey, Name, Ipv4Addr)> {
    let (mut node, mut name, mut address) = (None, None, None);
    for it in names {
        let is_second = match it {
            GeneralName::DnsName(text) => name.replace(text.as_str().parse().ok()?).is_some(),
            GeneralName::UniformResourceIdentifier(text) => {
                node.replace(text.as_str().strip_prefix(URN)?.parse().ok()?).is_some()
            }
            GeneralName::IpAddress(bytes) => {
                let bytes = <[u8; 4]>::try_from(bytes.as_bytes()).ok()?;
                address.replace(Ipv4Addr::from(bytes)).is_some()
            }
            _ => true,
        };
        if is_second {
            return None;
        }
    }
    Some((node?, name?, address?))
}
