//! The beacon's datagram.

use super::{Error, HEAD, VERSION, field, head};
use crate::join::Beacon;

const WHAT: &str = "beacon";
const MAGIC: [u8; 8] = *b"coremaxB";
const LENGTH: usize = 52;

/// The datagram that says this.
pub fn encode_beacon(beacon: &Beacon) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..HEAD].copy_from_slice(&VERSION.to_be_bytes());
    bytes[HEAD..42].copy_from_slice(&beacon.cluster);
    bytes[42..50].copy_from_slice(&beacon.epoch.to_be_bytes());
    bytes[50..].copy_from_slice(&beacon.port.to_be_bytes());
    bytes
}

/// What a datagram says.
///
/// # Errors
/// [`Error::NotOurs`], [`Error::OtherVersion`], [`Error::Length`], and [`Error::Value`] for port 0.
pub fn decode_beacon(bytes: &[u8]) -> Result<Beacon, Error> {
    head(bytes, MAGIC, WHAT)?;
    if bytes.len() != LENGTH {
        return Err(Error::Length { what: WHAT, length: bytes.len(), allowed: LENGTH });
    }
    match u16::from_be_bytes(field(bytes, 50)) {
        0 => Err(Error::Value { what: WHAT, value: 0 }),
        port => {
            let epoch = u64::from_be_bytes(field(bytes, 42));
            Ok(Beacon { cluster: field(bytes, HEAD), epoch, port })
        }
    }
}
