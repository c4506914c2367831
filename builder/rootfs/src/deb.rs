//! Binary packages: what a .deb says of itself, and the stream of its files.
//!
//! A .deb is an ar archive of three members: `debian-binary` (the version, "2.0\n"), `control.tar`
//! (the control stanza, maintainer scripts, lists) and `data.tar` (the files), each tar file plain
//! or compressed by gzip, xz or zstd, as its name says. Members named `_*` are to be skipped.
//!
//! See deb(5), <https://manpages.debian.org/deb.5>.

mod ar;
mod compression;
mod entries;

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::PathBuf,
};

use crate::{Error, stanza::Stanza};

pub(crate) use entries::{Entries, Item};

/// The most that all control files of one package may hold. Set here: the largest in Debian are
/// lists of checksums of some 10 MiB.
const MAX_CONTROL_BYTES: u64 = 64 << 20;
/// How much is decompressed at a time where a reader asks for little.
const READ_AHEAD: usize = 64 << 10;

/// A .deb on disk, and the package that it is said to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// The package's name.
    pub name: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// Its architecture, such as `amd64` or `all`.
    pub architecture: String,
    /// The file, which has been compared with its digest: a checksum within it may not be.
    pub path: PathBuf,
}

/// What control.tar holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The control file itself.
    pub stanza: Stanza,
    /// All others: scripts, conffiles, md5sums, triggers and so on.
    pub files: Vec<ControlFile>,
}

/// One file of control.tar, other than the control file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Such as `postinst`.
    pub name: String,
    /// Permission bits.
    pub mode: u32,
    /// All of it.
    pub content: Vec<u8>,
}

/// The files of a package, as they come out of data.tar.
pub(crate) type Data = tar::Archive<BufReader<Box<dyn Read + Send>>>;

impl Deb {
    /// Reads control.tar, and checks that the package is the one it is said to be.
    ///
    /// # Errors
    /// Where the file cannot be read, is no .deb, or holds another package.
    pub fn control(&self) -> Result<Control, Error> {
        let failed = |source| self.failed("control.tar", source);
        let file = File::open(&self.path).map_err(failed)?;
        let control = read_control(file).map_err(failed)?;
        let says = |field| control.stanza.get(field).unwrap_or_default();
        let found = (says("Package"), says("Version"), says("Architecture"));
        if found != (&self.name, &self.version, &self.architecture) {
            return Err(Error::OtherPackage {
                path: self.path.clone(),
                expected: format!("{} {} {}", self.name, self.version, self.architecture),
                found: format!("{} {} {}", found.0, found.1, found.2),
            });
        }
        Ok(control)
    }

    /// Opens data.tar.
    pub(crate) fn data(&self) -> Result<Data, Error> {
        let opened = File::open(&self.path).and_then(|file| open_member(file, "data.tar"));
        opened.map_err(|source| self.failed("data.tar", source))
    }

    pub(crate) fn failed(&self, member: &'static str, source: io::Error) -> Error {
        Error::Deb { package: self.name.clone(), path: self.path.clone(), member, source }
    }
}

impl Control {
    /// The file of this name.
    pub fn file(&self, name: &str) -> Option<&ControlFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// A field of the stanza; empty where it is missing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.stanza.get(name).unwrap_or_default()
    }
}

fn open_member(mut file: File, stem: &str) -> io::Result<Data> {
    let (name, member) = ar::find(&mut file, stem)?;
    let plain = compression::decoder(&name[stem.len()..], file.take(member))?;
    Ok(tar::Archive::new(BufReader::with_capacity(READ_AHEAD, plain)))
}

fn read_control(mut deb: impl Read + Seek + Send + 'static) -> io::Result<Control> {
    let (name, member) = ar::find(&mut deb, "control.tar")?;
    let plain = compression::decoder(&name["control.tar".len()..], deb.take(member))?;
    let mut stanza = None;
    let mut files = Vec::new();
    // One byte more than is allowed: whoever reaches it, gets an error and no short file.
    let mut archive = tar::Archive::new(plain.take(MAX_CONTROL_BYTES + 1));
    for item in Entries::of(&mut archive)? {
        let item = item?;
        if item.entry.header().entry_type().is_dir() {
            continue;
        }
        let file = control_file(item)?;
        if files.iter().any(|before: &ControlFile| before.name == file.name) {
            return Err(invalid(format!("{} comes twice", file.name)));
        }
        match file.name.as_str() {
            "control" if stanza.is_some() => return Err(invalid("control comes twice")),
            "control" => stanza = Some(control_stanza(file.content)?),
            _ => files.push(file),
        }
    }
    // The rest is padding, and for some compressions the checksum of all.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    let stanza = stanza.ok_or_else(|| invalid("there is no control file in it"))?;
    Ok(Control { stanza, files })
}

