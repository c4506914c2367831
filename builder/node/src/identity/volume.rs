//! The label of a volume, by its first sectors: FAT, and ISO 9660, which is what USB sticks and config drives have.

/// Bytes that [`Label::parse`] needs: as far as the volume descriptor of ISO 9660.
pub(crate) const HEAD: usize = ISO + SECTOR;
/// ISO 9660 (ECMA-119), 6.2.1: sixteen sectors are the system's.
const ISO: usize = 16 * SECTOR;
const SECTOR: usize = 2048;

/// A labelled volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// What the kernel calls the file system.
    pub(crate) kind: &'static str,
    /// Without the spaces that pad it.
    pub(crate) text: String,
}

impl Label {
    /// The label of a volume that begins with these bytes, if it is one of the two.
    pub(crate) fn parse(head: &[u8]) -> Option<Self> {
        iso(head).or_else(|| fat(head))
    }
}

/// ECMA-119, 8.4: type 1, CD001, and from byte 40 on the volume's identifier.
fn iso(head: &[u8]) -> Option<Label> {
    let descriptor = head.get(ISO..)?;
    descriptor.starts_with(b"\x01CD001").then_some(())?;
    label("iso9660", descriptor.get(40..72)?)
}

/// Microsoft's FAT specification 1.03, page 11: the label in the boot sector, of FAT32 and of those before it.
fn fat(head: &[u8]) -> Option<Label> {
    (head.get(510..512)? == [0x55, 0xaa]).then_some(())?;
    let places = [(66, 71, 82, &b"FAT32"[..]), (38, 43, 54, b"FAT")];
    places.into_iter().find_map(|(signature, text, kind, word)| {
        let is_so = head[signature] == 0x29 && head[kind..].starts_with(word);
        label("vfat", head.get(text..text + 11)?).filter(|_| is_so)
    })
}

fn label(kind: &'static str, bytes: &[u8]) -> Option<Label> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches([' ', '\0']);
    Some(Label { kind, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        for (at, bytes) in parts {
            head[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn labels() {
        let end: (usize, &[u8]) = (510, &[0x55, 0xaa]);
        let descriptor = |text: &str| [&b"\x01CD001\x01"[..], &[0; 33], text.as_bytes()].concat();
        let padded = |text: &str| format!("{text:<32}");
        for (head, want) in [
            (
                head(&[(66, b")"), (71, b"COREMAX    "), (82, b"FAT32   "), end]),
                Some(("vfat", "COREMAX")),
            ),
            (
                head(&[(38, b")"), (43, b"cidata     "), (54, b"FAT16   "), end]),
                Some(("vfat", "cidata")),
            ),
            (head(&[(ISO, &descriptor(&padded("config-2")))]), Some(("iso9660", "config-2"))),
            (head(&[(66, b")"), (71, b"COREMAX    "), (82, b"FAT32   ")]), None),
            (head(&[(71, b"COREMAX    "), (82, b"FAT32   "), end]), None),
            (head(&[(ISO, &descriptor("\u{ff}\u{fe}"))]), Some(("iso9660", "\u{ff}\u{fe}"))),
            (vec![0; 100], None),
        ] {
            let found = Label::parse(&head);
            let want = want.map(|(kind, text)| Label { kind, text: text.to_owned() });
            assert_eq!(found, want);
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            descriptor in prop::collection::vec(any::<u8>(), 0..80),
            fat in any::<bool>(),
        ) {
            let mut head = bytes;
            if fat && head.len() >= 512 {
                for (at, part) in [(66, &b")"[..]), (82, b"FAT32"), (510, &[0x55, 0xaa])] {
                    head[at..at + part.len()].copy_from_slice(part);
                }
            }
            Label::parse(&head);
            head.resize(ISO, 0);
            head.extend(b"\x01CD001");
            head.extend(descriptor);
            Label::parse(&head);
        }
    }
}
