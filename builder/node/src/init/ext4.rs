//! What the superblock of the data partition's ext4 says, read while it is not mounted.
//!
//! From byte 1024, little-endian: blocks (4), log2 of a block's KiB (24), magic (56), state (58),
//! features (96), upper half of the blocks (336). <https://docs.kernel.org/filesystems/ext4/super.html>

use crate::gpt::at;

/// Bytes at the start of the file system that are read.
pub(crate) const LENGTH: usize = 2048;

/// What is of interest in an ext4 file system that is not mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ext4 {
    /// Whether it was unmounted or has a journal to replay, and no error was seen in it.
    pub(crate) clean: bool,
    pub(crate) blocks: u64,
    pub(crate) block_size: u64,
}

/// A superblock that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no ext4 superblock: {0}")]
pub(crate) struct Invalid(&'static str);

impl Ext4 {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        const VALID: u16 = 1;
        const ERROR: u16 = 2;
        const SIXTY_FOUR_BITS: u32 = 0x80;
        let short = || Invalid("too short");
        let bytes = bytes.get(1024..).ok_or_else(short)?;
        let word = |place| at(bytes, place).map(u32::from_le_bytes).ok_or_else(short);
        if at(bytes, 56) != Some([0x53, 0xef]) {
            return Err(Invalid("the magic number is missing"));
        }
        let state = at(bytes, 58).map(u16::from_le_bytes).ok_or_else(short)?;
        let high = if word(96)? & SIXTY_FOUR_BITS == 0 { 0 } else { word(336)? };
        let size = word(24)?;
        if size > 6 {
            return Err(Invalid("blocks of an impossible size"));
        }
        Ok(Self {
            clean: state & VALID != 0 && state & ERROR == 0,
            blocks: u64::from(high) << 32 | u64::from(word(4)?),
            block_size: 1024 << size,
        })
    }

    /// How many blocks it would have if it filled `bytes`; nothing where it does already.
    pub(crate) fn grown(&self, bytes: u64) -> Option<u64> {
        Some(bytes / self.block_size).filter(|&blocks| blocks > self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ext4_states_and_sizes() {
        let mut bytes = vec![0; LENGTH];
        assert!(Ext4::parse(&bytes).is_err());
        bytes[1024 + 56..1024 + 60].copy_from_slice(&[0x53, 0xef, 1, 0]);
        bytes[1024 + 4] = 100;
        bytes[1024 + 24] = 2;
        let ext4 = Ext4::parse(&bytes).unwrap();
        assert_eq!(ext4, Ext4 { clean: true, blocks: 100, block_size: 4096 });
        assert_eq!((ext4.grown(4096 * 101 - 1), ext4.grown(4096 * 101)), (None, Some(101)));
        for (state, clean) in [(0, false), (1, true), (3, false)] {
            bytes[1024 + 58] = state;
            assert_eq!(Ext4::parse(&bytes).unwrap().clean, clean);
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2100)) {
            let _ = Ext4::parse(&bytes);
        }
    }
}
