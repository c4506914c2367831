//! Package indexes: which of those that a Release names to fetch, where, and unpacking them.
//!
//! An index lies at `main/binary-amd64/Packages.gz` below its suite, and where the Release says
//! `Acquire-By-Hash: yes` also at `main/binary-amd64/by-hash/SHA256/<digest>`, which stays what it is while the
//! mirror is updated. See <https://wiki.debian.org/DebianRepository/Format>.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use coremax_fetch::{Digest, Input};

use crate::{
    Error, Release, Source,
    packages::{self, Offer},
};

/// No index unpacks to more; ours. Debian's main has 50 MB.
const MAX_INDEX: u64 = 1 << 30;

/// The forms of an index, the one that is used soonest first: unpacking Debian's main from xz costs four times
/// the CPU time that it does from gzip (0.9 and 0.2 s), which is more than its 3 MB more take to fetch.
const FORMS: &[(&str, Form)] =
    &[(".zst", Form::Zstd), (".gz", Form::Gzip), (".xz", Form::Xz), ("", Form::Plain)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Zstd,
    Gzip,
    Xz,
    Plain,
}

/// One index of a suite, pinned by its Release.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    /// By its digest, where the archive offers that.
    pub(crate) input: Input,
    /// By its name, for mirrors that announce by-hash and lack it.
    pub(crate) plain: Input,
    form: Form,
    limit: u64,
}

impl Index {
    /// The indexes of `source` that `release` names.
    pub(crate) fn all(source: &Source, release: &Release) -> Result<Vec<Self>, Error> {
        if source.is_flat() {
            return Ok(vec![
                Self::find(source, release, "Packages")
                    .ok_or_else(|| missing(source, release, ""))?,
            ]);
        }
        let mut indexes = Vec::new();
        for component in &source.components {
            let path = |architecture| format!("{component}/binary-{architecture}/Packages");
            let own = Self::find(source, release, &path(source.architecture.as_str()));
            indexes.push(own.ok_or_else(|| missing(source, release, component))?);
            if release.splits_all() {
                indexes.extend(Self::find(source, release, &path("all")));
            }
        }
        Ok(indexes)
    }

    fn find(source: &Source, release: &Release, path: &str) -> Option<Self> {
        FORMS.iter().find_map(|(suffix, form)| {
            let file = format!("{path}{suffix}");
            let (size, digest) = release.file(&file)?;
            let base = source.base();
            let plain = Input {
                name: format!("{} {path}", source.suite),
                url: format!("{base}{file}"),
                others: Vec::new(),
                size,
                digest,
            };
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let input = match release.by_hash() {
                true => {
                    Input { url: format!("{base}{folder}by-hash/SHA256/{digest}"), ..plain.clone() }
                }
                false => plain.clone(),
            };
            let limit = release.file(path).map_or(MAX_INDEX, |(size, _)| size.min(MAX_INDEX));
            Some(Self { input, plain, form: *form, limit })
        })
    }

    /// What the fetched file offers.
    pub(crate) fn load(&self, file: &Path, source: usize, pin: i32) -> Result<Offer, Error> {
        let failed = |source| Error::Unpack { name: self.input.name.clone(), source };
        let text = self.unpack(File::open(file).map_err(failed)?).map_err(failed)?;
        if text.len() as u64 > self.limit {
            return Err(Error::TooLong { name: self.input.name.clone(), limit: self.limit });
        }
        // Ancient descriptions may be in Latin-1. They are not read, but need to be passed over.
        let text = String::from_utf8(text)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        packages::parse(&text, &self.input.name, source, pin)
    }

    /// The digest that stands for the index's content.
    pub(crate) fn digest(&self) -> Digest {
        self.input.digest
    }

    /// Reads one byte more than there may be, so that the caller sees an excess.
    fn unpack(&self, file: File) -> io::Result<Vec<u8>> {
        let mut reader: Box<dyn Read> = match self.form {
            Form::Zstd => Box::new(zstd::Decoder::new(file)?),
            Form::Gzip => Box::new(flate2::read::MultiGzDecoder::new(
                io::BufReader::with_capacity(256 << 10, file),
            )),
            Form::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
            Form::Plain => Box::new(file),
        };
        let known = self.limit < MAX_INDEX;
        let capacity = if known { self.limit + 1 } else { self.input.size.saturating_mul(6) };
        let mut text = Vec::with_capacity(usize::try_from(capacity.min(MAX_INDEX)).unwrap_or(0));
        reader.by_ref().take(self.limit + 1).read_to_end(&mut text)?;
        Ok(text)
    }
}

fn missing(source: &Source, release: &Release, component: &str) -> Error {
    Error::NoIndex {
        name: source.to_string(),
        component: component.to_owned(),
        architecture: source.architecture.clone(),
        available: format!(
            "{} for {}",
            release.components().join(", "),
            release.architectures().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn index(form: Form, limit: u64) -> Index {
        let digest = Digest::of("");
        let input =
            Input { name: "x".into(), url: String::new(), others: Vec::new(), size: 9, digest };
        Index { plain: input.clone(), input, form, limit }
    }

    fn pack(form: Form, bytes: &[u8]) -> Vec<u8> {
        match form {
            Form::Zstd => zstd::encode_all(bytes, 1).unwrap(),
            Form::Gzip => {
                let fast = flate2::Compression::fast();
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), fast);
                packer.write_all(bytes).unwrap();
                packer.finish().unwrap()
            }
            Form::Xz => {
                let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 0);
                packer.write_all(bytes).unwrap();
                packer.finish().unwrap()
            }
            Form::Plain => bytes.to_vec(),
        }
    }

    fn unpack(index: &Index, packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(packed).unwrap();
        index.unpack(File::open(file.path()).unwrap())
    }

    proptest! {
        #[test]
        fn unpacks_what_was_packed_and_no_more(bytes: Vec<u8>, limit in 0_u64..200) {
            for (_, form) in FORMS {
                let got = unpack(&index(*form, limit), &pack(*form, &bytes)).unwrap();
                let most = bytes.len().min(usize::try_from(limit).unwrap() + 1);
                prop_assert_eq!(&got, &bytes[..most]);
            }
        }

        #[test]
        fn damaged_bytes_never_panic_nor_pass_the_limit(bytes: Vec<u8>, at: prop::sample::Index, flip in 1_u8..) {
            for (_, form) in FORMS {
                let mut packed = pack(*form, &bytes);
                if !packed.is_empty() {
                    let at = at.index(packed.len());
                    packed[at] ^= flip;
                }
                for packed in [&packed, &bytes] {
                    let got = unpack(&index(*form, 50), packed);
                    prop_assert!(got.map_or(0, |got| got.len()) <= 51);
                }
            }
        }
    }
}
