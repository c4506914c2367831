//! How large a volume must be for a tree.

use std::{
    collections::HashSet,
    fs::{self, Metadata},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use super::{BLOCK, BYTES_PER_INODE, INODE};
use crate::{Bytes, Result, error::During};

/// Bytes in a group: as many blocks as a bitmap of one block has bits.
const GROUP: u64 = BLOCK * BLOCK * 8;
/// Below this, the journal and the room for the group table to grow leave too little.
const SMALLEST: Bytes = Bytes::mib(64);
/// Inodes that are in use before there is a file: ext4's own ten, and lost+found.
const OWN_INODES: u64 = 11;
/// lost+found's blocks, and the root folder's.
const OWN_BLOCKS: u64 = 5;
/// A symbolic link of this length or more takes a block.
const SHORT_LINK: u64 = 60;
/// Blocks kept for the group table to grow into, in each copy: at most this many.
const TABLE_GROWTH: u64 = 1024;
/// Groups whose descriptors fit a block.
const DESCRIPTORS: u64 = BLOCK / 64;

/// What a tree puts into a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    /// Files, folders, links and nodes; hard links to one file count once.
    pub inodes: u64,
    /// Blocks of 4 KiB for what files hold, folders' entries and long links.
    pub blocks: u64,
}

impl Content {
    /// Counts what lies below `tree`, the tree's own folder included.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn of(tree: &Path) -> Result<Self> {
        let mut content = Self::default();
        let mut seen = HashSet::new();
        let mut folders = vec![tree.to_owned()];
        content.add(&fs::symlink_metadata(tree).during("reading", tree)?);
        while let Some(folder) = folders.pop() {
            let mut entries = 24; // the entries of the folder itself and of the one above
            for entry in fs::read_dir(&folder).during("reading", &folder)? {
                let entry = entry.during("reading", &folder)?;
                let path = entry.path();
                let found = fs::symlink_metadata(&path).during("reading", &path)?;
                entries += 8 + (entry.file_name().as_bytes().len() as u64).next_multiple_of(4);
                if found.is_dir() {
                    folders.push(path);
                } else if found.nlink() > 1 && !seen.insert((found.dev(), found.ino())) {
                    continue;
                }
                content.add(&found);
            }
            content.blocks += folder_blocks(entries);
        }
        Ok(content)
    }

    /// The size of a volume that holds the tree, with a little to spare: whole MiB, and at
    /// least 64.
    pub fn minimum(&self) -> Bytes {
        // Extent blocks and the rounding of tables to groups: a hundredth, and at least 1 MiB.
        let data = (self.blocks + OWN_BLOCKS) * BLOCK;
        let data = data + (data / 100).max(1 << 20);
        let mut size = SMALLEST;
        // The more there is, the more describes it: this settles after a few rounds.
        loop {
            let whole = Bytes((data + self.overhead(size)).next_multiple_of(1 << 20));
            if whole <= size {
                return size;
            }
            size = whole;
        }
    }

    /// Adds an inode with what it holds. Extended attributes are not counted: a file's capabilities
    /// and the like fit the inode.
    fn add(&mut self, found: &Metadata) {
        self.inodes += 1;
        if found.is_file() {
            // A hole takes nothing; a file system that packs small files may report nothing.
            let held = found.len().min((found.blocks() * 512).max(BLOCK));
            self.blocks += held.div_ceil(BLOCK);
        } else if found.is_symlink() && found.len() >= SHORT_LINK {
            self.blocks += 1;
        }
    }

    /// How many inodes a volume of `size` gets: mke2fs's share, or twice what the tree has.
    pub(super) fn inodes_for(&self, size: Bytes) -> u64 {
        (size.0 / BYTES_PER_INODE).max((self.inodes + OWN_INODES) * 2)
    }

    /// What a volume of `size` needs beside what it holds: journal, inodes, and in each group
    /// bitmaps, in some the superblock and the group table.
    fn overhead(&self, size: Bytes) -> u64 {
        let groups = size.0.div_ceil(GROUP).max(1);
        // Copies stand in groups 0, 1 and the powers of 3, 5 and 7.
        let copies = groups.min(2 + 3 * u64::from(groups.ilog(3)));
        let inodes = self.inodes_for(size).div_ceil(groups).next_multiple_of(BLOCK / INODE * 8);
        let table = inodes * INODE;
        let copy = (1 + groups.div_ceil(DESCRIPTORS) + TABLE_GROWTH.min(groups * 64)) * BLOCK;
        journal(size).0 + groups * (2 * BLOCK + table) + copies * copy
    }
}

/// Blocks for entries that cannot cross from block to block, where a sum of each block is kept, and
/// the blocks of an index.
fn folder_blocks(entries: u64) -> u64 {
    let usable = BLOCK - 12;
    (entries + entries / 16).div_ceil(usable).max(1) + u64::from(entries > usable)
}

/// A journal as mke2fs would choose it, by the size of the volume.
pub(super) fn journal(size: Bytes) -> Bytes {
    match size {
        size if size < Bytes::mib(128) => Bytes::mib(4),
        size if size < Bytes::gib(1) => Bytes::mib(16),
        size if size < Bytes::gib(2) => Bytes::mib(32),
        size if size < Bytes::gib(16) => Bytes::mib(64),
        _ => Bytes::mib(128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_with_what_is_held() {
        let size = |inodes, blocks| Content { inodes, blocks }.minimum().0 >> 20;
        assert_eq!(size(1, 1), 64);
        // 600 MiB in 30,000 files, as a server's root has
        assert!((600..=700).contains(&size(30_000, 150_000)), "{}", size(30_000, 150_000));
        assert!(size(1 << 20, 1) >= 512, "{}", size(1 << 20, 1));
        assert!(size(30_000, 1 << 22) < (1 << 14) * 105 / 100 + 256);
    }

    #[test]
    fn a_tree_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), [1; 5000]).unwrap();
        fs::hard_link(path("a"), path("b")).unwrap();
        fs::create_dir(path("c")).unwrap();
        std::os::unix::fs::symlink("x".repeat(60), path("c/d")).unwrap();
        fs::File::create(path("hole")).unwrap().set_len(1 << 40).unwrap();
        let content = Content::of(folder.path()).unwrap();
        assert_eq!(content.inodes, 5);
        assert!((5..=6).contains(&content.blocks), "{content:?}");
    }
}
