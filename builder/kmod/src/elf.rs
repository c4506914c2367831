//! Sections of a module: a 64-bit little-endian ELF file.
//!
//! Byte 0 begins `\x7fELF`, class 2, order 1. At 40 stands where the section headers are, at 58 how
//! long one is, at 60 how many, at 62 which of them holds the names. A header has its name's offset
//! at 0, the section's offset at 24 and its size at 32. See elf(5).

use crate::Error;

/// Class (64 bits) and byte order (little-endian) behind the magic number.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
/// A section header's length; set by the ELF specification.
const HEADER: usize = 64;

/// The content of the section with this name; nothing where there is none.
///
/// # Errors
/// [`Error::NotAModule`] for what is not ELF or points outside itself.
pub(crate) fn section<'a>(file: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, Error> {
    if !file.starts_with(MAGIC) {
        return Err(Error::NotAModule("not a 64-bit ELF file"));
    }
    let headers = headers(file)?;
    let index = usize::from(u16_at(file, 62)?);
    let names = headers.chunks_exact(HEADER).nth(index).ok_or(OUTSIDE)?;
    let names = content(file, names)?;
    for header in headers.chunks_exact(HEADER) {
        let start = u32::from_le_bytes(array(header, 0)?) as usize;
        let text = names.get(start..).ok_or(OUTSIDE)?;
        if text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0)) {
            return content(file, header).map(Some);
        }
    }
    Ok(None)
}

const OUTSIDE: Error = Error::NotAModule("a part lies outside of the file");

fn headers(file: &[u8]) -> Result<&[u8], Error> {
    if usize::from(u16_at(file, 58)?) != HEADER {
        return Err(Error::NotAModule("section headers of another length"));
    }
    let count = u64::from(u16_at(file, 60)?);
    slice(file, u64::from_le_bytes(array(file, 40)?), count * HEADER as u64)
}

fn content<'a>(file: &'a [u8], header: &[u8]) -> Result<&'a [u8], Error> {
    let (offset, size) = (array(header, 24)?, array(header, 32)?);
    slice(file, u64::from_le_bytes(offset), u64::from_le_bytes(size))
}

fn slice(file: &[u8], offset: u64, size: u64) -> Result<&[u8], Error> {
    let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok()).ok_or(OUTSIDE)?;
    let start = usize::try_from(offset).map_err(|_| OUTSIDE)?;
    file.get(start..end).ok_or(OUTSIDE)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Error> {
    Ok(u16::from_le_bytes(array(bytes, at)?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<N>).copied().ok_or(OUTSIDE)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with a `.modinfo` section of this content.
    pub(crate) fn module(content: &[u8]) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let mut file = vec![0; HEADER];
        file[..6].copy_from_slice(MAGIC);
        let offsets = [file.len(), file.len() + names.len()];
        file.extend_from_slice(names);
        file.extend_from_slice(content);
        let at = file.len() as u64;
        file[40..48].copy_from_slice(&at.to_le_bytes());
        for (place, value) in [(58, 64_u16), (60, 3), (62, 1)] {
            file[place..place + 2].copy_from_slice(&value.to_le_bytes());
        }
        for (name, offset, size) in
            [(0_u32, 0, 0), (1, offsets[0], names.len()), (11, offsets[1], content.len())]
        {
            let mut header = [0; HEADER];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            file.extend_from_slice(&header);
        }
        file
    }

    #[test]
    fn sections_are_found_by_name() {
        let file = module(b"license=GPL\0");
        assert_eq!(section(&file, ".modinfo").unwrap(), Some(&b"license=GPL\0"[..]));
        assert_eq!(section(&file, ".modinf").unwrap(), None);
        assert_eq!(section(&file, ".text").unwrap(), None);
        assert!(section(b"\x7fELF\x01\x01", ".text").is_err());
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(cut in 0_usize..300, at in 0_usize..300, byte in any::<u8>()) {
            let mut file = module(b"firmware=a.bin\0");
            let at = at % file.len();
            file[at] = byte;
            file.truncate(cut.max(1).min(file.len()));
            let _ = section(&file, ".modinfo");
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = section(&[MAGIC, &bytes].concat(), ".modinfo");
        }
    }
}
