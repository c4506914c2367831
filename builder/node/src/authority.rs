//! The cluster's private authority, on its seed alone: who is which node, for TLS and for SSH.
//!
//! Four Ed25519 keys, made once: the X.509 authority, the SSH authority of hosts, that of users, and the key that the
//! seed deploys with. A certificate has the names of the roster's row and its machine's key, and nothing else. The X.509 authority's own
//! certificate is the same bytes whenever it is made, and holds at any date: the seed's clock may be off by decades
//! when its cluster begins. What holds for a time only are the certificates it gives ([`Window`]).
//!
//! Nobody is revoked here. A machine that was replaced gets nothing more, and what it has ends within 30 days; in
//! between it passes for the row's name and address wherever it can answer at that address.

mod keys;
mod ssh;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls;
mod x509;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use coremax_node_api::{
    enrol::{self, Gift, Request, Window},
    guid::Guid,
    join::{Digest, NodeKey},
    roster::Node,
};
use zeroize::Zeroizing;

use self::keys::Keys;
#[cfg(test)]
pub(crate) use self::ssh::signed as sign_ssh;
use crate::{durable::replace, paths, prepare::within};

/// What certificates are given by.
pub(crate) struct Authority {
    cluster: Guid,
    keys: Keys,
    ca: enrol::Der,
}

impl Authority {
    /// That of this cluster, below `root`; made here and now where the machine has none yet.
    ///
    /// # Errors
    /// Where its file cannot be read or made, is damaged, or is another cluster's. It is never made anew then: nodes
    /// would trust neither.
    pub(crate) fn open(root: &Path, cluster: Guid) -> Result<Self> {
        Self::at(&within(root, paths::AUTHORITY), cluster)
    }

    pub(crate) fn at(path: &Path, cluster: Guid) -> Result<Self> {
        let keys = keys::open(path, cluster)
            .with_context(|| format!("opening the cluster's authority in {}", path.display()))?;
        let ca =
            x509::authority(&keys.ca, cluster).context("making the authority's certificate")?;
        Ok(Self { cluster, keys, ca })
    }

    /// The certificates of the node that has this row, where its request says that they are due; `node` is the key that
    /// the channel has proven, `now` the seed's clock in milliseconds since 1970.
    ///
    /// # Errors
    /// A request without a proof, and a time that no certificate can have.
    pub(crate) fn gift(
        &self,
        row: &Node,
        node: NodeKey,
        request: &Request,
        now: i64,
    ) -> Result<Option<Gift>> {
        ensure!(
            request.is_proven(self.cluster, node),
            "{}'s request does not prove that it has the key it names",
            row.name
        );
        if !request.is_due(self.digest(), now) {
            return Ok(None);
        }
        let valid = Window::at(now);
        let about = || format!("certifying {}", row.name);
        let certificate = x509::node(&self.keys.ca, self.cluster, (row, node), request.tls, valid)
            .with_context(about)?;
        let ssh_certificate = ssh::host(&self.keys.hosts, self.cluster, row, request.ssh, valid)
            .with_context(about)?;
        Ok(Some(Gift {
            ca: self.ca.clone(),
            certificate,
            ssh_hosts: self.keys.hosts.public(),
            ssh_users: self.keys.users.public(),
            ssh_certificate,
            valid,
        }))
    }

    /// Puts the key that the seed deploys with beside the authority, with a certificate for 30 days that lets it in as
    /// root on every node, from the seed's address alone. To be called at a start and at least once a week: what is
    /// there and holds stays.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub(crate) fn furnish(&self, root: &Path, seed: &Node, now: i64) -> Result<()> {
        self.furnish_at(&within(root, paths::DEPLOY_KEY), seed, now)
    }

    fn furnish_at(&self, path: &Path, seed: &Node, now: i64) -> Result<()> {
        let key = ssh::private(&self.keys.deploy).context("writing the key to deploy with")?;
        let put = |path: &Path, mode, text: &str| match std::fs::read(path).map(Zeroizing::new) {
            Ok(found) if *found == text.as_bytes() => Ok(()),
            _ => replace(path, text.as_bytes(), mode)
                .with_context(|| format!("writing {}", path.display())),
        };
        put(path, 0o600, &key)?;
        let beside = path.with_file_name("deploy-cert.pub");
        let there = std::fs::read_to_string(&beside).unwrap_or_default();
        let user = ssh::User { authority: &self.keys.users, key: self.keys.deploy.public(), seed };
        if user.is_due(&there, now) {
            let certificate = user.certificate(Window::at(now)).context("certifying that key")?;
            put(&beside, 0o644, &format!("{}\n", certificate.as_str()))?;
        }
        Ok(())
    }

    fn digest(&self) -> Digest {
        enrol::authority(&self.ca, self.keys.hosts.public(), self.keys.users.public())
    }
}
