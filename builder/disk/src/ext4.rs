//! ext4 file systems, filled from a tree by mke2fs.
//!
//! An ext4 volume is cut into groups of 128 MiB, each with bitmaps, a table of inodes and blocks of
//! 4 KiB; a journal; and copies of the superblock in some groups. mke2fs writes owners, modes,
//! extended attributes, hard links, device nodes and holes as the tree has them. It takes the time
//! of creation from E2FSPROGS_FAKE_TIME, but the times of change and access from the tree, where
//! they tell when the build ran: [`times`] sets them afterwards.
//! <https://www.kernel.org/doc/html/latest/filesystems/ext4/>

mod size;
mod times;

use std::{fs::OpenOptions, path::Path};

use coremax_sandbox::{Cmd, Sandbox};

use crate::{Bytes, Error, Guid, Result, error::During};

pub use size::Content;

/// Bytes in a block.
const BLOCK: u64 = 4096;
/// Bytes in an inode.
const INODE: u64 = 256;
/// Bytes of volume for which there is one inode, unless the tree needs more: mke2fs's default.
const BYTES_PER_INODE: u64 = 16_384;
/// A longer label does not fit the superblock.
const LONGEST_LABEL: usize = 16;
/// mke2fs's own list for ext4, written down so that no version and no configuration changes it.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
                        flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// A volume to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4 {
    /// Its label, at most 16 bytes.
    pub label: String,
    /// Its UUID.
    pub uuid: Guid,
    /// What the hashes of names in large folders begin with.
    pub hash_seed: Guid,
    /// Its size, from 64 MiB; what is not a whole block is left over.
    pub size: Bytes,
    /// The time, in seconds since 1970, at which it was made and all in it was changed and read.
    pub epoch: u64,
}

/// Writes the volume as a new sparse file, replacing any at `image`, with what is in `source`,
/// which `content` has counted. The same tree gives the same bytes, and so does a copy of it. No
/// blocks are reserved for root.
///
/// `tools` needs e2fsprogs, and must show `source`, an absolute path, to its programs: what is
/// bound over a part of it is what goes into the volume. The image is added here.
///
/// # Errors
/// A failing mke2fs, above all for a tree that does not fit; a label that is too long; failing I/O.
pub fn make(
    tools: &Sandbox,
    volume: &Ext4,
    source: &Path,
    content: &Content,
    image: &Path,
) -> Result<()> {
    if volume.label.len() > LONGEST_LABEL || volume.label.contains('\0') {
        return Err(Error::Ext4Label { label: volume.label.clone() });
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(image);
    let file = file.during("creating", image)?;
    file.set_len(volume.size.0).during("sizing", image)?;
    let image = image.canonicalize().during("finding", image)?;
    volume
        .command(&tools.clone().bind(&image), content, source, &image)
        .run()
        .map_err(|error| volume.explain(error, content, &image))?;
    times::settle(&file, volume.epoch).during("setting the times in", &image)
}

impl Ext4 {
    fn command(&self, sandbox: &Sandbox, content: &Content, source: &Path, image: &Path) -> Cmd {
        Cmd::new("mke2fs", sandbox)
            .env("E2FSPROGS_FAKE_TIME", self.epoch.to_string())
            .env("MKE2FS_CONFIG", "/dev/null")
            // FEATURES say all that there is to say: these are names an empty configuration knows.
            .args(["-q", "-F", "-t", "ext2", "-T", "default", "-O", FEATURES])
            .args(["-m", "0", "-L", &self.label])
            .args(["-b", &BLOCK.to_string(), "-I", &INODE.to_string()])
            .args(["-N", &content.inodes_for(self.size).to_string()])
            .args(["-J", &format!("size={}", size::journal(self.size).0 >> 20)])
            .args(["-U", &self.uuid.to_string(), "-E", &self.extended()])
            .arg("-d")
            .arg(source)
            .arg(image)
            .arg(format!("{}k", self.size.0 / BLOCK * (BLOCK >> 10)))
    }

    /// Why mke2fs failed: it says so in words that help nobody where the tree is too large.
    fn explain(&self, source: coremax_sandbox::Error, content: &Content, image: &Path) -> Error {
        let minimum = content.minimum();
        if minimum > self.size {
            let (label, size) = (self.label.clone(), self.size);
            return Error::Ext4Full { label, size, minimum, source };
        }
        Error::Program { what: format!("the ext4 image {}", image.display()), source }
    }

    /// The image is a new file, so that tables and journal are zeros already and stay holes.
    fn extended(&self) -> String {
        let seed = self.hash_seed;
        format!("hash_seed={seed},root_owner=0:0,nodiscard,lazy_itable_init=1,lazy_journal_init=1")
    }
}
