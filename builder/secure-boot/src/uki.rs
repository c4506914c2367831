//! Unified kernel images: systemd's stub with kernel, initrd and command line in sections of their own, so that one
//! signature holds for all.
//!
//! ```text
//! .osrel     os-release, by which a loader names it      .cmdline   the command line
//! .linux     the kernel                                  .initrd    the initrd
//! ```
//!
//! With Secure Boot on, the stub takes this command line and no other.
//! <https://uapi-group.org/specifications/specs/unified_kernel_image/>

use crate::{
    Error,
    pe::{Headers, SECTION, put},
};

/// Sections begin on a page.
const PAGE: usize = 0x1000;
/// Initialised data that is read.
const DATA: u32 = 0x4000_0040;

/// A section to be added.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// Its name, of at most 8 characters: `.linux`.
    pub name: &'a str,
    /// What it holds.
    pub content: &'a [u8],
}

/// The stub with these sections behind its own.
///
/// # Errors
/// A stub that is no program for UEFI or has no room for their headers, and what 32 bits cannot count.
pub fn assemble(stub: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, Error> {
    let mut image = crate::pe::unsigned(stub)?;
    let headers = Headers::parse(&image)?;
    cut_behind_sections(&mut image, &headers)?;
    if room(&headers, &image)? < sections.len() {
        return Err(Error::NoRoom { sections: sections.len() });
    }
    let file_alignment = headers.field(&image, 36)?.max(1);
    let mut end = headers.field(&image, 56)?;
    for (number, section) in sections.iter().enumerate() {
        let too_large = |_| Error::TooLarge(section.name.to_owned());
        let number32 = |number: usize| u32::try_from(number).map_err(too_large);
        image.resize(image.len().next_multiple_of(file_alignment), 0);
        let (place, from) = (end.next_multiple_of(PAGE), image.len());
        image.extend(section.content);
        image.resize(image.len().next_multiple_of(file_alignment), 0);
        let header = headers.sections + (headers.count + number) * SECTION;
        image[header..header + 8].copy_from_slice(&name(section.name)?);
        let raw = number32(image.len() - from)?;
        let fields = [
            (8, number32(section.content.len())?),
            (12, number32(place)?),
            (16, raw),
            (20, number32(from)?),
            (36, DATA),
        ];
        for (at, value) in fields {
            put(&mut image, header + at, value);
        }
        end = place + section.content.len();
    }
    finish(image, &headers, sections.len(), end)
}

/// Takes off what lies behind the sections, symbols for debuggers: digests are made over sections that follow each other.
fn cut_behind_sections(image: &mut Vec<u8>, headers: &Headers) -> Result<(), Error> {
    let end = |number| {
        let (from, raw) =
            (headers.section(image, number, 20)?, headers.section(image, number, 16)?);
        Ok(from.saturating_add(raw))
    };
    let ends: Vec<usize> = (0..headers.count).map(end).collect::<Result<_, Error>>()?;
    let end = ends.into_iter().max().unwrap_or(0).max(headers.field(image, 60)?);
    image.truncate(end.max(headers.sections + headers.count * SECTION));
    put(image, headers.coff + 8, 0);
    put(image, headers.coff + 12, 0);
    Ok(())
}

/// How many more headers of sections fit in front of the first section.
fn room(headers: &Headers, image: &[u8]) -> Result<usize, Error> {
    let first = (0..headers.count).map(|number| headers.section(image, number, 20));
    let first = first.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|&at| at > 0).min();
    let end = first.unwrap_or(image.len()).min(headers.field(image, 60)?).min(image.len());
    Ok((end.saturating_sub(headers.sections) / SECTION).saturating_sub(headers.count))
}

/// Tells the headers what was added. The checksum is looked at by no firmware.
fn finish(
    mut image: Vec<u8>,
    headers: &Headers,
    added: usize,
    end: usize,
) -> Result<Vec<u8>, Error> {
    let too_large = |_| Error::TooLarge("the image".to_owned());
    let count =
        u16::try_from(headers.count + added).map_err(|_| Error::NoRoom { sections: added })?;
    image[headers.coff + 2..headers.coff + 4].copy_from_slice(&count.to_le_bytes());
    let size = end.next_multiple_of(headers.field(&image, 32)?.max(1));
    put(&mut image, headers.optional + 56, u32::try_from(size).map_err(too_large)?);
    put(&mut image, headers.optional + 64, 0);
    Ok(image)
}

fn name(text: &str) -> Result<[u8; 8], Error> {
    let mut name = [0; 8];
    let bytes = text.as_bytes();
    match name.get_mut(..bytes.len()) {
        Some(place) if !bytes.is_empty() => place.copy_from_slice(bytes),
        _ => return Err(Error::Name(text.to_owned())),
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pe::tests::program;

    #[test]
    fn sections_lie_behind_the_stub_s_own() {
        let sections = [
            Section { name: ".cmdline", content: b"quiet" },
            Section { name: ".linux", content: &[7; 0x1234] },
        ];
        let image = assemble(&program(), &sections).unwrap();
        let headers = Headers::parse(&image).unwrap();
        assert_eq!(headers.count, 3);
        let mut end = 0x4200;
        for (number, section) in (1..).zip(&sections) {
            let [length, place, raw, from] =
                [8, 12, 16, 20].map(|at| headers.section(&image, number, at).unwrap());
            assert_eq!(&image[from..from + length], section.content);
            assert!(place >= end && place % PAGE == 0 && raw % 0x200 == 0, "{}", section.name);
            end = place + length;
        }
        assert_eq!(headers.field(&image, 56).unwrap(), end.next_multiple_of(0x200));
        let with_symbols = [&program()[..], &[9; 77]].concat();
        assert_eq!(image, assemble(&with_symbols, &sections).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = Section { name: ".a", content: b"" };
        let full = assemble(&program(), &[one; 20]);
        assert!(matches!(full, Err(Error::NoRoom { sections: 20 })), "{full:?}");
        for bad in ["", ".toolong9"] {
            let section = Section { name: bad, ..one };
            assert!(matches!(assemble(&program(), &[section]), Err(Error::Name(_))), "{bad}");
        }
        assert!(matches!(assemble(b"no program", &[one]), Err(Error::NotPe(_))));
    }
}
