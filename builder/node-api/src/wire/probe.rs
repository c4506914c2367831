//! The probe's datagram.

use super::{Error, HEAD, VERSION, field, head};

const WHAT: &str = "probe";
const MAGIC: [u8; 8] = *b"coremaxP";
/// Bytes before the padding.
const SAID: usize = 51;
/// Bytes of an IPv4 header without options (RFC 791), and of UDP's (RFC 768).
const HEADERS: u16 = 20 + 8;
const ASKS: u8 = 0;
const ANSWERS: u8 = 1;

/// Asks whether another node is reached, or says that it is, in an IP packet as long as the roster's MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// [`cluster_hash`](crate::join::cluster_hash).
    pub cluster: [u8; 32],
    /// Whether it answers one.
    pub is_answer: bool,
    /// Random; the answer's is the same.
    pub nonce: u64,
}

/// The datagram of a probe, where the roster has this MTU.
pub fn encode_probe(probe: &Probe, mtu: u16) -> Vec<u8> {
    let mut bytes = vec![0; probe_length(mtu)];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..HEAD].copy_from_slice(&VERSION.to_be_bytes());
    bytes[HEAD..42].copy_from_slice(&probe.cluster);
    bytes[42] = if probe.is_answer { ANSWERS } else { ASKS };
    bytes[43..SAID].copy_from_slice(&probe.nonce.to_be_bytes());
    bytes
}

/// The probe that a datagram is, where the roster has this MTU.
///
/// # Errors
/// [`Error::NotOurs`], [`Error::OtherVersion`], [`Error::Length`] for one that is not as long as the MTU says, and
/// [`Error::Value`] for a kind that means nothing and for padding that is not zero.
pub fn decode_probe(bytes: &[u8], mtu: u16) -> Result<Probe, Error> {
    head(bytes, MAGIC, WHAT)?;
    let allowed = probe_length(mtu);
    if bytes.len() != allowed {
        return Err(Error::Length { what: WHAT, length: bytes.len(), allowed });
    }
    let odd = bytes[SAID..].iter().find(|byte| **byte != 0);
    let odd = odd.or(Some(&bytes[42]).filter(|kind| **kind > ANSWERS));
    match odd {
        Some(value) => Err(Error::Value { what: WHAT, value: u64::from(*value) }),
        None => Ok(Probe {
            cluster: field(bytes, HEAD),
            is_answer: bytes[42] == ANSWERS,
            nonce: u64::from_be_bytes(field(bytes, 43)),
        }),
    }
}

/// Bytes of its datagram.
fn probe_length(mtu: u16) -> usize {
    usize::from(mtu.saturating_sub(HEADERS)).max(SAID)
}
