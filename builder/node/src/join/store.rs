//! What has to outlive a power cut: the machine's secret, and what its node and its seed have saved.
//!
//! ```text
//! lock        held for as long as the daemon runs: two would promise two things
//! secret      the machine's own, 0600; made once
//! node.json   {"format": 1, "saved": ...}
//! seed.json   the same
//! ```

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use coremax_channel::Secret;
use coremax_node_api::join::{node, seed};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{durable, lock};

/// The version of these files.
const FORMAT: u32 = 1;
const LOCK: &str = "lock";
const SECRET: &str = "secret";
const NODE: &str = "node.json";
const SEED: &str = "seed.json";

/// A folder, and the right to it.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<T> {
    format: u32,
    saved: T,
}

impl Store {
    /// Opens a folder, and makes it where there is none.
    ///
    /// # Errors
    /// Another daemon has it.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let failed = || format!("opening the state in {}", folder.display());
        durable::folders(folder, 0o700).with_context(failed)?;
        let lock = lock::now(&folder.join(LOCK)).with_context(failed)?;
        let lock =
            lock.with_context(|| format!("another daemon has the state in {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// The machine's own secret: made, and on the disk, where it has none yet.
    ///
    /// # Errors
    /// Where it is broken, or gone or changed since it was made: a new one would be another machine's.
    pub(super) fn secret(&self) -> Result<Secret> {
        let path = self.folder.join(SECRET);
        let failed = || format!("reading the machine's secret in {}", path.display());
        let joined_with = self.node()?.map(|saved| saved.key);
        let secret = match fs::read(&path).map(Zeroizing::new) {
            Ok(text) => Secret::parse(&text).with_context(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound && joined_with.is_none() => {
                let secret = Secret::generate().context("making a secret")?;
                durable::replace(&path, secret.to_text().as_bytes(), 0o600)
                    .with_context(|| format!("writing {}", path.display()))?;
                secret
            }
            Err(error) => return Err(error).with_context(failed),
        };
        let is_its_own = joined_with.is_none_or(|key| key == secret.public());
        ensure!(is_its_own, "{} is not the secret that this machine joined with", path.display());
        Ok(secret)
    }

    /// What the node saved last.
    pub(super) fn node(&self) -> Result<Option<node::Saved>> {
        self.read(NODE)
    }

    /// What the seed saved last.
    pub(super) fn seed(&self) -> Result<Option<seed::Saved>> {
        self.read(SEED)
    }

    /// On the disk when it returns.
    pub(super) fn save_node(&self, saved: &node::Saved) -> Result<()> {
        self.write(NODE, saved)
    }

    /// On the disk when it returns.
    pub(super) fn save_seed(&self, saved: &seed::Saved) -> Result<()> {
        self.write(SEED, saved)
    }

    /// A file that is there and cannot be read is none to begin anew without: the machine may have promised something.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.folder.join(name);
        let failed = || format!("reading {}", path.display());
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.with_context(failed)?,
        };
        let Kept::<serde_json::Value> { format, .. } =
            serde_json::from_slice(&bytes).with_context(failed)?;
        ensure!(
            format == FORMAT,
            "{} is of format {format}, and {FORMAT} is known here",
            path.display()
        );
        let kept: Kept<T> = serde_json::from_slice(&bytes).with_context(failed)?;
        Ok(Some(kept.saved))
    }

    fn write<T: Serialize>(&self, name: &str, saved: &T) -> Result<()> {
        let path = self.folder.join(name);
        let bytes = serde_json::to_vec(&Kept { format: FORMAT, saved }).map_err(io::Error::other);
        bytes
            .and_then(|bytes| durable::replace(&path, &bytes, 0o600))
            .with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use coremax_node_api::join::{Edition, Hardware, NodeKey, Phase};

    use super::*;

    fn saved(key: NodeKey) -> node::Saved {
        node::Saved {
            key,
            hardware: Hardware::default(),
            phase: Phase::Networked,
            held: None,
            roster: Some(vec![1, 2, 3].into()),
            edition: Edition::default(),
            prepared: 0,
            promise: None,
        }
    }

    #[test]
    fn what_was_saved_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("a/b");
        let store = Store::open(&at).unwrap();
        assert_eq!(store.node().unwrap(), None);
        let key = store.secret().unwrap().public();
        store.save_node(&saved(key)).unwrap();
        let taken = Store::open(&at).unwrap_err().to_string();
        assert!(taken.starts_with("another daemon has"), "{taken}");
        drop(store);
        let store = Store::open(&at).unwrap();
        assert_eq!(store.node().unwrap(), Some(saved(key)));
        assert_eq!(store.secret().unwrap().public(), key);
        for (name, mode) in [("", 0o700), (SECRET, 0o600), (NODE, 0o600)] {
            assert_eq!(
                at.join(name).metadata().unwrap().permissions().mode() & 0o777,
                mode,
                "{name}"
            );
        }
    }

    #[test]
    fn a_machine_that_lost_what_it_was_does_not_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.save_node(&saved(NodeKey([1; 32]))).unwrap();
        assert!(format!("{:#}", store.secret().unwrap_err()).contains("No such file"));
        fs::write(folder.path().join(SECRET), "torn").unwrap();
        assert!(format!("{:#}", store.secret().unwrap_err()).contains("64 hex digits"));
        fs::write(folder.path().join(SECRET), &*Secret::generate().unwrap().to_text()).unwrap();
        assert!(store.secret().unwrap_err().to_string().contains("not the secret"));
        for (text, want) in [
            ("", "reading"),
            ("{\"format\":2,\"saved\":{}}", "is of format 2, and 1 is known here"),
            ("{\"format\":1,\"saved\":{}}", "missing field"),
        ] {
            fs::write(folder.path().join(NODE), text).unwrap();
            let error = format!("{:#}", store.node().unwrap_err());
            assert!(error.contains(want), "{error}");
        }
    }
}
