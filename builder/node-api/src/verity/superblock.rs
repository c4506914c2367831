//! The 512 bytes that a tree begins with.

use super::{BLOCK, RootHash, SALT_MAX, Salt};

const MAGIC: [u8; 8] = *b"verity\0\0";
const VERSION: u32 = 1;
/// The salt stands before what is hashed; type 0 is Chrome OS's.
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8] = b"sha256";
/// [`BLOCK`] as the fields for it hold it.
const BLOCK_SIZE: [u8; 4] = 4096_u32.to_le_bytes();
/// The sector of device-mapper's tables, in bytes.
const SECTOR: u64 = 512;

/// What a tree says of itself: version 1 with salted SHA-256 over blocks of 4096 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The tree's UUID, its bytes in the order of its text.
    pub uuid: [u8; 16],
    /// How many blocks of data there are; at least 1.
    pub data_blocks: u64,
    /// What is hashed before each block.
    pub salt: Salt,
}

/// Bytes that are not a superblock as it is used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotASuperblock {
    /// Fewer than [`Superblock::LENGTH`] bytes.
    #[error("{0} bytes, which is too short for a verity superblock")]
    Short(usize),
    /// No tree at all.
    #[error("no verity superblock: it begins with other bytes than `verity`")]
    Magic,
    /// A tree of a form that is not read here.
    #[error("a verity superblock whose {0} is not the one used here")]
    Form(&'static str),
    /// A salt that does not fit.
    #[error("a verity superblock that claims a salt of {0} bytes")]
    Salt(u16),
    /// No data, or more than a device can have.
    #[error("a verity superblock over {0} blocks")]
    Blocks(u64),
    /// Something where zeros belong.
    #[error("a verity superblock with bytes set where zeros belong")]
    Padding,
}

impl Superblock {
    /// Bytes in a superblock.
    pub const LENGTH: usize = 512;

    /// Reads the first [`Self::LENGTH`] of `bytes`. Never panics; refuses every form but the one
    /// that [`Self::encode`] writes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotASuperblock> {
        let short = NotASuperblock::Short(bytes.len());
        let (magic, rest) =
            bytes.get(..Self::LENGTH).and_then(|b| b.split_first_chunk()).ok_or(short)?;
        if *magic != MAGIC {
            return Err(NotASuperblock::Magic);
        }
        let mut fields = Fields(rest);
        fields.expect(&VERSION.to_le_bytes(), "version")?;
        fields.expect(&HASH_TYPE.to_le_bytes(), "type of hash")?;
        let uuid = fields.take();
        fields.expect(&algorithm(), "algorithm")?;
        fields.expect(&BLOCK_SIZE, "size of data blocks")?;
        fields.expect(&BLOCK_SIZE, "size of hash blocks")?;
        let data_blocks = u64::from_le_bytes(fields.take());
        let salt_length = u16::from_le_bytes(fields.take());
        let before: [u8; 6] = fields.take();
        let salt: [u8; SALT_MAX] = fields.take();
        let (salt, after) = salt
            .split_at_checked(usize::from(salt_length))
            .ok_or(NotASuperblock::Salt(salt_length))?;
        if data_blocks == 0 || data_blocks > u64::MAX / BLOCK {
            return Err(NotASuperblock::Blocks(data_blocks));
        }
        if [&before, after, fields.0].iter().any(|padding| padding.iter().any(|&b| b != 0)) {
            return Err(NotASuperblock::Padding);
        }
        Ok(Self { uuid, data_blocks, salt: Salt(salt.to_owned()) })
    }

    /// The superblock as it is written.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let salt = self.salt.as_bytes();
        let fields: [&[u8]; 10] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &HASH_TYPE.to_le_bytes(),
            &self.uuid,
            &algorithm(),
            &BLOCK_SIZE,
            &BLOCK_SIZE,
            &self.data_blocks.to_le_bytes(),
            &(salt.len() as u64).to_le_bytes(), // 16 bits, and padding
            salt,
        ];
        let mut bytes = [0; Self::LENGTH];
        bytes.iter_mut().zip(fields.concat()).for_each(|(byte, own)| *byte = own);
        bytes
    }

    /// How long the protected device is for device-mapper, in sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.data_blocks.saturating_mul(BLOCK / SECTOR)
    }

    /// The parameters of device-mapper's target `verity`, for devices by path or `major:minor`. The
    /// tree begins at the start of its device. The target begins at sector 0, and is
    /// [`Self::sectors`] long.
    pub fn target(&self, data_device: &str, tree_device: &str, root: RootHash) -> String {
        let (blocks, salt) = (self.data_blocks, &self.salt);
        let first_hash_block = 1; // behind the superblock's
        format!(
            "{VERSION} {data_device} {tree_device} {BLOCK} {BLOCK} {blocks} {first_hash_block} \
             sha256 {root} {salt}"
        )
    }
}

