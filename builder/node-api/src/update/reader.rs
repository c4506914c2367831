//! Reads an update from a file or off the wire, front to back.

use std::io::{ErrorKind, Read, Write};

use super::{
    Digest, Error, FORMAT, HEADER, Hasher, Kind, MAGIC, MANIFEST_MAX, Manifest, Part, SIGNATURE,
    UNSIGNED,
    key::{KeyId, PublicKey},
    message,
};

/// How much is read at a time, in bytes.
const CHUNK: usize = 128 << 10;

/// An update whose signature holds, its parts still to be read.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    manifest: Manifest,
    digest: Digest,
    next: usize,
}

impl<R: Read> Reader<R> {
    /// Reads as far as the signature, which must be one of `keys`.
    ///
    /// # Errors
    /// Every [`Error`] but those of a node and of parts.
    pub fn open(mut source: R, keys: &[PublicKey]) -> Result<Self, Error> {
        let mut header = [0; HEADER];
        read(&mut source, &mut header, "header")?;
        let length = check_header(&header)?;
        let key = known_key(&header, keys)?;
        let mut manifest = vec![0; length];
        read(&mut source, &mut manifest, "manifest")?;
        let mut signature = [0; SIGNATURE];
        read(&mut source, &mut signature, "signature")?;
        if !key.verifies(&message(&header, &manifest), &signature) {
            return Err(Error::BadSignature);
        }
        let digest = Digest::of(&manifest);
        Ok(Self { source, manifest: Manifest::parse(&manifest)?, digest, next: 0 })
    }

    /// What was signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of the manifest, which names the update with all its parts.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The part that comes next, carried or not.
    pub fn next_part(&self) -> Option<Part> {
        self.manifest.parts.get(self.next).copied()
    }

    /// Goes past a part that is not carried.
    ///
    /// # Errors
    /// [`Error::Missing`] for the part, if it is carried or there is none.
    pub fn pass(&mut self) -> Result<(), Error> {
        match self.next_part() {
            Some(part) if !part.carried => self.next += 1,
            Some(part) => return Err(Error::Missing { part: part.kind }),
            None => return Err(Error::Missing { part: Kind::Verity }),
        }
        Ok(())
    }

    /// Writes the next part to `to`. It is what was signed when this returns, and only then.
    ///
    /// # Errors
    /// [`Error::Missing`] for a part that is not carried, [`Error::Truncated`],
    /// [`Error::Damaged`], and failing I/O on either side.
    pub fn copy(&mut self, to: &mut dyn Write) -> Result<Part, Error> {
        let part = self.next_part().ok_or(Error::Missing { part: Kind::Verity })?;
        if !part.carried {
            return Err(Error::Missing { part: part.kind });
        }
        part.copy(&mut self.source, to)?;
        self.next += 1;
        Ok(part)
    }

    /// Ends the reading, once all parts were copied or passed: there is nothing more.
    ///
    /// # Errors
    /// [`Error::Missing`] for a part that was not read, [`Error::Trailing`], failing I/O.
    pub fn finish(mut self) -> Result<Manifest, Error> {
        if let Some(part) = self.next_part() {
            return Err(Error::Missing { part: part.kind });
        }
        match read(&mut self.source, &mut [0], "end") {
            Err(Error::Truncated { .. }) => Ok(self.manifest),
            Err(error) => Err(error),
            Ok(()) => Err(Error::Trailing),
        }
    }
}

/// The length of the manifest.
fn check_header(header: &[u8; HEADER]) -> Result<usize, Error> {
    let number = |at: usize| header[at..at + 4].iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
    if header[..16] != MAGIC {
        return Err(Error::NotAnUpdate);
    }
    if number(16) != FORMAT {
        return Err(Error::OtherFormat { theirs: number(16) });
    }
    let length = number(20) as usize;
    if length > MANIFEST_MAX {
        return Err(Error::ManifestTooLong { length });
    }
    Ok(length)
}

fn known_key<'a>(header: &[u8; HEADER], keys: &'a [PublicKey]) -> Result<&'a PublicKey, Error> {
    let mut id = UNSIGNED;
    id.copy_from_slice(&header[24..]);
    if id == UNSIGNED {
        return Err(Error::Unsigned);
    }
    let id = KeyId(id);
    keys.iter().find(|key| key.id() == id).ok_or(Error::UnknownKey { id })
}

impl Part {
    /// Copies this part's bytes from `source` to `to`. They are what was signed when this returns,
    /// and only then.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Damaged`], and failing I/O on either side.
    pub fn copy(&self, mut source: impl Read, to: &mut dyn Write) -> Result<(), Error> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; CHUNK];
        let mut left = self.size;
        while left > 0 {
            let length = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let chunk = &mut buffer[..length];
            read(&mut source, chunk, self.kind.name())?;
            hasher.update(chunk);
            to.write_all(chunk).map_err(|source| Error::Write { part: self.kind, source })?;
            left -= length as u64;
        }
        if hasher.finish() != self.sha256 {
            return Err(Error::Damaged { part: self.kind });
        }
        Ok(())
    }
}

fn read(source: &mut impl Read, buffer: &mut [u8], what: &'static str) -> Result<(), Error> {
    source.read_exact(buffer).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => Error::Truncated { what },
        _ => Error::Read { what, source },
    })
}
