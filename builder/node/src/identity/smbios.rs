//! Strings of an SMBIOS structure of type 11, DSP0134 3.7, chapters 6.1 and 7.12.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use coremax_node_api::identity::SMBIOS;

/// The document among a structure's strings, if one of them has our prefix; or that it is no base64.
pub(crate) fn document(structure: &[u8]) -> Option<Result<Vec<u8>, String>> {
    // Byte 1 is the length of the part before the strings, which end each with a NUL, and all with another.
    let formatted = usize::from(*structure.get(1)?);
    let strings = structure.get(formatted..)?.split(|&byte| byte == 0);
    let text =
        strings.take_while(|s| !s.is_empty()).find_map(|s| s.strip_prefix(SMBIOS.as_bytes()))?;
    Some(BASE64_STANDARD.decode(text).map_err(|_| "it is no base64".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn structure(strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![11, 5, 0x34, 0x12, u8::try_from(strings.len()).unwrap()];
        strings.iter().for_each(|string| bytes.extend([string.as_bytes(), b"\0"].concat()));
        bytes.push(0);
        bytes
    }

    #[test]
    fn the_string_with_the_prefix() {
        for (strings, want) in [
            (&["coremax-identity:e30="][..], Some(Ok(b"{}".to_vec()))),
            (&["io.systemd.credential:a=b", "coremax-identity:e30="], Some(Ok(b"{}".to_vec()))),
            (&["coremax-identity:%"], Some(Err("it is no base64".to_owned()))),
            (&["my-coremax-identity:e30="], None),
            (&[], None),
        ] {
            assert_eq!(document(&structure(strings)), want, "{strings:?}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            document(&bytes);
        }
    }
}
