//! The ar archive around a .deb, as deb(5) restricts it.
//!
//! "!<arch>\n", then for each member a header of 60 bytes (name 16, mtime 12, uid 6, gid 6, mode 8,
//! size 10, all text padded with blanks, and "`\n") and its bytes, padded to an even length.
//! No long names and no symbol table, which is why no general reader of ar archives is used.

use std::io::{self, Read, Seek, SeekFrom};

use super::invalid;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;
/// The most members looked at before giving up. Set here: a .deb has three.
const MAX_MEMBERS: usize = 64;
/// The most that `debian-binary` may hold. Set here: "2.0\n" is all that was ever used.
const MAX_VERSION_BYTES: u64 = 64;

/// Finds the member whose name begins with `stem`, and leaves the reader at its first byte.
/// Returns the whole name and the size in bytes.
pub(super) fn find(deb: &mut (impl Read + Seek), stem: &str) -> io::Result<(String, u64)> {
    let mut magic = [0; MAGIC.len()];
    deb.read_exact(&mut magic).map_err(|_| invalid("it is no ar archive"))?;
    if &magic != MAGIC {
        return Err(invalid("it is no ar archive"));
    }
    check_version(deb)?;
    for _ in 0..MAX_MEMBERS {
        let Some((name, size)) = next_member(deb)? else { break };
        if name.starts_with(stem) {
            check_whole(deb, size)?;
            return Ok((name, size));
        }
        forward(deb, size.saturating_add(size % 2))?;
    }
    Err(invalid(format!("there is no {stem} in it")))
}

/// The first member must be `debian-binary`, and the format's major version 2.
fn check_version(deb: &mut (impl Read + Seek)) -> io::Result<()> {
    let first = next_member(deb)?;
    let Some(("debian-binary", size)) = first.as_ref().map(|(name, size)| (name.as_str(), *size))
    else {
        return Err(invalid("its first member is not debian-binary"));
    };
    let mut version = Vec::new();
    deb.take(size.min(MAX_VERSION_BYTES)).read_to_end(&mut version)?;
    if !version.starts_with(b"2.") || size > MAX_VERSION_BYTES {
        let version = String::from_utf8_lossy(&version).trim().to_owned();
        return Err(invalid(format!("it has the format version {version}, not 2.0")));
    }
    forward(deb, size % 2)
}

/// A tar file that is not compressed does not tell where it was cut.
fn check_whole(deb: &mut impl Seek, size: u64) -> io::Result<()> {
    let here = deb.stream_position()?;
    let end = deb.seek(SeekFrom::End(0))?;
    deb.seek(SeekFrom::Start(here))?;
    if end.saturating_sub(here) < size {
        return Err(invalid("it is cut short"));
    }
    Ok(())
}

fn forward(deb: &mut impl Seek, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(|_| invalid("a member's size is wrong"))?;
    deb.seek(SeekFrom::Current(bytes)).map(drop)
}

fn next_member(deb: &mut impl Read) -> io::Result<Option<(String, u64)>> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    deb.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(None);
    }
    let text = str::from_utf8(&header).ok().filter(|text| text.is_ascii());
    let (Some(text), HEADER_BYTES) = (text, header.len()) else {
        return Err(invalid("a member's header is damaged"));
    };
    let name = text[..16].trim_end();
    let size = text[48..58].trim_end().parse().ok().filter(|_| text.ends_with("`\n"));
    let size = size.ok_or_else(|| invalid("a member's header is damaged"))?;
    Ok(Some((name.strip_suffix('/').unwrap_or(name).to_owned(), size)))
}
