//! The superblock of a squashfs, for where the next layer begins.
//!
//! A squashfs begins with 96 bytes, all little-endian: `hsqs`, number of inodes, time of making,
//! size of blocks, number of fragments, compression, the block size's logarithm, flags, number of
//! ids, version (4.0), reference of the root's inode, bytes used, and the places of six tables. A
//! sealed layer is filled up to 4096 bytes, and the next begins there.
//! <https://docs.kernel.org/filesystems/squashfs.html>,
//! <https://dr-emann.github.io/squashfs/squashfs.html>

use crate::verity::BLOCK;

const MAGIC: u32 = u32::from_le_bytes(*b"hsqs");
const VERSION: (u16, u16) = (4, 0);
/// Logarithms of the smallest and the largest block: 4 KiB and 1 MiB, set by the format.
const BLOCK_LOGS: std::ops::RangeInclusive<u16> = 12..=20;

/// What a squashfs says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// How many files, folders and other things are in it.
    pub inodes: u32,
    /// When it was made, in seconds since 1970.
    pub modification_time: u32,
    /// Bytes in a block of a file, from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// How all is compressed.
    pub compression: Compression,
    /// Its length in bytes, without what fills it up to a whole block.
    pub bytes_used: u64,
}

/// A compression, by the format's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Compression {
    Gzip = 1,
    Lzma,
    Lzo,
    Xz,
    Lz4,
    Zstd,
}

/// Bytes that are not a squashfs's superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotASuperblock {
    /// No squashfs at all.
    #[error("no squashfs superblock: the magic number is missing")]
    Magic,
    /// A squashfs of another version.
    #[error("a squashfs of version {major}.{minor}, where 4.0 is read")]
    Version {
        /// The version before the point.
        major: u16,
        /// The version behind it.
        minor: u16,
    },
    /// A compression that no kernel knows.
    #[error("a squashfs with the unknown compression {0}")]
    Compression(u16),
    /// A block size that is out of bounds, or is not what its logarithm says.
    #[error("a squashfs with blocks of {size} bytes, and {log} as their logarithm")]
    BlockSize {
        /// The size.
        size: u32,
        /// The logarithm.
        log: u16,
    },
    /// Shorter than its own superblock, or past what a device can have.
    #[error("a squashfs of {0} bytes")]
    Length(u64),
}

impl Superblock {
    /// Bytes in a superblock.
    pub const LENGTH: usize = 96;

    /// Reads a superblock. Never panics.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8; Self::LENGTH]) -> Result<Self, NotASuperblock> {
        if four(bytes, 0) != MAGIC {
            return Err(NotASuperblock::Magic);
        }
        let (major, minor) = (two(bytes, 28), two(bytes, 30));
        if (major, minor) != VERSION {
            return Err(NotASuperblock::Version { major, minor });
        }
        let (size, log) = (four(bytes, 12), two(bytes, 22));
        if !BLOCK_LOGS.contains(&log) || size != 1 << log {
            return Err(NotASuperblock::BlockSize { size, log });
        }
        let bytes_used = u64::from(four(bytes, 44)) << 32 | u64::from(four(bytes, 40));
        if bytes_used < Self::LENGTH as u64 || bytes_used > i64::MAX.cast_unsigned() {
            return Err(NotASuperblock::Length(bytes_used));
        }
        Ok(Self {
            inodes: four(bytes, 4),
            modification_time: four(bytes, 8),
            block_size: size,
            compression: Compression::of(two(bytes, 20))?,
            bytes_used,
        })
    }

    /// How much of the device the layer takes, in bytes: whole blocks of [`BLOCK`].
    pub fn layer_length(&self) -> u64 {
        // bytes_used is below 2^63
        self.bytes_used.next_multiple_of(BLOCK)
    }
}

impl Compression {
    fn of(number: u16) -> Result<Self, NotASuperblock> {
        use Compression::{Gzip, Lz4, Lzma, Lzo, Xz, Zstd};
        let known = [Gzip, Lzma, Lzo, Xz, Lz4, Zstd];
        let found = known.into_iter().find(|&known| known as u16 == number);
        found.ok_or(NotASuperblock::Compression(number))
    }
}

fn two(bytes: &[u8; Superblock::LENGTH], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn four(bytes: &[u8; Superblock::LENGTH], at: usize) -> u32 {
    u32::from(two(bytes, at + 2)) << 16 | u32::from(two(bytes, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What mksquashfs 4.5.1 wrote before a tree of four inodes, with zstd.
    const WRITTEN: [u8; Superblock::LENGTH] = [
        0x68, 0x73, 0x71, 0x73, 4, 0, 0, 0, 0, 0xf1, 0x53, 0x65, 0, 0, 2, 0, 1, 0, 0, 0, 6, 0,
        0x11, 0, 0x40, 4, 1, 0, 4, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0, 0x19, 1, 0, 0, 0, 0, 0, 0,
        0x11, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x6a, 0, 0, 0,
        0, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff,
    ];

    #[test]
    fn mksquashfss_superblock_is_read() {
        let expected = Superblock {
            inodes: 4,
            modification_time: 1_700_000_000,
            block_size: 1 << 17,
            compression: Compression::Zstd,
            bytes_used: 281,
        };
        assert_eq!(Superblock::parse(&WRITTEN), Ok(expected));
        for (bytes_used, length) in [(96, 4096), (4096, 4096), (4097, 8192)] {
            assert_eq!(Superblock { bytes_used, ..expected }.layer_length(), length);
        }
    }

    #[test]
    fn others_are_refused() {
        for (at, byte, expected) in [
            (0, b's', NotASuperblock::Magic),
            (28, 3, NotASuperblock::Version { major: 3, minor: 0 }),
            (30, 1, NotASuperblock::Version { major: 4, minor: 1 }),
            (20, 0, NotASuperblock::Compression(0)),
            (20, 7, NotASuperblock::Compression(7)),
            (22, 18, NotASuperblock::BlockSize { size: 1 << 17, log: 18 }),
            (22, 200, NotASuperblock::BlockSize { size: 1 << 17, log: 200 }),
            (12, 1, NotASuperblock::BlockSize { size: 1 << 17 | 1, log: 17 }),
            (41, 0, NotASuperblock::Length(25)),
            (47, 0x80, NotASuperblock::Length((1 << 63) + 281)),
        ] {
            let mut bytes = WRITTEN;
            bytes[at] = byte;
            assert_eq!(Superblock::parse(&bytes), Err(expected), "{at}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(thirds: [[u8; 32]; 3]) {
            let bytes: [u8; Superblock::LENGTH] = thirds.concat().try_into().unwrap();
            prop_assert_eq!(Superblock::parse(&bytes), Err(NotASuperblock::Magic));
        }

        #[test]
        fn a_layer_holds_its_squashfs(bytes_used: u64) {
            let mut bytes = WRITTEN;
            bytes[40..48].copy_from_slice(&bytes_used.to_le_bytes());
            if let Ok(superblock) = Superblock::parse(&bytes) {
                let room = superblock.layer_length() - bytes_used;
                prop_assert!(room < BLOCK && superblock.layer_length() % BLOCK == 0);
            }
        }
    }
}
