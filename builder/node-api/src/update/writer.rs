//! Writes what stands before an update's parts.

use super::{Error, FORMAT, HEADER, MAGIC, Manifest, UNSIGNED, key::SecretKey, message};

/// Header, manifest and signature of an update. The carried parts follow, in the manifest's order.
///
/// # Errors
/// A manifest that no node would read.
pub fn head(manifest: &Manifest, key: &SecretKey) -> Result<Vec<u8>, Error> {
    signed(&manifest.encode()?, key)
}

/// The same without a signature: every node refuses it, and says why.
///
/// # Errors
/// A manifest that no node would read.
pub fn unsigned_head(manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let manifest = manifest.encode()?;
    let header = header(UNSIGNED, &manifest)?;
    Ok([&header[..], &manifest, &[0; super::SIGNATURE]].concat())
}

/// A head with any bytes for a manifest.
pub(super) fn signed(manifest: &[u8], key: &SecretKey) -> Result<Vec<u8>, Error> {
    let header = header(key.public().id().0, manifest)?;
    let signature = key.sign(&message(&header, manifest));
    Ok([&header[..], manifest, &signature].concat())
}

fn header(key: [u8; 8], manifest: &[u8]) -> Result<[u8; HEADER], Error> {
    let length = u32::try_from(manifest.len())
        .map_err(|_| Error::ManifestTooLong { length: manifest.len() })?;
    let mut header = [0; HEADER];
    header[..16].copy_from_slice(&MAGIC);
    header[16..20].copy_from_slice(&FORMAT.to_le_bytes());
    header[20..24].copy_from_slice(&length.to_le_bytes());
    header[24..].copy_from_slice(&key);
    Ok(header)
}
