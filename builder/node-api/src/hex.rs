//! Bytes as hexadecimal digits.

use zeroize::Zeroizing;

/// Two lower-case digits a byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of digits in either case; nothing for any other text.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits.filter(|digits| digits.len() % 2 == 0)?;
    pairs.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

/// The same of 32 bytes, which have 64 digits.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}

/// A secret's lower-case digits, two a byte; cleared when they are dropped.
pub fn encode_secret(bytes: &[u8]) -> Zeroizing<String> {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    // With room for a line feed: a text that moved would leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len() + 1));
    bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(byte & 15)]));
    text
}

/// What [`encode_secret`] wrote of so many bytes, cleared when they are dropped; nothing for any other text.
pub fn decode_secret<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// A SHA-256 as its digits, for serde.
pub(crate) mod digest {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(digest: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::encode(digest))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let wrong = || de::Error::custom("a digest has 64 hex digits");
        super::decode_32(&String::deserialize(from)?).ok_or_else(wrong)
    }

    /// The same of one that may be missing.
    pub(crate) mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Digest(#[serde(with = "super")] [u8; 32]);

        pub(crate) fn serialize<S: Serializer>(
            digest: &Option<[u8; 32]>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            digest.map(Digest).serialize(to)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<[u8; 32]>, D::Error> {
            Ok(Option::<Digest>::deserialize(from)?.map(|digest| digest.0))
        }
    }
}
