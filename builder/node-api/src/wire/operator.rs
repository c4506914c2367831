//! What an operator asks of a running seed, and what the seed says to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    base64_text,
    cluster_status::ClusterStatus,
    guid::Guid,
    hex,
    join::{Edition, NodeKey},
    roster::Name,
    update::key::{PublicKey, SecretKey},
};

/// Keeps a signature of an approval from being one of anything else, and the other way round.
const DOMAIN: &[u8] = b"coremax approval\0";

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// That.
    pub ask: Ask,
}

/// What may be asked. Whoever has the cluster's key may ask; what changes anything counts by the operator's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// How far the cluster is.
    Status,
    /// To take in a newer roster, which is signed.
    Roster(SignedRoster),
    /// To give a row to a machine that waits.
    Approve(SignedApproval),
}

/// The bytes of a signed roster, unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRoster(#[serde(with = "base64_text")] pub Arc<[u8]>);

/// What a seed says to an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// That.
    pub told: Told,
}

/// What a seed may say to an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// How far the cluster is.
    Status(Box<ClusterStatus>),
    /// What was asked for is done, and on the seed's disk.
    Done,
    /// Nothing was done.
    Refused(Refused),
}

/// Why nothing was done, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The reason.
    pub why: String,
    /// What mends it, where that is known.
    pub hint: Option<String>,
}

/// The operator's word that a machine gets a row which names none: of one cluster, while one roster holds. Said again it
/// says nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Which cluster.
    pub cluster: Guid,
    /// Of the roster that holds: with the next one it is over.
    pub edition: Edition,
    /// The machine.
    pub node: NodeKey,
    /// The row.
    pub name: Name,
}

/// An approval with the signature of whoever signs rosters too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedApproval {
    approval: Approval,
    #[serde(with = "signature")]
    signature: [u8; 64],
}

/// Why an approval is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// No operator of this cluster signed it, or it was changed.
    #[error("the approval is not signed with the key of an operator of this cluster")]
    Signature,
    /// It was signed for another cluster.
    #[error("the approval is of another cluster")]
    OtherCluster,
    /// It was signed while another roster held.
    #[error("the approval is of roster {theirs}, and roster {ours} holds here")]
    OtherRoster {
        /// The epoch that it was signed in.
        theirs: u64,
        /// The epoch that holds.
        ours: u64,
    },
}

impl NotApproved {
    /// What mends it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Signature => "sign with the key that the roster is signed with",
            Self::OtherCluster | Self::OtherRoster { .. } => "approve the machine again",
        }
    }
}

impl Approval {
    /// Signs it.
    pub fn sign(self, key: &SecretKey) -> SignedApproval {
        let signature = key.sign(&self.signed());
        SignedApproval { approval: self, signature }
    }

    /// What is signed: all of it, each part as long as it is always, the name last.
    fn signed(&self) -> Vec<u8> {
        let Self { cluster, edition, node, name } = self;
        let epoch = edition.epoch.to_be_bytes();
        let name: &str = name.as_ref();
        [DOMAIN, cluster.as_bytes(), &epoch, &edition.digest, &node.0, name.as_bytes()].concat()
    }
}

impl SignedApproval {
    /// The approval, if one of `operators` signed it for this cluster and the roster that holds there.
    ///
    /// # Errors
    /// Every [`NotApproved`].
    pub fn open(
        self,
        operators: &[PublicKey],
        cluster: Guid,
        edition: Edition,
    ) -> Result<Approval, NotApproved> {
        let Self { approval, signature } = self;
        let signed = approval.signed();
        if !operators.iter().any(|operator| operator.verifies(&signed, &signature)) {
            return Err(NotApproved::Signature);
        }
        if approval.cluster != cluster {
            return Err(NotApproved::OtherCluster);
        }
        if approval.edition != edition {
            let (theirs, ours) = (approval.edition.epoch, edition.epoch);
            return Err(NotApproved::OtherRoster { theirs, ours });
        }
        Ok(approval)
    }
}

/// A signature as its hex digits, for serde.
mod signature {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 64], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 64], D::Error> {
        let bytes = super::hex::decode(&String::deserialize(from)?);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| de::Error::custom("a signature has 128 hex digits"))
    }
}

#[cfg(test)]
mod tests;
