//! What an end of a channel proves itself with.

use std::fmt;

use coremax_node_api::{
    guid::Guid,
    hex,
    identity::{Key, KeyId},
    join::NodeKey,
};
use snow::{
    params::DHChoice,
    resolvers::{CryptoResolver as _, DefaultResolver},
};
use zeroize::Zeroizing;

/// A machine's own secret: an X25519 private key. It is cleared when it is dropped, and never shown.
#[derive(Clone)]
pub struct Secret {
    private: Zeroizing<[u8; 32]>,
    public: NodeKey,
}

/// A text that is no secret. Never a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a node's secret: 64 hex digits")]
pub struct NotASecret;

/// All that an end needs.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Which cluster.
    pub cluster: Guid,
    /// The machine's own.
    pub secret: Secret,
    /// The keys of the cluster by their ids, none twice: a node proves that it has the first, a seed knows all, and those of
    /// single machines that come of one of them.
    pub keys: Vec<(KeyId, Key)>,
}

impl Secret {
    /// A new one, from the kernel's random bytes.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn generate() -> Result<Self, snow::Error> {
        let mut private = Zeroizing::new([0; 32]);
        let mut random = DefaultResolver.resolve_rng().ok_or(snow::Error::Rng)?;
        random.try_fill_bytes(&mut *private)?;
        Ok(Self::new(private))
    }

    /// The one of these bytes.
    #[expect(clippy::missing_panics_doc, reason = "the curve is compiled in")]
    pub fn new(private: Zeroizing<[u8; 32]>) -> Self {
        #[expect(clippy::expect_used, reason = "the curve is compiled in")]
        let mut curve = DefaultResolver.resolve_dh(&DHChoice::Curve25519).expect("Curve25519");
        curve.set(&*private);
        let mut public = [0; 32];
        public.copy_from_slice(curve.pubkey());
        Self { private, public: NodeKey(public) }
    }

    /// What others know it by.
    pub const fn public(&self) -> NodeKey {
        self.public
    }

    /// Its bytes, for the handshake alone.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.private
    }

    /// Its text, for the machine's own disk: 64 lower-case hex digits and a line feed.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = hex::encode_secret(&*self.private);
        text.push('\n');
        text
    }

    /// What [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// [`NotASecret`] for any other text.
    pub fn parse(text: &[u8]) -> Result<Self, NotASecret> {
        let digits = text.strip_suffix(b"\n").and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(hex::decode_secret).map(Self::new).ok_or(NotASecret)
    }
}

impl Credentials {
    /// The key of this id.
    pub(crate) fn key(&self, id: KeyId) -> Option<Key> {
        self.keys.iter().find(|(known, _)| *known == id).map(|(_, key)| key.clone())
    }

    /// The key of this id where it is one machine's.
    pub(crate) fn key_of_machine(&self, id: KeyId) -> Option<Key> {
        self.keys.iter().find_map(|(_, key)| key.of_machine(id))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(.., {:?})", self.public)
    }
}
