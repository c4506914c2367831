//! The entries of a folder: short names, long names, labels.
//!
//! A short name is 8 characters and an extension of 3, upper case and padded with spaces. A long
//! name is UTF-16 in entries of 13 units, the last part first, each with a checksum of the short one.

use std::collections::HashSet;

use super::Run;

/// Bytes in an entry.
pub(super) const LENGTH: usize = 32;
/// UTF-16 units in one entry of a long name.
const UNITS: usize = 13;
/// UTF-16 units in the longest name.
pub(super) const LONGEST_NAME: usize = 255;

const ARCHIVE: u8 = 0x20;
const FOLDER: u8 = 0x10;
const LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;
/// Marks the last part of a long name, which comes first.
const LAST_PART: usize = 0x40;
/// The first of January 1980, the earliest day that FAT knows.
const DAY: [u8; 2] = [0x21, 0];

/// A short name: 8 characters and 3 of extension.
pub(super) type Alias = [u8; 11];

/// Refuses a label that not every system reads.
pub(super) fn check_label(label: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_ ".contains(&b);
    if label.trim() == label && (1..=11).contains(&label.len()) && label.bytes().all(allowed) {
        return Ok(());
    }
    Err("its label must be 1 to 11 of A-Z, 0-9, hyphen, underscore, and space within")
}

/// Up to 11 bytes, padded with spaces.
pub(super) fn padded(text: &str) -> Alias {
    let mut padded = [b' '; 11];
    padded.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    padded
}

/// The entry of a volume's label.
pub(super) fn label(label: &str) -> [u8; LENGTH] {
    short(padded(label), LABEL, Run { start: 0, length: 0 })
}

/// The entries of a folder for itself and for the one above, where the root is 0.
pub(super) fn dots(own: u32, parent: u32) -> Vec<u8> {
    let dot = |name, start| short(padded(name), FOLDER, Run { start, length: 0 });
    [dot(".", own), dot("..", parent)].concat()
}

/// The entries of a file or folder: its long name, where it needs one, and its short one.
pub(super) fn entries(name: &str, alias: Alias, run: Run, is_folder: bool) -> Vec<u8> {
    let mut bytes = if fits(name) == Some(alias) { Vec::new() } else { long(name, alias) };
    bytes.extend(short(alias, if is_folder { FOLDER } else { ARCHIVE }, run));
    bytes
}

/// How many entries a name takes at most.
pub(super) fn count(name: &str) -> usize {
    1 + name.encode_utf16().count().div_ceil(UNITS)
}

/// A short name for each name of a folder, no two the same.
pub(super) fn aliases<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<Alias> {
    // Names that differ from their short form in case alone keep it; it is nobody else's.
    let kept = |name: &str| fits(&name.to_ascii_uppercase());
    let mut taken: HashSet<Alias> = names.clone().filter_map(kept).collect();
    let mut numbers = 1..;
    let mut number =
        |name| numbers.find_map(|number| Some(numbered(name, number)).filter(|&a| taken.insert(a)));
    // The numbers do not end before the names do.
    names.filter_map(|name| kept(name).or_else(|| number(name))).collect()
}

/// The short form of a name that is one already.
fn fits(name: &str) -> Option<Alias> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let dotted = name.contains('.');
    let allowed =
        |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&b);
    let fit = (1..=8).contains(&base.len())
        && extension.len() <= 3
        && dotted != extension.is_empty()
        && base.bytes().chain(extension.bytes()).all(allowed);
    fit.then(|| joined(base, extension))
}

/// A short form with a number: `LONGNA~1.TXT`.
fn numbered(name: &str, number: u32) -> Alias {
    let short = |text: &str, length: usize| -> String {
        let kept = text.chars().filter(|c| !" .".contains(*c)).take(length);
        kept.map(
            |c| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_uppercase() } else { '_' },
        )
        .collect()
    };
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let tail = format!("~{number}");
    joined(&(short(base, 8_usize.saturating_sub(tail.len())) + &tail), &short(extension, 3))
}

