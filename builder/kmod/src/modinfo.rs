//! What a module says of itself: `key=value` strings, each ended by NUL, in its section `.modinfo`.

use std::io;

use crate::{Compression, Error, Name, elf, soft::Soft};

/// A module's own statements, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modinfo(Vec<(String, String)>);

impl Modinfo {
    /// Reads a module that is not compressed. Never panics.
    ///
    /// # Errors
    /// [`Error::NotAModule`].
    pub fn parse(module: &[u8]) -> Result<Self, Error> {
        let section = elf::section(module, ".modinfo")?;
        let section = section.ok_or(Error::NotAModule("no section .modinfo"))?;
        let text = String::from_utf8_lossy(section);
        let pairs = text.split('\0').filter_map(|entry| entry.split_once('='));
        Ok(Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }

    /// All values of a key, such as `alias`.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Firmware it may ask for: paths below /lib/firmware, perhaps with wildcards.
    pub fn firmware(&self) -> impl Iterator<Item = &str> {
        self.values("firmware")
    }

    /// The modules it needs itself.
    pub fn depends(&self) -> impl Iterator<Item = Name> {
        let names = self.values("depends").flat_map(|value| value.split(','));
        names.filter(|name| !name.is_empty()).map(Name::new)
    }

    /// The modules or aliases it wants before it, and those it wants after it.
    pub fn softdeps(&self) -> (Vec<String>, Vec<String>) {
        let mut soft = Soft::default();
        self.values("softdep").for_each(|value| soft.add(value.split_whitespace()));
        (soft.pre, soft.post)
    }
}

/// The firmware that the module in `file` may ask for; `path` says how it is compressed, and
/// `decompress` does what is needed then.
///
/// # Errors
/// [`Error::NotAModule`] and [`Error::Decompress`].
pub fn firmware(
    path: &str,
    file: &[u8],
    decompress: impl FnOnce(Compression, &[u8]) -> io::Result<Vec<u8>>,
) -> Result<Vec<String>, Error> {
    let info = match Compression::of_file(path) {
        None => return Err(Error::NotAModule("not a module's name")),
        Some(Compression::Plain) => Modinfo::parse(file)?,
        Some(kind) => Modinfo::parse(&decompress(kind, file).map_err(Error::Decompress)?)?,
    };
    Ok(info.firmware().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::elf::tests::module;

    const CONTENT: &[u8] = b"license=GPL\0firmware=bnx2/a.fw\0\0firmware=b*.fw\0junk\0\
        depends=crc16,jbd2\0softdep=pre: crypto-crc32c\0softdep=post: x\0";

    #[test]
    fn statements() {
        let info = Modinfo::parse(&module(CONTENT)).unwrap();
        assert_eq!(info.firmware().collect::<Vec<_>>(), ["bnx2/a.fw", "b*.fw"]);
        assert_eq!(info.depends().collect::<Vec<_>>(), [Name::new("crc16"), Name::new("jbd2")]);
        assert_eq!(info.softdeps(), (vec!["crypto-crc32c".into()], vec!["x".into()]));
        assert_eq!(Modinfo::parse(&module(b"depends=\0")).unwrap().depends().count(), 0);
    }

    #[test]
    fn compressed_modules_go_through_the_caller() {
        let found = firmware("a.ko.zst", b"packed", |kind, bytes| {
            assert_eq!((kind, bytes), (Compression::Zstd, &b"packed"[..]));
            Ok(module(CONTENT))
        });
        assert_eq!(found.unwrap(), ["bnx2/a.fw", "b*.fw"]);
        assert!(firmware("a", b"", |_, _| Ok(Vec::new())).is_err());
    }

    proptest! {
        #[test]
        fn foreign_modules_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Modinfo::parse(&bytes));
            let info = Modinfo::parse(&module(&bytes)).unwrap();
            let said = info.firmware().count() + info.depends().count();
            prop_assert!(said <= bytes.len());
            info.softdeps();
        }
    }
}
