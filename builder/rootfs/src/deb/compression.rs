//! The compressions that a .deb's members may have.

use std::io::{self, BufReader, Read};

use liblzma::stream::{IGNORE_CHECK, Stream};

use super::invalid;

/// The most memory an xz stream may ask for. Set by xz itself: -9, its highest preset, needs 65 MiB.
const MAX_XZ_MEMORY: u64 = 96 << 20;
/// The most memory a zstd stream may ask for, as a power of two. Set by zstd itself: what it decodes
/// unless told otherwise, and what every preset up to --ultra -22 keeps to.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// How much of the file is read at a time.
const READ_BYTES: usize = 256 << 10;

/// The plain bytes of `packed`, by what follows `.tar` in the member's name.
pub(super) fn decoder(
    suffix: &str,
    packed: impl Read + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    let packed = BufReader::with_capacity(READ_BYTES, packed);
    Ok(match suffix {
        "" => Box::new(packed),
        ".gz" => Box::new(flate2::bufread::GzDecoder::new(packed)),
        ".xz" => {
            // The whole file has been compared with its digest, which says more than the stream's own CRC.
            let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY, IGNORE_CHECK)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
        ".zst" => {
            let mut decoder = zstd::Decoder::with_buffer(packed)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        other => {
            let other = other.trim_start_matches('.');
            return Err(invalid(format!("it is compressed by {other}, which is not supported")));
        }
    })
}
