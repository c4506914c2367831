//! The update file: one version of an image, signed, read once from front to back.
//!
//! ```text
//! offset   bytes
//! 0        16    magic: `coremax-update`, a line feed, NUL
//! 16       4     version of this format, 1
//! 20       4     m, the length of the manifest
//! 24       8     id of the key: the first 8 bytes of the public key's SHA-256; zeros: unsigned
//! 32       m     manifest, JSON
//! 32 + m   64    Ed25519 signature over DOMAIN, and all that stands before it
//! 96 + m         the parts that are carried, in the manifest's order, without gaps, to the end
//! ```
//!
//! Numbers are little-endian. Nothing of the manifest is looked at before the signature holds, and
//! every part is checked by the manifest's SHA-256 while it streams by: a reader must not use one
//! before [`Reader::copy`] has returned, nor any of them before [`Reader::finish`] has. Ed25519 is
//! RFC 8032, the JSON is RFC 8259. File names end in [`EXTENSION`].

mod digest;
mod error;
pub mod key;
mod manifest;
mod reader;
mod version;
mod writer;

pub use digest::{Digest, Hasher, NotADigest};
pub use error::Error;
pub use manifest::{Kind, Manifest, Node, Part, Room};
pub use reader::Reader;
pub use version::{NotAVersion, Version};
pub use writer::{head, unsigned_head};

/// How the name of an update file ends.
pub const EXTENSION: &str = "coremax-update";
/// The version of this format.
pub const FORMAT: u32 = 1;
/// What this reader can do with a manifest; one that needs more says so in `updater`.
pub const UPDATER: u32 = 1;
/// The longest manifest, in bytes. Set by this format: six parts take less than two thousand.
pub const MANIFEST_MAX: usize = 64 << 10;
/// The largest kernel and the largest initrd, in bytes. Set by this format: both slots' fit an ESP.
pub const BOOT_FILE_MAX: u64 = 256 << 20;
/// The largest layer and the largest verity tree, in bytes. Set by this format.
pub const LAYER_MAX: u64 = 64 << 30;
/// What a layer's length is a multiple of, in bytes: a block of dm-verity.
pub const LAYER_BLOCK: u64 = crate::verity::BLOCK;

const MAGIC: [u8; 16] = *b"coremax-update\n\0";
const HEADER: usize = 32;
const SIGNATURE: usize = 64;
const UNSIGNED: [u8; 8] = [0; 8];
/// Keeps a signature of an update from being one of anything else, and the other way round.
const DOMAIN: &[u8] = b"coremax update manifest\0";

/// What is signed.
fn message(header: &[u8; HEADER], manifest: &[u8]) -> Vec<u8> {
    [DOMAIN, header, manifest].concat()
}

#[cfg(test)]
mod tests;
