//! Strings of SMBIOS structures of type 11, DSP0134 3.7, chapters 6.1 and 7.12.
//!
//! A structure is a type, its length, a handle of two bytes and more up to that length, and then strings that end each
//! with a NUL and all with another; two of them stand where there is no string.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use coremax_node_api::identity::{LONGEST, SMBIOS};
use zeroize::Zeroizing;

/// The type of a structure of OEM strings, and of the last structure.
const OEM_STRINGS: u8 = 11;
const END: u8 = 127;

/// The documents among the strings of these tables, or why one that says it is one is none.
pub(crate) fn documents(tables: &[u8]) -> Vec<Result<Zeroizing<Vec<u8>>, String>> {
    let mut found = Vec::new();
    let mut rest = tables;
    while let Some((kind, strings, next)) = structure(rest) {
        if kind == END {
            break;
        }
        if kind == OEM_STRINGS {
            let texts = strings.split(|&byte| byte == 0);
            found
                .extend(texts.filter_map(|text| text.strip_prefix(SMBIOS.as_bytes())).map(decoded));
        }
        rest = next;
    }
    found
}

/// The first structure's type and strings, and what follows it; nothing where it is cut off.
fn structure(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind, length, ..] = *bytes else { return None };
    let strings = bytes.get(usize::from(length.max(4))..)?;
    let end = strings.windows(2).position(|pair| pair == [0, 0])?;
    Some((kind, &strings[..end], &strings[end + 2..]))
}

fn decoded(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(vec![0; LONGEST + 1]);
    let length = BASE64_STANDARD
        .decode_slice(text, &mut bytes)
        .map_err(|_| "its SMBIOS string is no base64, or too long".to_owned())?;
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn structure(kind: u8, strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind, 5, 0x34, 0x12, u8::try_from(strings.len()).unwrap()];
        strings.iter().for_each(|string| bytes.extend([string.as_bytes(), b"\0"].concat()));
        bytes.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
        bytes
    }

    #[test]
    fn strings_with_the_prefix_in_every_structure_of_the_type() {
        let ours = "coremax-identity:e30=";
        for (structures, want) in [
            (vec![structure(11, &[ours])], &[Ok(b"{}".to_vec())][..]),
            (
                vec![structure(0, &["a", "b"]), structure(11, &["another", ours])],
                &[Ok(b"{}".to_vec())],
            ),
            (
                vec![structure(1, &[]), structure(11, &[ours, ours])],
                &[Ok(b"{}".to_vec()), Ok(b"{}".to_vec())],
            ),
            (vec![structure(11, &["coremax-identity:%"])], &[Err(())]),
            (vec![structure(11, &["my-coremax-identity:e30="]), structure(1, &[ours])], &[]),
            (vec![structure(127, &[]), structure(11, &[ours])], &[]),
            (vec![], &[]),
        ] {
            let found = documents(&structures.concat()).into_iter();
            let found: Vec<_> =
                found.map(|it| it.map(|bytes| bytes.to_vec()).map_err(|_| ())).collect();
            assert_eq!(found, want, "{structures:?}");
        }
        let whole = structure(11, &[ours]);
        (0..whole.len()).for_each(|length| assert!(documents(&whole[..length]).is_empty()));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..64),
            kind in any::<bool>(),
        ) {
            if let (Some(first), true) = (bytes.first_mut(), kind) {
                *first = OEM_STRINGS;
            }
            documents(&bytes);
        }
    }
}
