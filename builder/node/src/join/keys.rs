//! The cluster's keys: one for all machines, or one for each medium, whose files the seed has.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result, ensure};
use coremax_node_api::identity::{Document, Key, KeyId};

use crate::identity;

/// That of this machine's own medium first; then those in the folder, if there is one: a `.json` file a medium.
///
/// # Errors
/// One that cannot be read, is of another cluster, or has an id that another key has.
pub(super) fn all(own: &Document, folder: &Path) -> Result<Vec<(KeyId, Key)>> {
    let failed = || format!("reading the keys in {}", folder.display());
    let mut keys = vec![(own.key_id, own.key.clone())];
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(keys),
        entries => entries.with_context(failed)?,
    };
    for entry in entries {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Document { cluster, key_id, key, .. } = identity::read(&path)?;
        ensure!(cluster == own.cluster, "{} is of another cluster", path.display());
        match keys.iter().find(|(id, _)| *id == key_id) {
            Some((_, known)) => {
                ensure!(*known == key, "{} has the id of another key", path.display());
            }
            None => keys.push((key_id, key)),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(cluster: u128, id: u8, key: u8) -> Document {
        let cluster = coremax_node_api::guid::Guid::literal(cluster);
        Document::new(cluster, KeyId([id; 8]), Key::new([key; 32]), Vec::new())
    }

    #[test]
    fn a_medium_s_key_is_known_once_and_is_of_this_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let own = document(1, 1, 1);
        let ids = |at: &Path| {
            all(&own, at).map(|keys| keys.iter().map(|(id, _)| id.0[0]).collect::<Vec<_>>())
        };
        assert_eq!(ids(&folder.path().join("none")).unwrap(), [1]);
        let write = |name: &str, document: &Document| {
            fs::write(folder.path().join(name), document.to_text().as_bytes()).unwrap();
        };
        write("own.json", &own);
        write("other.identity.json", &document(1, 2, 2));
        write("notes.txt", &document(2, 3, 3));
        assert_eq!(ids(folder.path()).unwrap(), [1, 2]);
        for (bad, want) in
            [(document(2, 3, 3), "another cluster"), (document(1, 1, 3), "id of another key")]
        {
            write("bad.json", &bad);
            assert!(ids(folder.path()).unwrap_err().to_string().ends_with(want));
        }
        fs::write(folder.path().join("bad.json"), "{").unwrap();
        assert!(ids(folder.path()).unwrap_err().to_string().contains("reading the identity in"));
    }
}
