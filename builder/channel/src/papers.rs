//! What an end of TLS proves itself with, and what it wants of the other.

use std::{fmt, net::Ipv4Addr, sync::Arc, time::Duration};

use coremax_node_api::{
    enrol::{Der, PKCS8, Secret},
    roster::Name,
    wire,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
};
use zeroize::Zeroizing;

use crate::{Certified, certified::NotANodes};

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Says what time it is, in milliseconds since 1970.
pub type Time = fn() -> i64;

/// A node's certificate with its key, and the authority that others' are by. To be made once for a certificate: all
/// connections share it.
pub struct Papers {
    own: Certified,
    pub(crate) node: Arc<ClientConfig>,
    pub(crate) seed: Arc<ServerConfig>,
}

/// Why a certificate is no use.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotUsable {
    /// It says what no node's does.
    #[error(transparent)]
    NotANodes(#[from] NotANodes),
    /// It is for another key.
    #[error("the certificate is for another key")]
    OtherKey,
    /// It is not by the authority, does not hold now, or is not for both ends of TLS.
    #[error("the certificate does not hold: {0}")]
    Tls(#[from] rustls::Error),
    /// There is nothing that others' could be looked at by.
    #[error("the authority's certificate is none: {0}")]
    Authority(String),
}

impl Papers {
    /// Of a certificate by this authority, which holds now, and its key.
    ///
    /// # Errors
    /// [`NotUsable`], which says why the other end would refuse it.
    pub fn new(
        authority: &Der,
        certificate: &Der,
        key: &Secret,
        time: Time,
    ) -> Result<Self, NotUsable> {
        let own = Certified::read(certificate.as_bytes())?;
        if own.key != key.public() {
            return Err(NotUsable::OtherKey);
        }
        let provider = provider();
        let (nodes, seeds) = verifiers(authority, &provider)?;
        let shown = CertificateDer::from(certificate.as_bytes().to_vec());
        check(&own, &shown, &*nodes, &seeds, time)?;
        let clock: Arc<dyn TimeProvider> = Arc::new(Clock(time));
        let mut node = ClientConfig::builder_with_details(provider.clone(), Arc::clone(&clock))
            .with_protocol_versions(VERSIONS)?
            .with_webpki_verifier(seeds)
            .with_client_auth_cert(vec![shown.clone()], private(key))?;
        node.resumption = Resumption::disabled();
        node.enable_sni = false;
        node.alpn_protocols = vec![wire::ALPN.to_vec()];
        let mut seed = ServerConfig::builder_with_details(provider, clock)
            .with_protocol_versions(VERSIONS)?
            .with_client_cert_verifier(nodes)
            .with_single_cert(vec![shown], private(key))?;
        seed.session_storage = Arc::new(NoServerSessionStorage {});
        seed.send_tls13_tickets = 0;
        seed.alpn_protocols = vec![wire::ALPN.to_vec()];
        Ok(Self { own, node: Arc::new(node), seed: Arc::new(seed) })
    }

    /// What the certificate says.
    pub const fn own(&self) -> &Certified {
        &self.own
    }
}

impl fmt::Debug for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Papers").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The row that a seed has to have: its name and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedRow {
    /// Its name.
    pub name: Name,
    /// Its address, whatever address it is reached by.
    pub address: Ipv4Addr,
}

/// Says when it is as the node does, which may have set no clock of the machine's.
#[derive(Debug)]
struct Clock(Time);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(since_1970((self.0)()))
    }
}

fn since_1970(milliseconds: i64) -> UnixTime {
    let milliseconds = u64::try_from(milliseconds).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_millis(milliseconds))
}

/// No more than two ends of this program need.
fn provider() -> Arc<CryptoProvider> {
    let suites = [
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
    ];
    let kx_groups = vec![ring::kx_group::X25519];
    Arc::new(CryptoProvider {
        cipher_suites: suites.to_vec(),
        kx_groups,
        ..ring::default_provider()
    })
}

type Verifiers = (Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>);

/// What looks at a node's certificate, and at a seed's.
fn verifiers(authority: &Der, provider: &Arc<CryptoProvider>) -> Result<Verifiers, NotUsable> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from(authority.as_bytes());
    roots.add(root).map_err(|error| NotUsable::Authority(error.to_string()))?;
    let roots = Arc::new(roots);
    let broken =
        |error: rustls::server::VerifierBuilderError| NotUsable::Authority(error.to_string());
    let nodes = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .clear_root_hint_subjects() // a node has one authority
        .build()
        .map_err(broken)?;
    let seeds = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
    Ok((nodes, seeds.build().map_err(broken)?))
}

/// Looks at the certificate of this end as both kinds of others would.
fn check(
    own: &Certified,
    shown: &CertificateDer<'_>,
    nodes: &dyn ClientCertVerifier,
    seeds: &WebPkiServerVerifier,
    time: Time,
) -> Result<(), NotUsable> {
    let now = since_1970(time());
    nodes.verify_client_cert(shown, &[], now)?;
    seeds.verify_server_cert(shown, &[], &server(own.address), &[], now)?;
    Ok(())
}

/// An address as rustls has the name of a server.
pub(crate) fn server(address: Ipv4Addr) -> ServerName<'static> {
    ServerName::IpAddress(std::net::IpAddr::V4(address).into())
}

fn private(key: &Secret) -> PrivateKeyDer<'static> {
    let pkcs8 = Zeroizing::new([&PKCS8[..], key.expose()].concat());
    PrivatePkcs8KeyDer::from(pkcs8.to_vec()).into()
}
