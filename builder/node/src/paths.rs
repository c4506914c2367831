//! Where a joined node has what its cluster's files name.

/// The cluster's X.509 authority.
pub(crate) const TLS_CA: &str = "/var/lib/coremax/tls/ca.pem";
/// The node's certificate by it.
pub(crate) const TLS_CERTIFICATE: &str = "/var/lib/coremax/tls/node.pem";
/// The key of that, root's alone.
pub(crate) const TLS_KEY: &str = "/var/lib/coremax/tls/node.key";
/// What the seed gave, as it came.
pub(crate) const GIFT: &str = "/var/lib/coremax/gift.json";
/// The seed's secrets, root's alone.
pub(crate) const AUTHORITY: &str = "/var/lib/coremax/authority/keys";
/// The key that the seed deploys with, its certificate beside it.
pub(crate) const DEPLOY_KEY: &str = "/var/lib/coremax/authority/deploy";
/// Ansible's inventories.
pub(crate) const INVENTORIES: &str = "/var/lib/coremax/inventory";
/// The journal of the deployment, what its steps said, and its lock.
pub(crate) const DEPLOY: &str = "/var/lib/coremax/deploy";
/// Whom its steps are for: a name a line, for Ansible's `--limit @`.
pub(crate) const DEPLOY_LIMIT: &str = "/var/lib/coremax/deploy/limit";
/// What the node says of itself to anybody.
pub(crate) const STATUS: &str = "/run/coremax/cluster-status.json";
/// Where it says the same to whoever connects.
pub(crate) const STATUS_SOCKET: &str = "/run/coremax/status.sock";
/// The signed roster, on the seed.
pub(crate) const ROSTER: &str = "/var/lib/coremax/cluster.coremax-roster";
/// The public half of the machine's SSH host key.
pub(crate) const SSH_HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
