//! Setting the times of change and access of every inode to one given time.
//!
//! The superblock at byte 1024 gives the sizes of blocks, groups and inodes; the group descriptors
//! follow in block 1 and say where each group's table of inodes lies, and how many of its end were
//! never used. Each inode carries a CRC-32C over the volume's UUID, its own number, its generation,
//! and itself. <https://www.kernel.org/doc/html/latest/filesystems/ext4/dynamic.html>

use std::{fs::File, io, os::unix::fs::FileExt};

use crc::{Algorithm, CRC_32_ISCSI, Crc, Table};

/// CRC-32C as ext4 chains it: no inversion at the end.
const ALGORITHM: Algorithm<u32> = Algorithm { xorout: 0, ..CRC_32_ISCSI };
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&ALGORITHM);

const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_LENGTH: usize = 1024;
const MAGIC: u64 = 0xef53;
/// Group flag: no inode of this group was ever used.
const INODES_UNUSED: u64 = 1;
/// A table of inodes is at most as large as its group's bitmap allows: 32768 of 256 bytes.
const LARGEST_TABLE: u64 = 8 << 20;
/// Where an inode has its generation, and the halves of its checksum.
const GENERATION: usize = 0x64;
const CHECKSUM: [usize; 2] = [0x7c, 0x82];
/// Where an inode says how much of its second half is in use, and how much that is with all below.
const EXTRA: usize = 0x80;
const EXTRA_LENGTH: u64 = 16;
/// Where an inode has the times of access and change, and the fields that refine them.
const TIMES: [usize; 2] = [0x08, 0x0c];
const REFINED: [usize; 2] = [0x8c, 0x84];

/// Sets the times of access and change of all inodes in use to `epoch`, in a volume that
/// [`super::make`] made.
pub(super) fn settle(volume: &File, epoch: u64) -> io::Result<()> {
    let layout = Layout::read(volume)?;
    for group in 0..layout.groups {
        let mut descriptor = vec![0; layout.descriptor_size];
        let at = layout.block_size + u64::from(group) * layout.descriptor_size as u64;
        volume.read_exact_at(&mut descriptor, at)?;
        layout.settle_group(volume, group, &descriptor, epoch)?;
    }
    Ok(())
}

/// What the superblock says.
struct Layout {
    block_size: u64,
    groups: u32,
    inodes_per_group: u32,
    inode_size: usize,
    descriptor_size: usize,
    /// The checksum's state after the volume's UUID.
    seed: u32,
}

impl Layout {
    fn read(volume: &File) -> io::Result<Self> {
        let mut sb = [0; SUPERBLOCK_LENGTH];
        volume.read_exact_at(&mut sb, SUPERBLOCK)?;
        let field = |at, length| number(&sb, at, length);
        let (blocks, blocks_per_group) = (field(0x04, 4), field(0x20, 4).max(1));
        let layout = Self {
            block_size: 1024 << field(0x18, 4).min(6),
            groups: narrow(blocks.div_ceil(blocks_per_group))?,
            inodes_per_group: narrow(field(0x28, 4))?,
            inode_size: narrow(field(0x58, 2))?,
            descriptor_size: narrow(field(0xfe, 2))?,
            seed: checksum(u32::MAX, &sb[0x68..0x78]),
        };
        // What else there could be, make() never asks mke2fs for.
        let known = field(0x38, 2) == MAGIC
            && layout.block_size == super::BLOCK
            && layout.inode_size as u64 == super::INODE
            && layout.descriptor_size == 64;
        if known { Ok(layout) } else { Err(unexpected()) }
    }

    fn settle_group(
        &self,
        volume: &File,
        group: u32,
        descriptor: &[u8],
        epoch: u64,
    ) -> io::Result<()> {
        let both = |low, high, length| {
            number(descriptor, high, length) << (length * 8) | number(descriptor, low, length)
        };
        let (table, unused) = (both(0x08, 0x28, 4), both(0x1c, 0x32, 2));
        if number(descriptor, 0x12, 2) & INODES_UNUSED != 0 {
            return Ok(());
        }
        let used = u64::from(self.inodes_per_group).saturating_sub(unused);
        let length = used * self.inode_size as u64;
        if length > LARGEST_TABLE {
            return Err(unexpected());
        }
        let mut inodes = vec![0; narrow(length)?];
        let at = table.checked_mul(self.block_size).ok_or_else(unexpected)?;
        volume.read_exact_at(&mut inodes, at)?;
        let first = group * self.inodes_per_group + 1;
        for (inode, number) in inodes.chunks_exact_mut(self.inode_size).zip(first..) {
            self.settle_inode(inode, number, epoch);
        }
        volume.write_all_at(&inodes, at)
    }

    fn settle_inode(&self, inode: &mut [u8], number: u32, epoch: u64) {
        if inode.iter().all(|&byte| byte == 0) {
            return;
        }
        // The volume's own inodes may lack the second half, and with it half a checksum.
        let halves = if self::number(inode, EXTRA, 2) >= EXTRA_LENGTH { 2 } else { 1 };
        // Seconds are 32 bits with a sign; two bits of the refining field carry them past 2038.
        let beyond = (epoch.saturating_add(1 << 31) >> 32) & 3;
        for (at, refined) in TIMES.into_iter().zip(REFINED) {
            inode[at..at + 4].copy_from_slice(&epoch.to_le_bytes()[..4]);
            if halves == 2 {
                inode[refined..refined + 4].copy_from_slice(&beyond.to_le_bytes()[..4]);
            }
        }
        CHECKSUM[..halves].iter().for_each(|&at| inode[at..at + 2].fill(0));
        let state = checksum(self.seed, &number.to_le_bytes());
        let state = checksum(state, &inode[GENERATION..GENERATION + 4]);
        let sum = checksum(state, inode).to_le_bytes();
        for (&at, half) in CHECKSUM[..halves].iter().zip(sum.chunks(2)) {
            inode[at..at + 2].copy_from_slice(half);
        }
    }
}

fn checksum(state: u32, bytes: &[u8]) -> u32 {
    // The crate takes an initial value before reflection.
    let mut digest = CRC.digest_with_initial(state.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn narrow<T: TryFrom<u64>>(number: u64) -> io::Result<T> {
    T::try_from(number).map_err(|_| unexpected())
}

fn unexpected() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "mke2fs made a volume of another form than asked for",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c_without_inversion() {
        assert_eq!(!checksum(u32::MAX, b"123456789"), 0xe306_9283);
        assert_eq!(
            checksum(checksum(u32::MAX, b"1234"), b"56789"),
            checksum(u32::MAX, b"123456789")
        );
    }
}
