//! The headers of a program for UEFI: PE32+, for x86-64.
//!
//! ```text
//! 0x3c        where "PE\0\0" stands; behind it COFF's header of 20 bytes: machine, number of sections, ...
//! +24         the optional header: +32 and +36 alignments, +56 and +60 sizes, +64 checksum, +112 data directories
//! behind it   a header of 40 bytes a section
//! ```
//!
//! <https://learn.microsoft.com/en-us/windows/win32/debug/pe-format>

use rsa::sha2::{Digest as _, Sha256};

use crate::Error;

/// Bytes of a section's header.
pub(crate) const SECTION: usize = 40;
/// The data directory of certificates, from the optional header on: the fifth of 8 bytes each.
const CERTIFICATES: usize = 112 + 4 * 8;
/// What a table of certificates is aligned to.
const ALIGNMENT: usize = 8;
/// WIN_CERTIFICATE: revision 2.0, of type PKCS #7.
const PKCS7: [u8; 4] = [0x00, 0x02, 0x02, 0x00];

/// Where things stand in a program, in bytes from its beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Headers {
    /// COFF's header.
    pub(crate) coff: usize,
    /// The optional header.
    pub(crate) optional: usize,
    /// The first section's header.
    pub(crate) sections: usize,
    /// How many sections there are.
    pub(crate) count: usize,
}

impl Headers {
    /// Reads the headers of `image`. Never panics.
    pub(crate) fn parse(image: &[u8]) -> Result<Self, Error> {
        if image.get(..2) != Some(b"MZ") {
            return Err(Error::NotPe("it does not begin with MZ"));
        }
        let coff =
            four(image, 0x3c)?.checked_add(4).ok_or(Error::NotPe("its header is nowhere"))?;
        if image.get(coff - 4..coff) != Some(b"PE\0\0") || two(image, coff)? != 0x8664 {
            return Err(Error::NotPe("it has no header for x86-64"));
        }
        let (count, optional) = (two(image, coff + 2)?, coff + 20);
        let sections = optional + two(image, coff + 16)?;
        let has_directories = sections >= optional + CERTIFICATES + 8;
        if two(image, optional)? != 0x20b || !has_directories || four(image, optional + 108)? < 5 {
            return Err(Error::NotPe("it has no header of PE32+ with a directory of certificates"));
        }
        if image.len() < sections + count * SECTION {
            return Err(Error::NotPe("it ends within its headers"));
        }
        Ok(Self { coff, optional, sections, count })
    }

    /// A field of the optional header.
    pub(crate) fn field(&self, image: &[u8], at: usize) -> Result<usize, Error> {
        four(image, self.optional + at)
    }

    /// A field of a section's header.
    pub(crate) fn section(&self, image: &[u8], number: usize, at: usize) -> Result<usize, Error> {
        four(image, self.sections + number * SECTION + at)
    }
}

/// The program without signatures, as long as a signed one must be.
pub(crate) fn unsigned(image: &[u8]) -> Result<Vec<u8>, Error> {
    let headers = Headers::parse(image)?;
    let entry = headers.optional + CERTIFICATES;
    let end = match four(image, entry)? {
        0 => image.len(),
        at => at,
    };
    let mut bare = image.get(..end).ok_or(Error::NotPe("its certificates are nowhere"))?.to_vec();
    if bare.len() < headers.sections {
        return Err(Error::NotPe("its certificates are within its headers"));
    }
    bare[entry..entry + 8].fill(0);
    bare.resize(bare.len().next_multiple_of(ALIGNMENT), 0);
    Ok(bare)
}

/// What a signature is about: everything but the checksum and where the signature lies.
pub(crate) fn digest(image: &[u8]) -> Result<[u8; 32], Error> {
    let Headers { optional, .. } = Headers::parse(image)?;
    let (checksum, entry) = (optional + 64, optional + CERTIFICATES);
    let mut hasher = Sha256::new();
    for part in [&image[..checksum], &image[checksum + 4..entry], &image[entry + 8..]] {
        hasher.update(part);
    }
    Ok(hasher.finalize().into())
}

/// Appends a signature to what [`unsigned`] gave.
pub(crate) fn append(mut image: Vec<u8>, signature: &[u8]) -> Result<Vec<u8>, Error> {
    let too_large = || Error::TooLarge("the signed program".to_owned());
    let entry = Headers::parse(&image)?.optional + CERTIFICATES;
    let at = u32::try_from(image.len()).map_err(|_| too_large())?;
    let length = u32::try_from(8 + signature.len()).map_err(|_| too_large())?;
    image.extend(length.to_le_bytes());
    image.extend(PKCS7);
    image.extend(signature);
    image.resize(image.len().next_multiple_of(ALIGNMENT), 0);
    let size = u32::try_from(image.len()).map_err(|_| too_large())? - at;
    put(&mut image, entry, at);
    put(&mut image, entry + 4, size);
    Ok(image)
}

/// Writes a number of 32 bits.
pub(crate) fn put(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn two(image: &[u8], at: usize) -> Result<usize, Error> {
    Ok(usize::from(u16::from_le_bytes(take(image, at)?)))
}

fn four(image: &[u8], at: usize) -> Result<usize, Error> {
    usize::try_from(u32::from_le_bytes(take(image, at)?))
        .map_err(|_| Error::NotPe("it is too large"))
}

fn take<const N: usize>(image: &[u8], at: usize) -> Result<[u8; N], Error> {
    let end = at.checked_add(N).ok_or(Error::NotPe("it ends within its headers"))?;
    let bytes = image.get(at..end).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(Error::NotPe("it ends within its headers"))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A program of one section that does nothing, with room for five more headers.
    pub(crate) fn program() -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[..2].copy_from_slice(b"MZ");
        image[0x3c] = 0x40;
        image[0x40..0x48].copy_from_slice(b"PE\0\0\x64\x86\x01\0");
        image[0x54] = 0xf0; // the length of the optional header
        let optional = 0x58;
        image[optional..optional + 2].copy_from_slice(&[0x0b, 0x02]);
        for (at, value) in [(32, 0x200), (36, 0x200), (56, 0x4200), (60, 0x200), (64, 7), (108, 16)]
        {
            put(&mut image, optional + at, value);
        }
        let section = optional + 0xf0;
        image[section..section + 5].copy_from_slice(b".text");
        for (at, value) in [(8, 0x100), (12, 0x4000), (16, 0x200), (20, 0x200)] {
            put(&mut image, section + at, value);
        }
        image
    }

    #[test]
    fn the_digest_is_of_all_but_checksum_and_signature() {
        let image = program();
        let whole = digest(&image).unwrap();
        for (at, counts) in [(0x58 + 64, false), (0x58 + 144, false), (0x3fe, true), (0x41, true)] {
            let mut other = image.clone();
            other[at] ^= 1;
            assert_eq!(digest(&other).ok() != Some(whole), counts, "{at:#x}");
        }
        let signed = append(unsigned(&image).unwrap(), b"signature").unwrap();
        assert_eq!(signed.len() % ALIGNMENT, 0);
        assert_eq!(unsigned(&signed).unwrap(), image);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(at in 0_usize..0x400, byte in any::<u8>(), end in 0_usize..0x400) {
            let mut image = program();
            image[at] = byte;
            image.truncate(end);
            let _ = unsigned(&image).map(|bare| digest(&bare));
        }
    }
}
