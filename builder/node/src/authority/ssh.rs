//! SSH certificates: <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.certkeys>.

use anyhow::{Result, anyhow};
use coremax_node_api::{
    enrol::{Public, Secret, SshCertificate, Window},
    guid::Guid,
    roster::Node,
};
use ssh_key::{
    Algorithm, Certificate, LineEnding, PrivateKey, Signature,
    certificate::{Builder, CertType},
    private::{Ed25519Keypair, Ed25519PrivateKey},
    public::{Ed25519PublicKey, KeyData},
};
use zeroize::Zeroizing;

use crate::{prepare::revoked, random};

/// Whom the deployment logs in as.
const LOGIN: &str = "root";

/// The key that the seed deploys with, and what its certificate is by.
pub(super) struct User<'a> {
    pub(super) authority: &'a Secret,
    pub(super) key: Public,
    pub(super) seed: &'a Node,
}

/// Signs as that crate wants it.
struct Signer<'a>(&'a Secret);

/// A host's certificate: it is its row's name and address.
pub(super) fn host(
    authority: &Secret,
    cluster: Guid,
    row: &Node,
    key: Public,
    valid: Window,
) -> Result<SshCertificate> {
    let mut builder = builder(key, valid)?;
    builder.cert_type(CertType::Host)?;
    builder.key_id(revoked::key_id(cluster, &row.name, row.generation))?;
    builder.valid_principal(row.name.to_string())?;
    builder.valid_principal(row.address.to_string())?;
    signed(builder, authority)
}

impl User<'_> {
    /// Lets in from the seed's address, with a terminal and nothing else: no forwarding of ports, agents or X11, and no
    /// file of the user's that sshd would run.
    pub(super) fn certificate(&self, valid: Window) -> Result<SshCertificate> {
        let mut builder = builder(self.key, valid)?;
        builder.cert_type(CertType::User)?;
        builder.key_id(format!("coremax-deploy@{}", self.seed.name))?;
        builder.valid_principal(LOGIN)?;
        builder.critical_option("source-address", self.from())?;
        builder.extension("permit-pty", "")?;
        signed(builder, self.authority)
    }

    /// Whether another one is to be made than this text: it ends soon, or is another one's.
    pub(super) fn is_due(&self, text: &str, now: i64) -> bool {
        let Ok(there) = Certificate::from_openssh(text.trim_end()) else { return true };
        let time = |seconds: u64| i64::try_from(seconds).ok()?.checked_mul(1000);
        let window = time(there.valid_after())
            .zip(time(there.valid_before()))
            .map(|(from, until)| Window { from, until });
        let from = there.critical_options().get("source-address");
        let is_ours = *there.signature_key() == data(self.authority.public())
            && *there.public_key() == data(self.key)
            && from.is_some_and(|from| *from == self.from());
        !is_ours || window.is_none_or(|window| window.is_due(now))
    }

    fn from(&self) -> String {
        format!("{}/32", self.seed.address)
    }
}

/// A secret key as OpenSSH has it in a file.
pub(super) fn private(key: &Secret) -> Result<Zeroizing<String>> {
    let pair = Ed25519Keypair {
        public: Ed25519PublicKey(*key.public().as_bytes()),
        private: Ed25519PrivateKey::from_bytes(key.expose()),
    };
    Ok(PrivateKey::from(pair).to_openssh(LineEnding::LF)?)
}

fn builder(key: Public, valid: Window) -> Result<Builder> {
    let mut random = [0; 24];
    random::fill(&mut random)?;
    let (nonce, serial) = random.split_at(16);
    let seconds = |time: i64| u64::try_from(time / 1000).unwrap_or(0);
    let (after, before) = (seconds(valid.from), seconds(valid.until));
    let mut builder = Builder::new(nonce, data(key), after, before)?;
    builder.serial(serial.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))?;
    Ok(builder)
}

pub(crate) fn signed(builder: Builder, authority: &Secret) -> Result<SshCertificate> {
    let text = builder.sign(&Signer(authority))?.to_openssh()?;
    SshCertificate::try_from(text).map_err(|error| anyhow!("the certificate: {error}"))
}

fn data(key: Public) -> KeyData {
    KeyData::Ed25519(Ed25519PublicKey(*key.as_bytes()))
}

impl From<&Signer<'_>> for KeyData {
    fn from(signer: &Signer<'_>) -> Self {
        data(signer.0.public())
    }
}

impl signature::Signer<Signature> for Signer<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        Signature::new(Algorithm::Ed25519, self.0.sign(message))
            .map_err(|_| signature::Error::new())
    }
}
