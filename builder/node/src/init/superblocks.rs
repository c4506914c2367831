//! What the root's and the data partition's first bytes say: the root hash, and the superblocks of
//! dm-verity, squashfs and ext4.
//!
//! Early boot's own small reading; all fields are little-endian.
//! - dm-verity: `verity\0\0`, version (8), hash type (12), algorithm (32), block sizes (64, 68), data
//!   blocks (72), salt's length (80), salt (88). <https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity>
//! - squashfs: `hsqs`, version (28, 30), bytes used (40). <https://dr-emann.github.io/squashfs/>
//! - ext4: from byte 1024 blocks (4), log2 of a block's KiB (24), magic (56), state (58), features (96),
//!   upper half of the blocks (336). <https://docs.kernel.org/filesystems/ext4/super.html>

use std::{fmt, str::FromStr};

use crate::gpt::{Guid, at};

/// Bytes of a verity superblock, and what of a squashfs's and an ext4's start is read.
pub(crate) const VERITY_LENGTH: usize = 512;
pub(crate) const SQUASHFS_LENGTH: usize = 96;
pub(crate) const EXT4_LENGTH: usize = 2048;
/// The block size of the root, its hashes and its layers' boundaries; the builder writes no other.
pub(crate) const BLOCK: u64 = 4096;
/// The longest salt; set by the superblock's form.
const SALT_MAX: usize = 256;

/// The hash at the top of a verity tree, SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RootHash([u8; 32]);

/// What dm-verity needs to know of a tree besides its root hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verity {
    pub(crate) data_blocks: u64,
    pub(crate) salt: Vec<u8>,
}

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
#[error("no {kind} superblock: {why}")]
pub(crate) struct Invalid {
    kind: &'static str,
    why: &'static str,
}

impl RootHash {
    /// PARTUUID of the root partition: the first half.
    pub(crate) fn root_id(self) -> Guid {
        self.half(0)
    }

    /// PARTUUID of the verity partition: the last half.
    pub(crate) fn verity_id(self) -> Guid {
        self.half(16)
    }

    fn half(self, from: usize) -> Guid {
        Guid::new(at(&self.0, from).unwrap_or_default())
    }
}

impl FromStr for RootHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = str::from_utf8(pair).map_err(drop)?;
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| digits).ok_or(())?;
        }
        if digits { Ok(Self(hash)) } else { Err(()) }
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Verity {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let refuse = |why| Invalid { kind: "dm-verity", why };
        let short = refuse("too short");
        let word = |place| at(bytes, place).map(u32::from_le_bytes);
        if !bytes.starts_with(b"verity\0\0") {
            return Err(refuse("the magic number is missing"));
        }
        if (word(8), word(12)) != (Some(1), Some(1)) {
            return Err(refuse("another version than 1"));
        }
        let blocks = [word(64), word(68)].map(|size| size.map(u64::from));
        if blocks != [Some(BLOCK); 2] {
            return Err(refuse("blocks of another size than 4096"));
        }
        if at::<7>(bytes, 32) != Some(*b"sha256\0") {
            return Err(refuse("another algorithm than sha256"));
        }
        let salt =
            usize::from(at(bytes, 80).map(u16::from_le_bytes).ok_or_else(|| refuse("too short"))?);
        let salt = bytes.get(88..88 + salt).filter(|_| salt <= SALT_MAX);
        let data_blocks = at(bytes, 72).map(u64::from_le_bytes);
        match (data_blocks, salt) {
            (Some(data_blocks), Some(salt)) => Ok(Self { data_blocks, salt: salt.to_vec() }),
            _ => Err(short),
        }
    }
}

/// The bytes that a squashfs takes, rounded up to whole blocks: where the next layer begins.
pub(crate) fn squashfs_length(bytes: &[u8]) -> Result<u64, Invalid> {
    let refuse = |why| Invalid { kind: "squashfs", why };
    if !bytes.starts_with(b"hsqs") {
        return Err(refuse("the magic number is missing"));
    }
    if at(bytes, 28) != Some([4, 0, 0, 0]) {
        return Err(refuse("another version than 4.0"));
    }
    let used = at(bytes, 40).map(u64::from_le_bytes).filter(|&used| used >= SQUASHFS_LENGTH as u64);
    used.and_then(|used| used.checked_next_multiple_of(BLOCK)).ok_or(refuse("an impossible size"))
}

impl Ext4 {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        const VALID: u16 = 1;
        const ERROR: u16 = 2;
        const SIXTY_FOUR_BITS: u32 = 0x80;
        let refuse = |why| Invalid { kind: "ext4", why };
        let short = || refuse("too short");
        let bytes = bytes.get(1024..).ok_or_else(short)?;
        let word = |place| at(bytes, place).map(u32::from_le_bytes).ok_or_else(short);
        if at(bytes, 56) != Some([0x53, 0xef]) {
            return Err(refuse("the magic number is missing"));
        }
        let state = at(bytes, 58).map(u16::from_le_bytes).ok_or_else(short)?;
        let high = if word(96)? & SIXTY_FOUR_BITS == 0 { 0 } else { word(336)? };
        let size = word(24)?;
        if size > 6 {
            return Err(refuse("blocks of an impossible size"));
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
    fn a_root_hash_names_two_partitions() {
        let text = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
        let hash: RootHash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text);
        assert_eq!(hash.root_id().to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(hash.verity_id().to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        for bad in ["", &text[1..], &text.replace('0', "+"), &text.replace("00", "é")] {
            assert!(bad.parse::<RootHash>().is_err(), "{bad}");
        }
    }

    fn verity() -> Vec<u8> {
        let mut bytes = vec![0; VERITY_LENGTH];
        bytes[..8].copy_from_slice(b"verity\0\0");
        for (place, value) in
            [(8, 1), (12, 1), (65, 16), (69, 16), (72, 9), (80, 2), (88, 7), (89, 8)]
        {
            bytes[place] = value;
        }
        bytes[32..38].copy_from_slice(b"sha256");
        bytes
    }

    #[test]
    fn verity_superblocks() {
        let expected = Verity { data_blocks: 9, salt: vec![7, 8] };
        assert_eq!(Verity::parse(&verity()).unwrap(), expected);
        for (place, why) in
            [(0, "magic"), (8, "version"), (65, "size"), (37, "algorithm"), (81, "short")]
        {
            let mut bytes = verity();
            bytes[place] ^= 2;
            assert!(Verity::parse(&bytes).unwrap_err().to_string().contains(why), "{why}");
        }
    }

    #[test]
    fn squashfs_lengths_are_whole_blocks() {
        let mut bytes = vec![0; SQUASHFS_LENGTH];
        bytes[..4].copy_from_slice(b"hsqs");
        bytes[28] = 4;
        for (used, expected) in
            [(96, Some(4096)), (4096, Some(4096)), (4097, Some(8192)), (0, None), (u64::MAX, None)]
        {
            bytes[40..48].copy_from_slice(&used.to_le_bytes());
            assert_eq!(squashfs_length(&bytes).ok(), expected);
        }
    }

    #[test]
    fn ext4_states_and_sizes() {
        let mut bytes = vec![0; EXT4_LENGTH];
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
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2100), text in any::<String>()) {
            let behind = |magic: &[u8]| [magic, &bytes].concat();
            let _ = (Verity::parse(&behind(b"verity\0\0")), squashfs_length(&behind(b"hsqs")));
            let _ = (Ext4::parse(&bytes), text.parse::<RootHash>());
        }
    }
}