fn joined(base: &str, extension: &str) -> Alias {
    let mut alias = padded(base);
    alias[8..].copy_from_slice(&padded(extension)[..3]);
    alias
}

fn short(alias: Alias, attributes: u8, run: Run) -> [u8; LENGTH] {
    let (start, length) = (run.start.to_le_bytes(), run.length.to_le_bytes());
    let mut entry = [0; LENGTH];
    entry[..11].copy_from_slice(&alias);
    entry[11] = attributes;
    for at in [16, 18, 24] {
        entry[at..at + 2].copy_from_slice(&DAY); // created, read, written
    }
    entry[20..22].copy_from_slice(&start[2..]);
    entry[26..28].copy_from_slice(&start[..2]);
    entry[28..].copy_from_slice(&length);
    entry
}

fn long(name: &str, alias: Alias) -> Vec<u8> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.len().div_ceil(UNITS);
    if !units.len().is_multiple_of(UNITS) {
        units.push(0); // the end, where there is room for one; then all ones
        units.resize(parts * UNITS, 0xffff);
    }
    let entry = |(number, part): (usize, &[u16])| {
        let order = if number == parts { number | LAST_PART } else { number };
        long_entry(order.to_le_bytes()[0], part, checksum(alias))
    };
    (1..).zip(units.chunks(UNITS)).collect::<Vec<_>>().into_iter().rev().flat_map(entry).collect()
}

fn long_entry(order: u8, part: &[u16], checksum: u8) -> [u8; LENGTH] {
    let mut entry = [0; LENGTH];
    entry[0] = order;
    entry[11] = LONG_NAME;
    entry[13] = checksum;
    let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
    for (at, unit) in places.zip(part) {
        entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
    }
    entry
}

fn checksum(alias: Alias) -> u8 {
    alias.iter().fold(0_u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        let aliases = aliases(names.iter().copied());
        aliases.iter().map(|alias| String::from_utf8(alias.to_vec()).unwrap()).collect()
    }

    #[test]
    fn short_names() {
        for (names, expected) in [
            (
                &["BOOTX64.EFI", "grub.cfg", "EFI"][..],
                &["BOOTX64 EFI", "GRUB    CFG", "EFI        "][..],
            ),
            (&["a long name.text", "a long name 2.text"], &["ALONGN~1TEX", "ALONGN~2TEX"]),
            (&["ALONGN~1.TEX", "a long name.text"], &["ALONGN~1TEX", "ALONGN~2TEX"]),
            (
                &[".hidden", "a.b.c", "é", "+"],
                &["~1      HID", "AB~2    C  ", "_~3        ", "_~4        "],
            ),
        ] {
            assert_eq!(texts(names), expected, "{names:?}");
        }
        let many: Vec<String> = (0..20_000).map(|n| format!("a file {n}")).collect();
        let found = aliases(many.iter().map(String::as_str));
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), many.len());
    }

    #[test]
    fn a_name_that_is_short_needs_no_long_one() {
        let run = Run { start: 0x0001_0002, length: 3 };
        for (name, length) in
            [("GRUB.CFG", 1), ("grub.cfg", 2), ("thirteen-unit", 2), ("fourteen-units", 3)]
        {
            let alias = aliases([name].into_iter())[0];
            let bytes = entries(name, alias, run, false);
            assert_eq!(bytes.len(), length * LENGTH, "{name}");
            assert!(length <= count(name));
            assert_eq!(bytes[(length - 1) * LENGTH + 26..], [2, 0, 3, 0, 0, 0]);
        }
    }

    #[test]
    fn labels() {
        for good in ["ESP", "COREMAX-ESP", "A B"] {
            check_label(good).unwrap();
        }
        for bad in ["", " ", "ESP ", "esp", "COREMAX-ESP1", "É"] {
            check_label(bad).unwrap_err();
        }
    }
}
