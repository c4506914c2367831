//! The header of a qcow2 image, written and read.

use std::{fs::File, io::Read, path::Path};

use super::{CLUSTER, CLUSTER_BITS, Compression};
use crate::{Bytes, Error, Result, error::During};

const MAGIC: [u8; 4] = *b"QFI\xfb";
/// The length of a header of version 2, the least that there is.
const LENGTH_V2: usize = 72;
/// The length of our header: version 3 with the compression type, padded to 8 bytes.
const LENGTH: u32 = 112;
/// Feature bit 3: the compression type field tells how, where it is not deflate.
const COMPRESSION_TYPE: u64 = 1 << 3;
const ZSTD: u8 = 1;
/// Cluster sizes that QEMU accepts, as powers of two.
const CLUSTER_BITS_ALLOWED: std::ops::RangeInclusive<u32> = 9..=21;

/// What a qcow2 image says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The size of the disk that a guest sees.
    pub size: Bytes,
    /// The size of a cluster.
    pub cluster_size: Bytes,
    /// Whether it reads from a further image below it.
    pub has_backing_file: bool,
    /// Whether its clusters are compressed by zstd where they are compressed.
    pub zstd: bool,
}

impl Header {
    /// Reads the header of the image at `path`.
    ///
    /// # Errors
    /// Failing I/O, and what [`Self::parse`] refuses.
    pub fn load(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(u64::from(LENGTH)).read_to_end(&mut bytes))
            .during("reading", path)?;
        Self::parse(&bytes).map_err(|why| Error::Qcow2 { path: path.to_owned(), why })
    }

    /// Reads a header from the first bytes of an image, of which 112 are looked at.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, &'static str> {
        if bytes.len() < LENGTH_V2 || bytes[..4] != MAGIC {
            return Err("it does not begin as one");
        }
        let version = number(bytes, 4, 4).unwrap_or(0);
        let bits = number(bytes, 20, 4).and_then(|bits| u32::try_from(bits).ok()).unwrap_or(0);
        if ![2, 3].contains(&version) {
            return Err("its version is neither 2 nor 3");
        }
        if !CLUSTER_BITS_ALLOWED.contains(&bits) {
            return Err("its clusters are not between 512 bytes and 2 MiB");
        }
        let features = number(bytes, 72, 8).filter(|_| version == 3).unwrap_or(0);
        Ok(Self {
            version: if version == 3 { 3 } else { 2 },
            size: Bytes(number(bytes, 24, 8).unwrap_or(0)),
            cluster_size: Bytes(1 << bits),
            has_backing_file: number(bytes, 8, 8) != Some(0),
            zstd: features & COMPRESSION_TYPE != 0 && number(bytes, 104, 1) == Some(1),
        })
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at + length)?;
    Some(field.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

/// Where the tables of an image to be written lie.
pub(super) struct Tables {
    pub(super) size: Bytes,
    pub(super) l1_entries: u32,
    pub(super) l1_offset: u64,
    pub(super) refcount_offset: u64,
    pub(super) refcount_clusters: u32,
}

impl Tables {
    /// The header's cluster: the header, an empty list of extensions, zeros.
    pub(super) fn header(&self, compression: Compression) -> Vec<u8> {
        let zstd = compression != Compression::None;
        let mut header = Vec::with_capacity(CLUSTER);
        header.extend(MAGIC);
        header.extend(3_u32.to_be_bytes());
        header.extend([0; 12]); // no backing file
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(self.size.0.to_be_bytes());
        header.extend([0; 4]); // no encryption
        header.extend(self.l1_entries.to_be_bytes());
        header.extend(self.l1_offset.to_be_bytes());
        header.extend(self.refcount_offset.to_be_bytes());
        header.extend(self.refcount_clusters.to_be_bytes());
        header.extend([0; 12]); // no snapshots
        header.extend(if zstd { COMPRESSION_TYPE } else { 0 }.to_be_bytes());
        header.extend([0; 16]); // no compatible and no auto-clear features
        header.extend(4_u32.to_be_bytes()); // refcounts of 2^4 bits
        header.extend(LENGTH.to_be_bytes());
        header.extend([if zstd { ZSTD } else { 0 }]);
        header.resize(CLUSTER, 0);
        header
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tables() -> Tables {
        Tables {
            size: Bytes::gib(10),
            l1_entries: 20,
            l1_offset: 1 << 17,
            refcount_offset: 1 << 16,
            refcount_clusters: 1,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (compression, zstd) in
            [(Compression::None, false), (Compression::Zstd { level: 3 }, true)]
        {
            let header = Header::parse(&tables().header(compression)).unwrap();
            let expected = Header {
                version: 3,
                size: Bytes::gib(10),
                cluster_size: Bytes(65536),
                has_backing_file: false,
                zstd,
            };
            assert_eq!(header, expected);
        }
    }

    #[test]
    fn foreign_files_are_refused() {
        let good = tables().header(Compression::None);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        for (bytes, expected) in [
            (Vec::new(), "begin"),
            (good[..71].to_vec(), "begin"),
            (with(0, b'q'), "begin"),
            (with(7, 1), "version"),
            (with(23, 8), "clusters"),
            (with(20, 255), "clusters"),
        ] {
            let why = Header::parse(&bytes).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
            let length = bytes.len().min(4);
            bytes[..length].copy_from_slice(&MAGIC[..length]);
            let _ = Header::parse(&bytes);
        }
    }
}
