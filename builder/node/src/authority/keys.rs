//! The secrets of an authority in their file, which is root's alone and made once.
//!
//! ```text
//! coremax-authority-1 CLUSTER BASE64
//! ```
//!
//! One line, the cluster's UUID, and four times the 32 bytes of RFC 8032: X.509, hosts, users, deploy.

use std::{
    fs,
    io::{self, ErrorKind, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use coremax_node_api::{enrol::Secret, guid::Guid};
use zeroize::Zeroizing;

use crate::{
    durable::once,
    events::{Event, tell},
    random,
};

const KIND: &str = "coremax-authority-1";
const KEYS: usize = 4;
/// Bytes of the file, at most: it has 229.
const LONGEST: usize = 512;

/// What an authority signs with.
pub(super) struct Keys {
    /// X.509.
    pub(super) ca: Secret,
    /// SSH host keys.
    pub(super) hosts: Secret,
    /// Who may log in over SSH.
    pub(super) users: Secret,
    /// What the seed logs in with.
    pub(super) deploy: Secret,
}

/// Reads them, or makes them.
pub(super) fn open(path: &Path, cluster: Guid) -> Result<Keys> {
    match read(path) {
        Ok(text) => parse(&text, cluster),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = once(path, new(cluster)?.as_bytes(), 0o600);
            match made {
                // Another one was quicker.
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    Err(error).context("keeping new keys")
                }
                made => {
                    if made.is_ok() {
                        tell(Event::AuthorityMade, "made the cluster's authority", &[]);
                    }
                    parse(&read(path).context("reading it back")?, cluster)
                }
            }
        }
        Err(error) => Err(error).context("reading it"),
    }
}

/// Its file may not grow while it is read: what was there before it moved would stay in memory.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    fs::File::open(path)?.take(LONGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn new(cluster: Guid) -> Result<Zeroizing<String>> {
    let mut seeds = Zeroizing::new([0; 32 * KEYS]);
    random::fill(&mut *seeds)?;
    let mut text = Zeroizing::new(String::with_capacity(LONGEST));
    text.push_str(&format!("{KIND} {cluster} "));
    STANDARD.encode_string(seeds.as_slice(), &mut text);
    text.push('\n');
    Ok(text)
}

fn parse(bytes: &[u8], cluster: Guid) -> Result<Keys> {
    let damaged = || {
        anyhow!(
            "it is damaged: a reset of this machine makes another one, in which no node trusts yet"
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [KIND, of, keys] = words[..] else { return Err(damaged()) };
    if of != cluster.to_string() {
        bail!("it is of cluster {of}, and this machine was told of {cluster}: reset it first");
    }
    let mut seeds = Zeroizing::new([0; 32 * KEYS + 2]); // as much room as decoding asks for
    let length = STANDARD.decode_slice(keys, &mut *seeds).map_err(|_| damaged())?;
    let ([ca, hosts, users, deploy], []) = seeds[..length].as_chunks::<32>() else {
        return Err(damaged());
    };
    let [ca, hosts, users, deploy] = [ca, hosts, users, deploy].map(Secret::from_seed);
    Ok(Keys { ca, hosts, users, deploy })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const CLUSTER: Guid = Guid::literal(1);

    #[test]
    fn they_are_made_once_for_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority/keys");
        let first = open(&path, CLUSTER).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = fs::read(&path).unwrap();
        let again = open(&path, CLUSTER).unwrap();
        assert_eq!(fs::read(&path).unwrap(), text);
        let all = |keys: &Keys| {
            [&keys.ca, &keys.hosts, &keys.users, &keys.deploy].map(|key| *key.public().as_bytes())
        };
        assert_eq!(all(&first), all(&again));
        let mut four = all(&first).to_vec();
        four.sort_unstable();
        four.dedup();
        assert_eq!(four.len(), KEYS);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn what_is_damaged_or_anothers_is_never_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        open(&path, CLUSTER).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let other = open(&path, Guid::literal(2)).err().unwrap().to_string();
        assert!(other.contains("this machine was told of"), "{other}");
        for bad in [
            String::new(),
            whole.replace("authority-1", "authority-2"),
            whole[..150].to_owned(),
            whole.replace('\n', " more\n"),
            whole.replacen(&whole[60..62], "!!", 1),
            "é".repeat(300),
        ] {
            fs::write(&path, &bad).unwrap();
            let error = open(&path, CLUSTER).err().unwrap().to_string();
            assert!(error.contains("damaged"), "{bad}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn who_comes_second_takes_what_the_first_one_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        once(&path, b"first", 0o600).unwrap();
        let error = once(&path, b"second", 0o600).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }
}
