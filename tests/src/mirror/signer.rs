//! Who signs an archive made for a test.

use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder,
        SignedPublicKey, SignedSecretKey,
    },
    types::Password,
};

/// A key for archives.
pub struct Signer(SignedSecretKey);

impl Default for Signer {
    fn default() -> Self {
        Self::new()
    }
}

impl Signer {
    /// A new key.
    ///
    /// # Panics
    /// If none can be made.
    pub fn new() -> Self {
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .primary_user_id("Test archive <archive@mirror.example>".into())
            .build()
            .expect("what a key is made of");
        Self(params.generate(rand::thread_rng()).expect("a key"))
    }

    /// The public key, armored.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn public(&self) -> Vec<u8> {
        let public = SignedPublicKey::from(self.0.clone());
        public.to_armored_bytes(ArmorOptions::default()).expect("an armored key")
    }

    /// A text with its signature, as an InRelease has it.
    ///
    /// # Panics
    /// If it cannot be signed.
    pub fn sign(&self, text: &str) -> String {
        let message = CleartextSignedMessage::sign(
            rand::thread_rng(),
            text,
            &self.0.primary_key,
            &Password::empty(),
        );
        let message = message.expect("a signature");
        message.to_armored_string(ArmorOptions::default()).expect("an armored message")
    }
}
