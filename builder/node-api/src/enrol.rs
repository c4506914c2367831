//! What a node asks of its seed beside its row, and what it is given: certificates for keys that it made itself.
//!
//! Both travel inside the channel, a request with each report and a gift with the orders that answer it, where it is
//! [due](Request::is_due). There is no CSR: a certificate's names are those of the roster's row and of nothing that a
//! node says, so that a key and a proof of it are all that is left of one.
//!
//! The proof is a signature by the TLS key over the cluster, the channel's key and both keys that are asked for: who
//! sends on somebody else's request has another channel. The SSH host key proves nothing here: a certificate that binds
//! this node's own name to a key that it does not have is of use to nobody whom it does not trust.
//!
//! Secrets never travel. The time is [`Orders::wall`](crate::join::Orders).

mod key;
mod text;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    guid::Guid,
    join::{Digest, NodeKey},
};
pub use key::{NotAKey, PKCS8, Public, Secret};
pub use text::{DER_MAX, Der, NotAGift, SSH_MAX, SshCertificate};

/// For how long a certificate holds from when it is given, in milliseconds. Set here: a node that is off for a month is
/// looked at by a person.
pub const VALID_FOR: i64 = 30 * DAY;
/// How far its beginning lies back, in milliseconds: a clock that is a day slow takes it.
pub const BACKDATED: i64 = DAY;
/// How long before its end another one is given, in milliseconds: a seed may be gone for so long.
pub const RENEWED_BEFORE: i64 = 10 * DAY;
const DAY: i64 = 86_400_000;

/// Keeps the signature of a request from being one of anything else.
const DOMAIN: &[u8] = b"coremax enrol\0";

/// What a node asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its key for TLS.
    pub tls: Public,
    /// Its SSH host key.
    pub ssh: Public,
    /// By the TLS key, see [`Self::is_proven`].
    pub proof: Proof,
    /// What it has for these keys already.
    pub holds: Option<Holds>,
}

/// An Ed25519 signature. Serialises as 128 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Proof([u8; 64]);

/// The certificates that a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// [`Gift::authority`].
    pub authority: Digest,
    /// When they hold.
    pub valid: Window,
}

/// From when until when, both in milliseconds since 1970, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The first moment.
    pub from: i64,
    /// The last one.
    pub until: i64,
}

/// What a node is given. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gift {
    /// The cluster's X.509 authority, DER.
    pub ca: Der,
    /// The node's certificate by it, DER.
    pub certificate: Der,
    /// What signs the keys of hosts.
    pub ssh_hosts: Public,
    /// What signs the keys of those who may log in.
    pub ssh_users: Public,
    /// The certificate of the node's SSH host key, as OpenSSH has it in a file: one line.
    pub ssh_certificate: SshCertificate,
    /// When both certificates hold.
    pub valid: Window,
}

impl Request {
    /// A request on the channel of `node`, by a machine that was told of `cluster`.
    pub fn new(
        cluster: Guid,
        node: NodeKey,
        tls: &Secret,
        ssh: Public,
        holds: Option<Holds>,
    ) -> Self {
        let proof = Proof(tls.sign(&signed(cluster, node, tls.public(), ssh)));
        Self { tls: tls.public(), ssh, proof, holds }
    }

    /// Whether who sends it on the channel of `node` has the TLS key.
    pub fn is_proven(&self, cluster: Guid, node: NodeKey) -> bool {
        self.tls.verifies(&signed(cluster, node, self.tls, self.ssh), &self.proof.0)
    }

    /// Whether it needs a gift from this authority, at a time in milliseconds since 1970.
    pub fn is_due(&self, authority: Digest, now: i64) -> bool {
        let is_good = |holds: Holds| holds.authority == authority && !holds.valid.is_due(now);
        !self.holds.is_some_and(is_good)
    }
}

fn signed(cluster: Guid, node: NodeKey, tls: Public, ssh: Public) -> Vec<u8> {
    [DOMAIN, cluster.as_bytes(), &node.0, tls.as_bytes(), ssh.as_bytes()].concat()
}

impl Window {
    /// That of a certificate given at this time, in milliseconds since 1970.
    pub fn at(now: i64) -> Self {
        let second = |time: i64| time.div_euclid(1000).saturating_mul(1000);
        let (from, until) = (now.saturating_sub(BACKDATED), now.saturating_add(VALID_FOR));
        Self { from: second(from), until: second(until) }
    }

    /// Whether another one is to be given: it ends soon, or has not begun for a clock that was set back.
    pub fn is_due(&self, now: i64) -> bool {
        now < self.from || now > self.until.saturating_sub(RENEWED_BEFORE)
    }
}

impl Gift {
    /// Names what all certificates of one authority are by.
    pub fn authority(&self) -> Digest {
        authority(&self.ca, self.ssh_hosts, self.ssh_users)
    }

    /// What a node that has it says of it.
    pub fn held(&self) -> Holds {
        Holds { authority: self.authority(), valid: self.valid }
    }
}

/// [`Gift::authority`], of its parts.
pub fn authority(ca: &Der, ssh_hosts: Public, ssh_users: Public) -> Digest {
    Sha256::new()
        .chain_update(b"coremax authority\0")
        .chain_update(ssh_hosts.as_bytes())
        .chain_update(ssh_users.as_bytes())
        .chain_update(ca.as_bytes())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests;
