//! What can go wrong.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program for UEFI was expected, and this is none.
    #[error("this is no program for 64-bit UEFI: {0}")]
    NotPe(&'static str),
    /// The stub's header is full.
    #[error("the stub has no room for {sections} more sections in its header")]
    NoRoom {
        /// How many were to be added.
        sections: usize,
    },
    /// A part does not fit into what 32 bits count.
    #[error("{0} is too large for a program of UEFI")]
    TooLarge(String),
    /// A section has a name that the format cannot hold.
    #[error("{0:?} is no name of a section: it has 1 to 8 characters")]
    Name(String),
    /// The private key cannot be read.
    #[error("this is no private RSA key in PEM (PKCS #8)")]
    Key(#[source] rsa::pkcs8::Error),
    /// The certificate cannot be read.
    #[error("this is no X.509 certificate in PEM")]
    Certificate(#[source] der::Error),
    /// Key and certificate are not a pair.
    #[error("the certificate is not of this key")]
    NotAPair,
    /// A key cannot be made.
    #[error("making a key of {bits} bits")]
    Generate {
        /// Its length.
        bits: usize,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A signature cannot be made.
    #[error("signing")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The firmware's variables are of another form.
    #[error("these are no variables of OVMF's: {0}")]
    NotAStore(&'static str),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::Key(_) | Self::Certificate(_) | Self::NotAPair).then(|| {
            "`coremax key new --secure-boot FILE` makes a key and its certificate".to_owned()
        })
    }
}
