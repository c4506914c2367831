//! The seed medium: what tells a blank machine its cluster, and the key that proves it.
//!
//! One document ([`coremax_node_api::identity`]), kept by the operator as a file of its own, and laid into a small
//! volume for a USB stick or, for OpenStack, a config drive. As the file it goes to QEMU's fw_cfg.

use std::path::Path;

use coremax_disk::{
    Bytes,
    fat::{self, File, Volume},
};
use coremax_node_api::{
    identity::{Document, FILE, Key, KeyId, LABEL, ROSTER},
    roster::Roster,
};

/// What FAT32 has at least.
const SIZE: Bytes = Bytes::mib(64);
/// What every config drive has, and programs that look for one ask for.
const META_DATA: &str = "openstack/latest/meta_data.json";

/// What a volume is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A volume labelled COREMAX.
    Seed,
    /// An OpenStack config drive: its label is `config-2`, in either case of letters, and it says nothing else.
    ConfigDrive,
}

/// A new document for the machines of a roster, which ask its seed first. `key` and `key_id` are random.
pub fn document(roster: &Roster, key: [u8; 32], key_id: [u8; 8]) -> Document {
    let seed = roster.nodes.iter().find(|node| node.name == roster.seed).map(|node| node.address);
    Document::new(roster.cluster, KeyId(key_id), Key::new(key), seed.into_iter().collect())
}

/// Writes a volume with the document in it, and with the signed roster where there is one, sparse, as a new file at `image`.
///
/// # Errors
/// Where it cannot be written.
pub fn make(
    document: &Document,
    roster: Option<&[u8]>,
    medium: Medium,
    image: &Path,
) -> Result<(), coremax_disk::Error> {
    let identity = File::bytes(FILE, document.to_text().as_bytes());
    let (label, mut files) = match medium {
        Medium::Seed => (LABEL, vec![identity]),
        Medium::ConfigDrive => ("CONFIG-2", vec![identity, File::bytes(META_DATA, *b"{}\n")]),
    };
    files.extend(roster.map(|roster| File::bytes(ROSTER, roster)));
    // Its serial number is part of no identity: two media of one key may be told apart.
    let id = u32::from_le_bytes([0, 1, 2, 3].map(|n| document.key_id.0[n]));
    let volume = Volume { label: label.to_owned(), id, size: SIZE, files };
    fat::make(&volume, image, &|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new::New;

    #[test]
    fn a_volume_that_names_the_seed_and_holds_the_key() {
        let text = New::default().text([7; 16]).unwrap();
        let roster: Roster = toml::from_str(&text).unwrap();
        let document = document(&roster, [0xab; 32], [1; 8]);
        assert_eq!(document.seeds, [roster.nodes[0].address]);
        let folder = tempfile::tempdir().unwrap();
        for (medium, label) in [(Medium::Seed, "COREMAX    "), (Medium::ConfigDrive, "CONFIG-2   ")]
        {
            let image = folder.path().join("seed.img");
            make(&document, Some(b"a signed roster"), medium, &image).unwrap();
            let bytes = std::fs::read(&image).unwrap();
            assert_eq!(&bytes[71..82], label.as_bytes());
            let text = document.to_text();
            let at = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            assert!(at.is_some(), "{label}");
            assert!(bytes.windows(15).any(|window| window == b"a signed roster"), "{label}");
        }
    }
}
