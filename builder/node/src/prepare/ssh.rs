//! Who this node takes others for, and whom it lets in: ssh_config(5), sshd_config(5), and sshd(8), SSH_KNOWN_HOSTS.
//!
//! A host is known by the host CA, under its name and address in the roster and no other. Who has a certificate of the
//! user CA logs in as the user that the certificate names. No key of a single host or user is written anywhere. A machine
//! that was replaced is no host of its name any more, though its certificate has not ended.

use super::{Facts, File, Reader, revoked};
use crate::paths;

const FOLDER: &str = "/etc/ssh";
const REVOKED: &str = "/etc/ssh/coremax-revoked";
const HEAD: &str = "# Written by coremax-node; changes are lost.\n";

pub(super) fn files(facts: &Facts<'_>) -> Vec<File> {
    let gift = facts.gift;
    let ssh =
        |name: &str, text: String, reader| File::new(format!("{FOLDER}/{name}"), text, reader);
    let certificate = format!("{}\n", gift.ssh_certificate.as_str());
    vec![
        ssh("ssh_known_hosts", known_hosts(facts), Reader::Nobody),
        File::new(REVOKED, revoked::list(facts.roster), Reader::Nobody),
        ssh("ssh_config.d/05-coremax-hosts.conf", hosts(), Reader::Nobody),
        ssh("coremax-user-ca.pub", format!("{}\n", gift.ssh_users.to_ssh()), Reader::Ssh),
        ssh("ssh_host_ed25519_key-cert.pub", certificate, Reader::Ssh),
        ssh("sshd_config.d/05-coremax.conf", config(), Reader::Ssh),
        File::new(paths::TLS_CA, gift.ca.to_pem(), Reader::Nobody),
        File::new(paths::TLS_CERTIFICATE, gift.certificate.to_pem(), Reader::Nobody),
    ]
}

fn known_hosts(facts: &Facts<'_>) -> String {
    let nodes = facts.roster.nodes.iter();
    let names: Vec<_> = nodes.map(|node| format!("{},{}", node.name, node.address)).collect();
    format!("@cert-authority {} {}\n", names.join(","), facts.gift.ssh_hosts.to_ssh())
}

/// Without the list ssh believes no host; it is written before this.
fn hosts() -> String {
    format!("{HEAD}RevokedHostKeys {REVOKED}\n")
}

/// The host key itself is named by the image.
fn config() -> String {
    format!(
        "{HEAD}HostCertificate {FOLDER}/ssh_host_ed25519_key-cert.pub\n\
         TrustedUserCAKeys {FOLDER}/coremax-user-ca.pub\n"
    )
}
