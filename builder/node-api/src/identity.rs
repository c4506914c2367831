//! What a node is told at its first boot: which cluster is its own, and the key that proves it.
//!
//! One document in JSON, the same wherever it comes from:
//!
//! ```json
//! {"format": 1, "cluster": "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10", "key-id": "0123456789abcdef",
//!  "key": "64 hex digits", "seeds": ["10.0.0.11"]}
//! ```
//!
//! | place | where the document is |
//! |---|---|
//! | [`Place::Kept`] | on the node itself, as it was taken in once |
//! | [`Place::CommandLine`] | with the server that the kernel's command line names, as [`command_line`] says |
//! | [`Place::Smbios`] | a string of SMBIOS type 11 (DSP0134, 7.12), [`SMBIOS`] and the document in base64 |
//! | [`Place::FwCfg`] | QEMU's fw_cfg, as [`FW_CFG`] |
//! | [`Place::Volume`] | a volume labelled [`LABEL`], the file [`FILE`] |
//! | [`Place::Cidata`] | a volume labelled `cidata`, the file [`FILE`] |
//! | [`Place::ConfigDrive`] | a volume labelled `config-2`, the file [`FILE`] beside OpenStack's own; without it in those, as [`openstack`] says |
//! | [`Place::Metadata`] | OpenStack's metadata service, in the same files, where no other place has one |
//!
//! Beside it there may be the cluster's signed roster, in a volume as [`ROSTER`], in fw_cfg as [`FW_CFG_ROSTER`]: the
//! machine that it names as the seed becomes it, and nobody has to log in for that.
//!
//! The kernel's command line may say where the document is and never holds it: anyone on the machine reads it, and the
//! document is a secret. What the network says is none either: it is believed after a handshake with this key, not before.
//! There are two exceptions: a server that the command line names, and the metadata service, on servers whose firmware is
//! OpenStack's: there the cloud keeps its address to itself.
//!
//! [`choose`] says which one holds: the first in this order. One that is broken stops the search, whichever place has it,
//! for a node that goes on without what it was given joins what it should not, or waits for ever without saying why. Once
//! one is kept the others are only told.

mod choose;
pub mod command_line;
mod key;
pub mod openstack;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::guid::Guid;
pub use choose::{Broken, Choice, Place, Reading, choose};
pub use key::{Key, KeyId, NotHex};

/// The version of this document.
pub const FORMAT: u32 = 1;
/// Bytes of a document, at most. Set by this format: it has 150, and an SMBIOS string holds no megabytes.
pub const LONGEST: usize = 4096;
/// Addresses of seeds, at most. Set by this format.
pub const SEEDS_MAX: usize = 8;
/// The label of a volume that is made for this.
pub const LABEL: &str = "COREMAX";
/// The document's path in a volume.
pub const FILE: &str = "coremax/identity.json";
/// Its name in QEMU's fw_cfg: `-fw_cfg name=opt/coremax/identity,file=...`.
pub const FW_CFG: &str = "opt/coremax/identity";
/// The signed roster's path in a volume.
pub const ROSTER: &str = "coremax/cluster.coremax-roster";
/// Its name in QEMU's fw_cfg.
pub const FW_CFG_ROSTER: &str = "opt/coremax/roster";
/// What its SMBIOS string begins with; the document follows in base64.
pub const SMBIOS: &str = "coremax-identity:";

/// What a node is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Document {
    /// [`FORMAT`].
    format: u32,
    /// The cluster's UUID.
    pub cluster: Guid,
    /// Which key this is: it goes over the wire in clear.
    pub key_id: KeyId,
    /// The cluster's key, or the node's own where the operator makes one medium a node. Secret.
    pub key: Key,
    /// Where to ask first, without a beacon; may be empty.
    #[serde(default)]
    pub seeds: Vec<Ipv4Addr>,
}

/// Whether a machine may have this address. RFC 6890 and 1112: 0 is this network, 224 and above are groups, reserved, and
/// broadcast.
pub fn is_machine(address: &Ipv4Addr) -> bool {
    (1..=223).contains(&address.octets()[0])
}

