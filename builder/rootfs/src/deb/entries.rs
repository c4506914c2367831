//! The entries of a package's tar files, as far as dpkg reads them.
//!
//! A block of 512 bytes (name, mode, owner, size, type, target of a link) and the content, padded to
//! whole blocks. A name too long for its field stands in an entry of its own before, of type `L`
//! (names) or `K` (targets), as GNU tar writes it. pax records and sparse files are no part of the
//! format: dpkg refuses them, and so are they here, for whoever reads them otherwise sees other files.
//!
//! See deb(5), <https://manpages.debian.org/deb.5>.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType};

use super::invalid;

/// The longest name that is read, with the NUL that ends it. Set by Linux (PATH_MAX).
const MAX_NAME_BYTES: u64 = 4096;

/// An entry with its names in full.
pub(crate) struct Item<'a, R: Read> {
    /// The path as the package has it.
    pub(crate) path: Vec<u8>,
    /// What a link names; empty where it is none.
    pub(crate) target: Vec<u8>,
    /// Its header and content.
    pub(crate) entry: Entry<'a, R>,
}

/// All entries of a tar file in order. What is wrong with one is the error of its turn.
pub(crate) struct Entries<'a, R: Read>(tar::Entries<'a, R>);

impl<'a, R: Read> Entries<'a, R> {
    pub(crate) fn of(archive: &'a mut Archive<R>) -> io::Result<Self> {
        Ok(Self(archive.entries()?.raw(true)))
    }

    fn next_item(&mut self) -> io::Result<Option<Item<'a, R>>> {
        let (mut path, mut target) = (None, None);
        while let Some(mut entry) = self.0.next().transpose()? {
            match entry.header().entry_type() {
                EntryType::GNULongName => path = Some(long_name(&mut entry)?),
                EntryType::GNULongLink => target = Some(long_name(&mut entry)?),
                EntryType::XHeader | EntryType::XGlobalHeader => {
                    return Err(invalid("it has pax records, which a .deb may not have"));
                }
                EntryType::GNUSparse => {
                    return Err(invalid("it has a sparse file, which a .deb may not have"));
                }
                _ => return Ok(Some(whole(entry, path, target))),
            }
        }
        match (path, target) {
            (None, None) => Ok(None),
            _ => Err(invalid("it ends with a long name that is nobody's")),
        }
    }
}

impl<'a, R: Read> Iterator for Entries<'a, R> {
    type Item = io::Result<Item<'a, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_item().transpose()
    }
}

fn whole<R: Read>(
    entry: Entry<'_, R>,
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
) -> Item<'_, R> {
    let header = entry.header();
    let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
    let short = || header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
    let target = target.unwrap_or_else(short);
    Item { path, target, entry }
}

fn long_name(entry: &mut Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    if entry.size() > MAX_NAME_BYTES {
        return Err(invalid(format!("it has a name of more than {MAX_NAME_BYTES} bytes")));
    }
    let mut name = Vec::new();
    entry.read_to_end(&mut name)?;
    if name.len() as u64 != entry.size() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    Ok(name)
}
