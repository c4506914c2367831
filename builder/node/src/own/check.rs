//! What a seed gives is looked at before it is kept: who has the cluster's key could else have this node show to the others
//! what is not its own.

use anyhow::{Context as _, Result, anyhow, ensure};
use coremax_channel::{Papers, Time};
use coremax_node_api::enrol::{Gift, Public, Window};
use ssh_key::{
    Certificate,
    certificate::CertType,
    public::{Ed25519PublicKey, KeyData},
};

use super::{Of, Own};

/// What stands before the 64 bytes of a signature, which is the last string of a certificate: its length, and what it is
/// by. RFC 8709, 6.
const SIGNATURE: [u8; 23] = *b"\0\0\0\x53\0\0\0\x0bssh-ed25519\0\0\0\x40";

/// Whether this gift is what a node of this row and with these keys should be given.
///
/// # Errors
/// It is not: which certificate is wrong, and what of it.
pub(super) fn gift(gift: &Gift, own: &Own, of: &Of<'_>, time: Time) -> Result<()> {
    tls(gift, own, of, time).context("the TLS certificate")?;
    ssh(gift, own, of, time).context("the SSH host certificate")
}

fn tls(gift: &Gift, own: &Own, of: &Of<'_>, time: Time) -> Result<()> {
    let papers = Papers::new(&gift.ca, &gift.certificate, &own.tls, time)?;
    let it = papers.own();
    ensure!(it.is_of(&of.row.name, of.row.address), "its names are not those of {}", of.row.name);
    ensure!(it.node == of.node, "it is of another machine");
    // Certificates know nothing before 1970, where a clock that has no battery begins.
    let valid = Window { from: gift.valid.from.max(0), until: gift.valid.until };
    ensure!(it.valid == valid, "it holds from and until when the gift does not say");
    Ok(())
}

fn ssh(gift: &Gift, own: &Own, of: &Of<'_>, time: Time) -> Result<()> {
    let it = Certificate::from_openssh(gift.ssh_certificate.as_str())?;
    ensure!(it.cert_type() == CertType::Host, "it is none of a host");
    ensure!(*it.public_key() == data(own.ssh), "it is for another key");
    ensure!(*it.signature_key() == data(gift.ssh_hosts), "it is by another authority");
    ensure!(is_signed(&it, gift.ssh_hosts)?, "its signature does not hold");
    let principals = [of.row.name.to_string(), of.row.address.to_string()];
    ensure!(it.valid_principals() == principals, "its names are not those of {}", of.row.name);
    let is_bare = it.critical_options().is_empty() && it.extensions().is_empty();
    ensure!(is_bare, "it has options, which a host's has not");
    let now = u64::try_from(time() / 1000).unwrap_or(0);
    ensure!((it.valid_after()..it.valid_before()).contains(&now), "it does not hold now");
    Ok(())
}

/// The crate looks at no signatures without more crates.
fn is_signed(it: &Certificate, by: Public) -> Result<bool> {
    let bytes = it.to_bytes()?;
    let short = || anyhow!("it is too short");
    let (rest, signature) = bytes.split_last_chunk::<64>().ok_or_else(short)?;
    let signed = rest.strip_suffix(&SIGNATURE);
    Ok(signed.is_some_and(|signed| by.verifies(signed, signature)))
}

fn data(key: Public) -> KeyData {
    KeyData::Ed25519(Ed25519PublicKey(*key.as_bytes()))
}
