//! JSON lines: one value a line, ended by a line feed. See <https://jsonlines.org>.

use serde::{Serialize, de::DeserializeOwned};

/// The longest line either side accepts, in bytes. Set by this protocol: some thousand
/// expectations or checks with their details fit, and a guest cannot fill the tester's memory.
pub const LINE_MAX: usize = 1 << 20;

/// A line that is not a message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than [`LINE_MAX`].
    #[error("a message of {length} bytes, where {LINE_MAX} are allowed")]
    TooLong {
        /// Bytes in the line.
        length: usize,
    },
    /// Not JSON, or not of the expected form.
    #[error("reading a message")]
    Malformed(#[source] serde_json::Error),
    /// A value that has no JSON form.
    #[error("writing a message")]
    Unwritable(#[source] serde_json::Error),
}

/// Reads one message from a line, with or without its line feed. Never panics.
///
/// # Errors
/// [`Error::TooLong`] and [`Error::Malformed`].
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, Error> {
    if line.len() > LINE_MAX {
        return Err(Error::TooLong { length: line.len() });
    }
    serde_json::from_slice(line).map_err(Error::Malformed)
}

/// Writes one message as a line with its line feed.
///
/// # Errors
/// [`Error::TooLong`] for what the other side would refuse.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(message).map_err(Error::Unwritable)?;
    line.push(b'\n');
    if line.len() > LINE_MAX {
        return Err(Error::TooLong { length: line.len() });
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_too_long_is_refused_both_ways() {
        let long = "x".repeat(LINE_MAX);
        assert!(matches!(encode(&long), Err(Error::TooLong { .. })));
        assert!(matches!(decode::<String>(&vec![b' '; LINE_MAX + 1]), Err(Error::TooLong { .. })));
    }
}
