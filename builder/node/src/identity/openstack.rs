//! The document where OpenStack's servers have it: on Nova's config drive, and at its metadata service.

pub(super) mod service;

use std::io;

use coremax_node_api::identity::openstack::{
    META_DATA, META_DATA_MAX, USER_DATA, USER_DATA_MAX, in_meta_data, is_in_user_data,
};
use zeroize::Zeroizing;

pub(crate) use service::reading as at_service;

/// What a file holds, which may be a secret.
pub(super) type Held = io::Result<Zeroizing<Vec<u8>>>;

/// The document by one of OpenStack's files, each read by this: with its name and the most bytes that it has.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where no file has any, where one cannot be read, and where they have different ones.
pub(crate) fn told(read: &mut dyn FnMut(&str, usize) -> Held) -> Held {
    let mut file = |name, most| match read(name, most) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(bytes) if bytes.len() > most => {
            Err(io::Error::other(format!("{name} is longer than {most} bytes")))
        }
        read => read.map(Some),
    };
    let meta = match file(META_DATA, META_DATA_MAX)? {
        Some(bytes) => in_meta_data(&bytes)
            .map_err(|why| io::Error::other(format!("reading {META_DATA}: {why}")))?,
        None => None,
    };
    let meta = meta.map(|text| Zeroizing::new(text.as_bytes().to_vec()));
    let user = file(USER_DATA, USER_DATA_MAX)?.filter(|bytes| is_in_user_data(bytes));
    match (meta, user) {
        (Some(meta), Some(user)) if meta.trim_ascii() != user.trim_ascii() => {
            Err(io::Error::other("its metadata and its user data have different identities"))
        }
        (meta, user) => meta.or(user).ok_or(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use coremax_node_api::identity::{
        Document, Key, KeyId,
        openstack::{META_KEY, USER_DATA_MAX},
    };

    use super::*;

    pub(crate) fn document() -> String {
        let cluster = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10".parse().unwrap();
        Document::new(cluster, KeyId([1; 8]), Key::new([1; 32]), Vec::new()).to_text().to_string()
    }

    pub(super) fn meta_data(document: &str) -> String {
        serde_json::json!({"uuid": "x", "meta": {META_KEY: document}}).to_string()
    }

    #[test]
    fn where_the_document_may_be() {
        let ours = document();
        let (with, without) = (meta_data(&ours), r#"{"meta": {}}"#.to_owned());
        let script = "#!/bin/sh\n".to_owned();
        let long = " ".repeat(USER_DATA_MAX + 1);
        for (meta, user, want) in [
            (None, None, None),
            (Some(&without), None, None),
            (Some(&without), Some(&script), None),
            (Some(&with), None, Some("")),
            (Some(&with), Some(&script), Some("")),
            (Some(&without), Some(&ours), Some("")),
            (None, Some(&ours), Some("")),
            (Some(&with), Some(&ours), Some("")),
            (Some(&meta_data("{}")), Some(&ours), Some("have different identities")),
            (Some(&script), Some(&ours), Some("reading openstack/latest/meta_data.json: it is no")),
            (Some(&without), Some(&long), Some("user_data is longer than 65536 bytes")),
        ] {
            let found = told(&mut |name, _| {
                let file = if name == META_DATA { meta } else { user };
                let bytes = file.map(|text| Zeroizing::new(text.as_bytes().to_vec()));
                bytes.ok_or(io::ErrorKind::NotFound.into())
            });
            match (found, want) {
                (Ok(found), Some("")) => assert_eq!(*found, ours.as_bytes(), "{meta:?} {user:?}"),
                (Err(error), None) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
                (Err(error), Some(want)) => assert!(error.to_string().contains(want), "{error}"),
                (found, want) => panic!("{found:?}, not {want:?}"),
            }
        }
    }
}