/// A text that is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`LONGEST`].
    #[error("it is longer than {LONGEST} bytes")]
    Long,
    /// Another version of this format than [`FORMAT`].
    #[error("it is of format {0}, and {FORMAT} is known here")]
    Format(u32),
    /// What JSON says of it, without its text, which may hold the key.
    #[error("it is no identity: line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// More than [`SEEDS_MAX`].
    #[error("it names {0} seeds, and {SEEDS_MAX} at most are asked")]
    Seeds(usize),
    /// An address that no machine has: none, a group's, broadcast.
    #[error("it names the seed {0}, which is no machine's address")]
    NoMachine(Ipv4Addr),
}

impl Document {
    /// A document of this format.
    pub fn new(cluster: Guid, key_id: KeyId, key: Key, seeds: Vec<Ipv4Addr>) -> Self {
        Self { format: FORMAT, cluster, key_id, key, seeds }
    }

    /// Reads one. Foreign bytes are expected here.
    ///
    /// # Errors
    /// What is wrong with it; never a part of its text.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        /// Read first: of another format nothing else is known.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let broken = |error: serde_json::Error| Malformed::Json {
            line: error.line(),
            column: error.column(),
        };
        if bytes.len() > LONGEST {
            return Err(Malformed::Long);
        }
        let Head { format } = serde_json::from_slice(bytes).map_err(broken)?;
        if format != FORMAT {
            return Err(Malformed::Format(format));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(broken)?;
        if document.seeds.len() > SEEDS_MAX {
            return Err(Malformed::Seeds(document.seeds.len()));
        }
        match document.seeds.iter().find(|seed| !is_machine(seed)) {
            Some(seed) => Err(Malformed::NoMachine(*seed)),
            None => Ok(document),
        }
    }

    /// The text that [`Self::parse`] reads, with the secret in it.
    pub fn to_text(&self) -> zeroize::Zeroizing<String> {
        // As much room as there can be, so that nothing of it is left where it grew from.
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(LONGEST));
        #[expect(clippy::expect_used, reason = "no map in it has keys that are not strings")]
        serde_json::to_writer(&mut *bytes, self).expect("an identity is JSON");
        bytes.push(b'\n');
        let text = String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default();
        zeroize::Zeroizing::new(text)
    }

    /// Whether both name the same cluster and the same key.
    pub fn agrees(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.key_id == other.key_id && self.key == other.key
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn document(key: u8) -> Document {
        let cluster = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10".parse().unwrap();
        Document::new(cluster, KeyId([key; 8]), Key::new([key; 32]), vec![[10, 0, 0, 11].into()])
    }

    #[test]
    fn what_is_written_is_read() {
        let text = document(7).to_text();
        assert_eq!(Document::parse(text.as_bytes()), Ok(document(7)));
        assert!(text.contains("\"key\":\"0707") && text.contains("\"seeds\":[\"10.0.0.11\"]"));
    }

    #[test]
    fn what_is_wrong_is_said_without_its_text() {
        let text = document(7).to_text();
        for (from, to, want) in [
            ("\"format\":1", "\"format\":2", "it is of format 2, and 1 is known here"),
            ("\"format\":1,", "", "it is no identity: line 1"),
            ("\"seeds\"", "\"sedes\"", "it is no identity: line 1, column"),
            ("\"key\":\"07", "\"key\":\"7", "it is no identity: line 1, column"),
            ("\"key\":\"07", "\"key\":\"zz", "it is no identity: line 1, column"),
            ("\"10.0.0.11\"", &["\"1.1.1.1\""; 9].join(","), "it names 9 seeds"),
            ("10.0.0.11", "0.0.0.0", "the seed 0.0.0.0, which is no machine's"),
            ("10.0.0.11", "224.0.0.1", "the seed 224.0.0.1, which is no machine's"),
            ("10.0.0.11", "255.255.255.255", "the seed 255.255.255.255, which is no machine's"),
            ("\n", &" ".repeat(LONGEST), "longer than 4096 bytes"),
        ] {
            let broken = text.replace(from, to);
            assert_ne!(broken, *text, "{from}");
            let error = Document::parse(broken.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(want) || error.contains(want), "{from}: {error}");
            assert!(!error.contains("0707"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(format!("{:?}", document(7)).contains("key: Key(..)"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::parse(&bytes);
        }
    }
}
