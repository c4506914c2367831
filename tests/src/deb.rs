//! Packages as deb(5) has them, taken apart and put together: an ar of `debian-binary`, `control.tar` and `data.tar`.

mod files;
mod stanza;

use std::io::Read as _;

pub use files::Files;
pub use stanza::Stanza;

/// What an ar begins with, and how long the head of a member is.
const MAGIC: &[u8] = b"!<arch>\n";
const HEAD: usize = 60;

/// zstd's level: these packages are read as often as they are written.
const LEVEL: i32 = 1;

/// A package.
#[derive(Debug, Clone, Default)]
pub struct Deb {
    /// Its control file, and what else dpkg keeps of it: scripts, conffiles, triggers.
    pub control: Files,
    /// What it installs.
    pub data: Files,
}

/// How members are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// Not at all.
    Plain,
    /// As Ubuntu does.
    Zstd,
}

impl Deb {
    /// A package that installs nothing.
    pub fn empty(stanza: &Stanza) -> Self {
        let mut deb = Self::default();
        deb.set_stanza(stanza);
        deb
    }

    /// Takes a .deb apart.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut deb = Self::default();
        for (name, member) in members(bytes)? {
            let (kind, compression) = name.split_once(".tar").unwrap_or((&name, ""));
            let files = match kind {
                "control" => &mut deb.control,
                "data" => &mut deb.data,
                _ => continue,
            };
            *files = Files::read(&unpack(member, compression)?)?;
        }
        Ok(deb)
    }

    /// The .deb.
    ///
    /// # Panics
    /// If zstd cannot be started.
    pub fn write(&self, how: Members) -> Vec<u8> {
        let pack = |name: &str, files: &Files| match how {
            Members::Plain => (format!("{name}.tar"), files.write()),
            Members::Zstd => {
                let packed = zstd::bulk::compress(&files.write(), LEVEL).expect("zstd");
                (format!("{name}.tar.zst"), packed)
            }
        };
        let version = ("debian-binary".to_owned(), b"2.0\n".to_vec());
        ar(&[version, pack("control", &self.control), pack("data", &self.data)])
    }

    /// What its control file says.
    pub fn stanza(&self) -> Stanza {
        let text = self.control.text("control").unwrap_or_default();
        Stanza::parse(&text)
    }

    /// Has its control file say this.
    pub fn set_stanza(&mut self, stanza: &Stanza) {
        self.control.put("control", 0o644, stanza.to_string().as_bytes());
    }
}

/// Puts members together.
fn ar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (name, member) in members {
        let length = member.len();
        let head = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 100_644);
        bytes.extend(head.bytes());
        bytes.extend(member);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// The members of an ar by name.
fn members(bytes: &[u8]) -> Result<Vec<(String, &[u8])>, String> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("it is no ar")?;
    let mut found = Vec::new();
    while rest.len() > HEAD {
        let head = String::from_utf8_lossy(&rest[..HEAD]).into_owned();
        let size: usize = head[48..58].trim().parse().map_err(|e| format!("{head:?}: {e}"))?;
        let member = rest.get(HEAD..HEAD + size).ok_or("it is cut off")?;
        found.push((head[..16].trim_end_matches([' ', '/']).to_owned(), member));
        rest = rest.get(HEAD + size.next_multiple_of(2)..).unwrap_or_default();
    }
    Ok(found)
}

fn unpack(member: &[u8], compression: &str) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let read = match compression {
        "" => return Ok(member.to_vec()),
        ".gz" => flate2::read::GzDecoder::new(member).read_to_end(&mut plain),
        ".xz" => liblzma::read::XzDecoder::new(member).read_to_end(&mut plain),
        ".zst" => zstd::Decoder::new(member).and_then(|mut file| file.read_to_end(&mut plain)),
        other => return Err(format!("{other} is no compression that is known here")),
    };
    read.map_err(|e| e.to_string())?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut deb = Deb::empty(&Stanza::parse("Package: a\nDescription: b\n c\n"));
        deb.data.put("usr/bin/a", 0o755, b"#!/bin/sh\n");
        deb.data.link("usr/bin/b", "a");
        for how in [Members::Plain, Members::Zstd] {
            let again = Deb::read(&deb.write(how)).unwrap();
            assert_eq!(again.stanza().to_string(), "Package: a\nDescription: b\n c\n");
            assert_eq!(
                again.data.paths().collect::<Vec<_>>(),
                ["usr", "usr/bin", "usr/bin/a", "usr/bin/b"]
            );
            assert_eq!(again.data.text("usr/bin/a").as_deref(), Some("#!/bin/sh\n"));
        }
    }
}
