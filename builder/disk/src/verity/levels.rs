//! Where the levels of a tree lie.

use std::ops::Range;

use coremax_node_api::verity::BLOCK;

use super::DIGEST;
use crate::Bytes;

/// Hashes in a block.
const PER_BLOCK: u64 = BLOCK / DIGEST as u64;

/// The blocks of each level in the tree's file, level 0 first. Over one block of data there are
/// none: its hash is the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Levels(Vec<Range<u64>>);

impl Levels {
    pub(super) fn over(data_blocks: u64) -> Self {
        let mut sizes = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            below = below.div_ceil(PER_BLOCK);
            sizes.push(below);
        }
        let mut end = 1; // behind the superblock's block
        let place = |size: &u64| {
            let start = end;
            end += size;
            start..end
        };
        let mut levels: Vec<Range<u64>> = sizes.iter().rev().map(place).collect();
        levels.reverse();
        Self(levels)
    }

    /// Each level's blocks, from level 0 up.
    pub(super) fn upwards(&self) -> &[Range<u64>] {
        &self.0
    }

    /// The length of the tree's file.
    pub(super) fn length(&self) -> Bytes {
        Bytes(self.0.first().map_or(1, |lowest| lowest.end) * BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_level_comes_first() {
        for (data_blocks, expected) in [
            (0, &[][..]),
            (1, &[]),
            (2, &[(1, 2)]),
            (128, &[(1, 2)]),
            (129, &[(2, 4), (1, 2)]),
            (128 * 128, &[(2, 130), (1, 2)]),
            (128 * 128 + 1, &[(4, 133), (2, 4), (1, 2)]),
        ] {
            let levels = Levels::over(data_blocks);
            let found: Vec<_> = levels.upwards().iter().map(|l| (l.start, l.end)).collect();
            assert_eq!(found, expected, "{data_blocks}");
        }
        // A device of 2^64 bytes has eight levels.
        assert_eq!(Levels::over(u64::MAX / BLOCK).upwards().len(), 8);
    }
}
