//! `SHA256SUMS` as coreutils' sha256sum writes and checks it.
//!
//! A line a file: 64 hex digits, two blanks, the name. A name with a backslash, newline or carriage return is
//! written with `\\`, `\n` and `\r` for them, and its line begins with a backslash.
//! See <https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html>.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use coremax_fetch::Digest;

use crate::Error;

/// The file's name in a result folder.
pub const SUMS: &str = "SHA256SUMS";

/// Writes `SHA256SUMS` into `folder` with a line for each of `names`, sorted, relative to `folder`.
/// `sha256sum -c SHA256SUMS` in that folder accepts it.
///
/// # Errors
/// A file that cannot be read, or the sums that cannot be written.
pub fn write_sums(folder: &Path, names: &[impl AsRef<Path>]) -> Result<(), Error> {
    Sums::of(folder, names)?.write(folder)
}

/// Digests and lengths of files of one folder, by name.
#[derive(Debug)]
pub(crate) struct Sums(BTreeMap<PathBuf, (Digest, u64)>);

impl Sums {
    /// Reads the files.
    pub(crate) fn of(folder: &Path, names: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let names = names.iter().map(AsRef::as_ref);
        names
            .map(|name| Ok((name.to_owned(), sum(&folder.join(name))?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Of one file, if it is among them.
    pub(crate) fn get(&self, name: &str) -> Option<(Digest, u64)> {
        self.0.get(Path::new(name)).copied()
    }

    /// Writes `SHA256SUMS`.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let lines: Vec<u8> =
            self.0.iter().flat_map(|(name, (digest, _))| line(*digest, name)).collect();
        let path = folder.join(SUMS);
        fs::write(&path, lines).map_err(|source| Error::Write { path, source })
    }
}

/// SHA-256 and length of a file.
fn sum(path: &Path) -> Result<(Digest, u64), Error> {
    let read = || Digest::of_reader(File::open(path)?);
    read().map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn line(digest: Digest, name: &Path) -> Vec<u8> {
    let name = name.as_os_str().as_bytes();
    let escaped = name.iter().flat_map(|byte| match byte {
        b'\\' => br"\\".as_slice(),
        b'\n' => br"\n",
        b'\r' => br"\r",
        byte => std::slice::from_ref(byte),
    });
    let escaped: Vec<u8> = escaped.copied().collect();
    let mark = if escaped == name { "" } else { "\\" };
    [mark.as_bytes(), digest.to_string().as_bytes(), b"  ", &escaped, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use coremax_sandbox::{Cmd, Sandbox};
    use proptest::prelude::*;

    use super::*;

    fn accepted_by_sha256sum(folder: &Path) -> bool {
        let host = Sandbox::host();
        let sums =
            Cmd::new("sha256sum", &host).args(["--check", "--strict", SUMS]).current_dir(folder);
        sums.output().unwrap().status.success()
    }

    #[test]
    fn sha256sum_accepts_it_and_sees_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let names =
            ["node.qcow2", "a b", "back\\slash", "new\nline", "\rreturn", "é", "*star", "in/deep"];
        fs::create_dir(folder.path().join("in")).unwrap();
        for name in names {
            fs::write(folder.path().join(name), name).unwrap();
        }
        write_sums(folder.path(), &names).unwrap();
        assert!(accepted_by_sha256sum(folder.path()));
        fs::write(folder.path().join("a b"), "changed").unwrap();
        assert!(!accepted_by_sha256sum(folder.path()));
    }

    #[test]
    fn a_file_that_is_missing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_sums(folder.path(), &["absent"]).unwrap_err();
        assert!(matches!(error, Error::Read { path, .. } if path.ends_with("absent")));
        assert!(!folder.path().join(SUMS).exists());
    }

    proptest! {
        /// Reading a line by the manual's rules gives back any name.
        #[test]
        fn any_name_is_written_on_one_line_and_comes_back(name in proptest::collection::vec(1u8.., 1..40)) {
            let line = line(Digest::of(""), Path::new(OsStr::from_bytes(&name)));
            let (text, escaped) = match line.strip_prefix(b"\\") {
                Some(text) => (text, true),
                None => (line.as_slice(), false),
            };
            prop_assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
            let shown = &text[66..text.len() - 1];
            let mut back = Vec::new();
            let mut bytes = shown.iter();
            while let Some(byte) = bytes.next() {
                back.push(match (escaped, byte) {
                    (true, b'\\') => match bytes.next() {
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        _ => b'\\',
                    },
                    _ => *byte,
                });
            }
            prop_assert_eq!(back, name);
        }
    }
}
