//! Fields of a structure on disk.

/// The bytes at a place, where the structure is so long.
pub(crate) fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..)?.first_chunk::<N>().copied()
}

/// Puts bytes at a place, which must be inside.
pub(crate) fn put(bytes: &mut [u8], place: usize, value: &[u8]) {
    bytes[place..place + value.len()].copy_from_slice(value);
}
