//! A picture of the screen as PNG.
//!
//! QEMU 7.1 and later write PNG where they were built with libpng; others write a binary PPM:
//! `P6`, width, height, 255, each followed by white space, then three bytes a pixel. See ppm(5).

use std::{fs, path::Path};

use crate::{Error, Machine, error::file};

/// The widest and highest picture that is converted. Set by us: QEMU's standard display goes to
/// 2560 x 1600 in text and firmware modes.
const SIDE_MAX: u32 = 8192;

/// Writes what the machine shows to the file `path`.
pub(crate) fn take(machine: &Machine, path: &Path) -> Result<(), Error> {
    machine.screendump(path)?;
    let bytes = fs::read(path).map_err(file("reading", path))?;
    let converted = parse_ppm(&bytes).and_then(|(width, height, rgb)| png(width, height, rgb));
    match converted {
        Some(png) => fs::write(path, png).map_err(file("writing", path)),
        None => Ok(()),
    }
}

fn parse_ppm(bytes: &[u8]) -> Option<(u32, u32, &[u8])> {
    let mut rest = bytes.strip_prefix(b"P6")?;
    let (width, height, depth) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
    let pixels = rest.get(1..)?;
    let size = 3 * width as usize * height as usize;
    let sane = (1..=SIDE_MAX).contains(&width) && (1..=SIDE_MAX).contains(&height) && depth == 255;
    (sane && pixels.len() >= size).then(|| (width, height, &pixels[..size]))
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let length = rest[start..].iter().position(|byte| !byte.is_ascii_digit())?;
    let digits = std::str::from_utf8(&rest[start..start + length]).ok()?;
    *rest = &rest[start + length..];
    digits.parse().ok().filter(|&n| n <= SIDE_MAX)
}

fn png(width: u32, height: u32, rgb: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().ok()?.write_image_data(rgb).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ppm_becomes_a_png() {
        let (width, height, rgb) = parse_ppm(b"P6\n2 1\n255\nabcdef").unwrap();
        assert_eq!((width, height, rgb), (2, 1, &b"abcdef"[..]));
        assert!(png(width, height, rgb).unwrap().starts_with(b"\x89PNG"));
        for bad in [&b"P6\n2 1\n255\nabcde"[..], b"P5\n1 1\n255\na", b"P6\n0 1\n255\n", b"P6 99999"]
        {
            assert!(parse_ppm(bad).is_none());
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            parse_ppm(&bytes);
            parse_ppm(&[b"P6", &bytes[..]].concat());
        }
    }
}