fn control_file(item: Item<'_, impl Read>) -> io::Result<ControlFile> {
    let mut entry = item.entry;
    let path = String::from_utf8_lossy(&item.path).into_owned();
    let name = path.strip_prefix("./").unwrap_or(&path).to_owned();
    let plain_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
        && !name.starts_with('.');
    if !plain_name || !entry.header().entry_type().is_file() {
        return Err(invalid(format!("{path:?} is no control file")));
    }
    if entry.size() > MAX_CONTROL_BYTES {
        return Err(invalid(format!("{path} is larger than {MAX_CONTROL_BYTES} bytes")));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    if content.len() as u64 != entry.size() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(ControlFile { name, mode: entry.header().mode()? & 0o7777, content })
}

fn control_stanza(content: Vec<u8>) -> io::Result<Stanza> {
    let text = String::from_utf8(content).map_err(|_| invalid("the control file is not UTF-8"))?;
    Stanza::parse(&text).map_err(|problem| invalid(format!("the control file: {problem}")))
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Cursor, Write};

    use proptest::prelude::*;

    use super::*;

    /// A .deb of these members.
    pub(crate) fn ar_file(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut file = b"!<arch>\n".to_vec();
        for (name, content) in members {
            let size = content.len();
            writeln!(file, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100_644).unwrap();
            file.extend_from_slice(content);
            file.resize(file.len().next_multiple_of(2), b'\n');
        }
        file
    }

    /// A tar file of plain files that all may run.
    pub(crate) fn tar_file(files: &[(&str, &str)]) -> Vec<u8> {
        tar_file_of_mode(files, 0o755)
    }

    /// A tar file of plain files.
    pub(crate) fn tar_file_of_mode(files: &[(&str, &str)], mode: u32) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    const STANZA: &str = "Package: hello\nVersion: 1:2-3\nArchitecture: amd64\n";

    #[test]
    fn control_is_read_from_every_compression() {
        let tar = tar_file(&[("./control", STANZA), ("./postinst", "#!/bin/sh\n")]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&tar).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar).unwrap();
        for (name, packed) in [
            ("control.tar", tar.clone()),
            ("control.tar.gz", gz.finish().unwrap()),
            ("control.tar.xz", xz.finish().unwrap()),
            ("control.tar.zst", zstd::encode_all(&tar[..], 1).unwrap()),
        ] {
            let members = [("debian-binary", &b"2.0\n"[..]), ("_x", b"?"), (name, &packed)];
            let control = read_control(Cursor::new(ar_file(&members))).unwrap();
            assert_eq!(control.stanza.get("package"), Some("hello"), "{name}");
            let script = control.file("postinst").unwrap();
            assert_eq!((script.mode, &script.content[..3]), (0o755, &b"#!/"[..]));
        }
    }

    #[test]
    fn what_is_no_deb_is_refused() {
        let tar = tar_file(&[("./control", STANZA)]);
        let climbing = tar_file(&[("./control", STANZA), ("./x/y", "")]);
        let cases: [(&str, Vec<u8>, &str); 6] = [
            ("empty", Vec::new(), "no ar archive"),
            ("version", ar_file(&[("debian-binary", b"3.0\n")]), "version 3.0"),
            ("no control", ar_file(&[("debian-binary", b"2.0\n")]), "no control.tar"),
            (
                "bzip2",
                ar_file(&[("debian-binary", b"2.0\n"), ("control.tar.bz2", &tar)]),
                "compressed by bz2",
            ),
            (
                "folder",
                ar_file(&[("debian-binary", b"2.0\n"), ("control.tar", &climbing)]),
                "is no control file",
            ),
            (
                "cut short",
                ar_file(&[("debian-binary", b"2.0\n"), ("control.tar", &tar[..600])]),
                "",
            ),
        ];
        for (name, bytes, expected) in cases {
            let error = read_control(Cursor::new(bytes)).expect_err(name).to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(read_control(Cursor::new(bytes)).is_err());
        }

        #[test]
        fn one_wrong_byte_never_panics(at in 0_usize..1200, byte in any::<u8>()) {
            let tar = tar_file(&[("./control", STANZA), ("./md5sums", "x")]);
            let mut deb = ar_file(&[("debian-binary", b"2.0\n"), ("control.tar", &tar)]);
            deb[at] = byte;
            let _ = read_control(Cursor::new(deb));
        }
    }
}