/// The name of the algorithm, filled up with zeros.
fn algorithm() -> [u8; 32] {
    let mut field = [0; 32];
    field[..ALGORITHM.len()].copy_from_slice(ALGORITHM);
    field
}

/// What is still to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; zeros beyond the end, which the sum of all fields does not reach.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *field
    }

    fn expect<const N: usize>(
        &mut self,
        wanted: &[u8; N],
        name: &'static str,
    ) -> Result<(), NotASuperblock> {
        if self.take() == *wanted { Ok(()) } else { Err(NotASuperblock::Form(name)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The head of what `veritysetup format --salt 00aa` of cryptsetup 2.6.1 wrote for 129 blocks.
    const HEAD: [&[u8]; 10] = [
        b"verity\0\0",
        &[1, 0, 0, 0, 1, 0, 0, 0],
        &[0x11; 16],
        b"sha256\0\0\0\0\0\0\0\0\0\0",
        &[0; 16],
        &[0, 0x10, 0, 0],
        &[0, 0x10, 0, 0],
        &[129, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0xaa],
    ];

    fn written() -> Vec<u8> {
        let mut bytes = HEAD.concat();
        bytes.resize(Superblock::LENGTH, 0);
        bytes
    }

    #[test]
    fn cryptsetups_superblock_is_read_and_written() {
        let superblock = Superblock::parse(&written()).unwrap();
        assert_eq!(superblock.uuid, [0x11; 16]);
        assert_eq!((superblock.data_blocks, superblock.sectors()), (129, 1032));
        assert_eq!(superblock.salt.to_string(), "00aa");
        assert_eq!(superblock.encode(), *written());
    }

    #[test]
    fn the_target_has_the_kernels_order() {
        let superblock = Superblock::parse(&written()).unwrap();
        let root = RootHash::from_bytes([0xab; 32]);
        let expected = format!("1 /dev/vda2 8:3 4096 4096 129 1 sha256 {} 00aa", "ab".repeat(32));
        assert_eq!(superblock.target("/dev/vda2", "8:3", root), expected);
    }

    #[test]
    fn other_forms_are_refused() {
        for (at, byte, expected) in [
            (0, b'V', NotASuperblock::Magic),
            (7, 1, NotASuperblock::Magic),
            (8, 2, NotASuperblock::Form("version")),
            (12, 0, NotASuperblock::Form("type of hash")),
            (32, b'S', NotASuperblock::Form("algorithm")),
            (63, 1, NotASuperblock::Form("algorithm")),
            (65, 0x20, NotASuperblock::Form("size of data blocks")),
            (69, 0x20, NotASuperblock::Form("size of hash blocks")),
            (72, 0, NotASuperblock::Blocks(0)),
            (79, 0x80, NotASuperblock::Blocks((1 << 63) + 129)),
            (81, 2, NotASuperblock::Salt(514)),
            (80, 1, NotASuperblock::Padding),
            (82, 1, NotASuperblock::Padding),
            (90, 1, NotASuperblock::Padding),
            (511, 1, NotASuperblock::Padding),
        ] {
            let mut bytes = written();
            bytes[at] = byte;
            assert_eq!(Superblock::parse(&bytes), Err(expected), "{at}");
        }
        assert_eq!(Superblock::parse(&written()[..511]), Err(NotASuperblock::Short(511)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            uuid: [u8; 16],
            data_blocks in 1..=u64::MAX / BLOCK,
            salt in prop::collection::vec(any::<u8>(), 0..=SALT_MAX),
        ) {
            let superblock = Superblock { uuid, data_blocks, salt: Salt::new(salt).unwrap() };
            prop_assert_eq!(Superblock::parse(&superblock.encode()), Ok(superblock));
        }

        /// The form has one way to write each value: what is read is written the same.
        #[test]
        fn what_is_read_is_written(at in 0..Superblock::LENGTH, byte: u8) {
            let mut bytes = written();
            bytes[at] = byte;
            if let Ok(superblock) = Superblock::parse(&bytes) {
                prop_assert_eq!(superblock.encode().to_vec(), bytes);
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Superblock::parse(&bytes);
        }
    }
}
