//! Which SSH certificates count no more: those of the machines that rows had before, by the generation in their key's id.
//! OpenSSH's list of revoked keys: <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.krl>.
//!
//! The roster says it all, so that whoever has it knows, whether or not the seed is there.

use coremax_node_api::{
    guid::Guid,
    roster::{Name, Roster},
};

const MAGIC: u64 = 0x5353_484b_524c_0a00;
const VERSION: u32 = 1;
const SECTION_CERTIFICATES: u8 = 1;
const SECTION_KEY_IDS: u8 = 0x23;
/// Generations of a row, at most, from the first on and before its last one. Set here: a certificate lasts for 30 days, and no
/// row has more machines meanwhile, however its operator counts them.
const BEFORE_MAX: u32 = 64;

/// What the certificate of a row's machine is called.
pub(crate) fn key_id(cluster: Guid, name: &Name, generation: u32) -> String {
    format!("{cluster}/{name}/{generation}")
}

/// The list, of the roster's epoch.
pub(crate) fn list(roster: &Roster) -> Vec<u8> {
    let ids = roster.nodes.iter().flat_map(|row| {
        let last = row.generation;
        let before = (0..last.min(BEFORE_MAX)).chain(last.saturating_sub(BEFORE_MAX)..last);
        before.map(|generation| key_id(roster.cluster, &row.name, generation))
    });
    let ids: Vec<u8> = ids.flat_map(|id| string(id.as_bytes())).collect();
    // Of any authority, and a field that is reserved.
    let mut certificates = [string(b""), string(b"")].concat();
    if !ids.is_empty() {
        certificates.push(SECTION_KEY_IDS);
        certificates.extend(string(&ids));
    }
    let (made_at, flags) = (0_u64, 0_u64); // the same roster makes the same bytes
    let head = [
        &MAGIC.to_be_bytes()[..],
        &VERSION.to_be_bytes(),
        &roster.epoch.to_be_bytes(),
        &made_at.to_be_bytes(),
        &flags.to_be_bytes(),
        &string(b""),
        &string(b"the machines that rows had before"),
    ];
    [&head.concat()[..], &[SECTION_CERTIFICATES], &string(&certificates)].concat()
}

/// Its length, and it.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}
