//! Firmware that believes one certificate: OVMF's variables with it as platform key, as key-exchange key and in db.
//!
//! ```text
//! 0x00  the header of a firmware volume, its length at 0x30
//! 0x48  the header of a store of authenticated variables: GUID, size, format 0x5a, state 0xfe
//! 0x64  variables, each on 4 bytes: 0x55aa, state 0x3f, attributes, time, sizes of name and data, GUID; name; data
//! ```
//!
//! To be done where there is no firmware to ask: a machine's own is asked in its set-up, or by its own tools.
//! UEFI 2.10, 8.2 and 32.4.1; <https://github.com/tianocore/edk2/blob/master/MdeModulePkg/Include/Guid/VariableFormat.h>

use crate::Error;

/// Where the store's header is.
const STORE: usize = 0x48;
/// Authenticated variables, aaf32c78-947b-439a-a180-2e144ec37792.
const AUTHENTICATED: [u8; 16] =
    guid(0xaaf3_2c78, 0x947b, 0x439a, [0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92]);
const GLOBAL: [u8; 16] =
    guid(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
const IMAGE_SECURITY: [u8; 16] =
    guid(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
const X509: [u8; 16] =
    guid(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
/// Who put the certificate there, a name for people's tools: coremax's own.
const OWNER: [u8; 16] =
    guid(0x6a3e_5f0c, 0x21d4, 0x4b6e, [0x9d, 0x0f, 0x63, 0x6f, 0x72, 0x65, 0x6d, 0x78]);
/// Kept, seen by boot services and at run time, changed with a signature and a later time alone.
const ATTRIBUTES: u32 = 0x27;
/// EFI_TIME of 2020-01-01: what is signed later takes its place.
const TIME: [u8; 16] = [0xe4, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Who must sign what is changed: the platform key's owner, those of key-exchange keys, and what may start.
const VARIABLES: [(&str, [u8; 16]); 3] = [("PK", GLOBAL), ("KEK", GLOBAL), ("db", IMAGE_SECURITY)];

/// The variables of `empty`, in which nobody has enrolled a key, with this certificate (DER).
///
/// # Errors
/// What are no variables of OVMF's, or have no room left.
pub fn enrol(empty: &[u8], certificate: &[u8]) -> Result<Vec<u8>, Error> {
    let mut store = empty.to_vec();
    let (mut at, end) = free(empty)?;
    let list = list(certificate)?;
    for (name, vendor) in VARIABLES {
        let variable = variable(name, &vendor, &list)?;
        let place = store.get_mut(at..at + variable.len()).filter(|_| at + variable.len() <= end);
        place.ok_or(Error::NotAStore("there is no room left"))?.copy_from_slice(&variable);
        at += variable.len().next_multiple_of(4);
    }
    Ok(store)
}

/// Where the first free byte is, and where the store ends.
fn free(store: &[u8]) -> Result<(usize, usize), Error> {
    if store.get(0x28..0x2c) != Some(b"_FVH")
        || store.get(STORE..STORE + 16) != Some(&AUTHENTICATED)
    {
        return Err(Error::NotAStore("there is no store of authenticated variables"));
    }
    let number = |at: usize| {
        let bytes = store.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(u32::from_le_bytes)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or(Error::NotAStore("it is cut off"))
    };
    let end = STORE.saturating_add(number(STORE + 16)?).min(store.len());
    let mut at = STORE + 28;
    while store.get(at..at + 2) == Some(&[0xaa, 0x55]) {
        at = (at + 60)
            .saturating_add(number(at + 36)?)
            .saturating_add(number(at + 40)?)
            .next_multiple_of(4);
    }
    Ok((at, end))
}

/// EFI_SIGNATURE_LIST of one certificate.
fn list(certificate: &[u8]) -> Result<Vec<u8>, Error> {
    let size = |more: usize| {
        u32::try_from(certificate.len() + more)
            .map_err(|_| Error::TooLarge("the certificate".into()))
    };
    let sizes = [size(16 + 28)?, 0, size(16)?].map(u32::to_le_bytes).concat();
    Ok([&X509[..], &sizes, &OWNER, certificate].concat())
}

fn variable(name: &str, vendor: &[u8; 16], data: &[u8]) -> Result<Vec<u8>, Error> {
    let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let size = |bytes: &[u8]| {
        u32::try_from(bytes.len())
            .map(u32::to_le_bytes)
            .map_err(|_| Error::TooLarge("a variable".into()))
    };
    let (count, key) = ([0; 8], [0; 4]);
    let head: [&[u8]; 9] = [
        &[0xaa, 0x55, 0x3f, 0],
        &ATTRIBUTES.to_le_bytes(),
        &count,
        &TIME,
        &key,
        &size(&name)?,
        &size(data)?,
        vendor,
        &name,
    ];
    Ok([&head.concat(), data].concat())
}

const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> [u8; 16] {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) =
        (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    [a0, a1, a2, a3, b0, b1, c0, c1, d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As OVMF_VARS_4M.fd begins, with room for `room` bytes of variables.
    fn empty(room: usize) -> Vec<u8> {
        let mut store = vec![0; STORE + 28];
        store[0x28..0x2c].copy_from_slice(b"_FVH");
        store[STORE..STORE + 16].copy_from_slice(&AUTHENTICATED);
        let size = u32::try_from(28 + room).unwrap();
        store[STORE + 16..STORE + 20].copy_from_slice(&size.to_le_bytes());
        store.resize(STORE + 28 + room, 0xff);
        store
    }

    #[test]
    fn three_variables_with_the_certificate() {
        let enrolled = enrol(&empty(4000), &[7; 801]).unwrap();
        let (end, _) = free(&enrolled).unwrap();
        let names = ["P\0K\0\0\0", "K\0E\0K\0\0\0", "d\0b\0\0\0"];
        let sizes = names.map(|name| (60 + name.len() + 28 + 16 + 801).next_multiple_of(4));
        assert_eq!(end, STORE + 28 + sizes.iter().sum::<usize>());
        let text = |name: &str| enrolled.windows(name.len()).any(|bytes| bytes == name.as_bytes());
        assert!(names.iter().all(|name| text(name)));
        assert!(enrolled[end..].iter().all(|&byte| byte == 0xff));
    }

    #[test]
    fn what_is_no_store_is_refused() {
        assert!(matches!(
            enrol(&empty(900), &[7; 801]),
            Err(Error::NotAStore("there is no room left"))
        ));
        for bad in [vec![], vec![0; 4096], empty(0)] {
            assert!(matches!(enrol(&bad, b"x"), Err(Error::NotAStore(_))));
        }
    }
}
